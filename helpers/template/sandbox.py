"""A chat template is a program by a stranger: it is run once in a process of its own, with limits on time and memory.

`require_safe` starts this file itself, which imports jinja2 and nothing of this project or of transformers.
"""

import json
import subprocess
import sys
from datetime import datetime
from functools import lru_cache

SECONDS = 5  # of a CPU; the templates that TRL ships need 0.5 at most
MEMORY = 2**30  # bytes of address space
LARGEST = 20_000  # number in a template; some name budgets of tokens
LONGEST = 2**22  # characters that the probes may come to, all together

USER, ANSWER = {"role": "user", "content": "⟦q⟧"}, {"role": "assistant", "content": "⟦a⟧"}
CALL = {"id": "call00000", "type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}
_AT = {"type": "object", "properties": {"at": {"type": "string", "description": "what"}}, "required": ["at"]}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": _AT}}]
PROBES = (
    [USER],
    [USER, ANSWER],
    [{"role": "system", "content": "⟦s⟧"}, USER, {**ANSWER, "reasoning_content": "⟦t⟧"}, USER],
    [USER, ANSWER] * 20 + [USER],
    [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "⟦r⟧"}],
)


class Unsafe(ValueError):
    """A chat template that cannot be used; `reason` is "slow", "large", "repeats" or the error that jinja2 raises."""

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


def require_safe(template: str, special_tokens: dict[str, str], name: str) -> None:
    """Raises `Unsafe`, in one sentence, for a template that never ends, takes all memory, or writes nothing."""
    from helpers.show.words import _

    reason = _fault(template, json.dumps(special_tokens, sort_keys=True, default=str))
    if not reason:
        return
    kind, _in, line = reason.partition(" in line ")
    faults = {
        "slow": _("did not end within {seconds} seconds of computing: it may be made to hang"),
        "large": _("takes more than {gigabytes} GB of memory or writes without end: it may be made to hang"),
        "repeats": _("repeats or counts by itself (line {line}), which none needs: it may be made to hang"),
    }
    fault = faults.get(kind, _("can write no conversation ({reason})"))
    fault = fault.format(reason=reason, line=line, seconds=SECONDS, gigabytes=MEMORY // 2**30)
    sentence = _(
        "The chat template of {name} {fault}. Choose another model, or set chat_template to a file of your own."
    )
    raise Unsafe(reason, sentence.format(name=name, fault=fault))


@lru_cache(maxsize=64)
def _fault(template: str, special_tokens: str) -> str:
    """What is wrong with a template, "" for nothing. A child without this process's environment (tokens!) runs it."""
    job = json.dumps({"template": template, "special_tokens": json.loads(special_tokens)})
    command = [sys.executable, "-I", __file__, str(SECONDS)]
    try:
        child = subprocess.run(command, input=job.encode(), capture_output=True, env={}, timeout=6 * SECONDS)
    except subprocess.TimeoutExpired:
        return "slow"
    if child.returncode == 0:
        return child.stdout.decode(errors="replace").strip()
    return "slow" if child.returncode in (-9, -24) else "large"  # SIGKILL or SIGXCPU by the limit on time


def _environment():
    """A jinja2 environment as transformers makes it, `tojson` and {% generation %} included."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %}: here its body alone."""

        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str):
        raise jinja2.TemplateError(message)

    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    room.filters["tojson"] = lambda value, **how: json.dumps(value, **{"ensure_ascii": False, **how})
    room.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    return room


def _questions():
    """What a template is asked: each probe as it is, before a reply, and before a reply with its contents in parts."""
    for probe in PROBES:
        tools = TOOLS if probe[-1]["role"] == "tool" else None
        parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in probe]
        for messages, asking in ((probe, False), (probe, True), (parts, True)):
            yield {"messages": messages, "tools": tools, "add_generation_prompt": asking}


def _repeats(tree):
    """The line where a template repeats or counts by itself, whatever the conversation is; 0 for nowhere.

    Such a template may hang on a conversation that no probe is like. None of those that TRL ships does it.
    """
    from jinja2 import nodes

    ranges = [call for call in tree.find_all(nodes.Call) if getattr(call.node, "name", "") == "range"]
    limits = ((ranges, 10), (tree.find_all(nodes.Filter), 999), ([tree], LARGEST))
    numbers = [(const, most) for places, most in limits for place in places for const in place.find_all(nodes.Const)]
    large = [const for const, most in numbers if isinstance(const.value, (int, float)) and const.value > most]
    called = {id(call.node) for call in ranges}
    own = [name for name in tree.find_all(nodes.Name) if name.name in ("range", "lipsum", "cycler")]
    found = [*large, *(name for name in own if id(name) not in called), *tree.find_all((nodes.Mul, nodes.Pow))]
    return found[0].lineno if found else 0


def _try(text: str, special_tokens: dict[str, str]) -> str:
    """What a template raised when it could write nothing, "" else. Raises MemoryError where it writes too much."""
    import jinja2

    written, failures, works = 0, [], False
    try:
        template = _environment().from_string(text)
    except jinja2.TemplateError as error:
        return f"{type(error).__name__}: {error}"[:200]
    for question in _questions():
        try:
            for piece in template.generate(**special_tokens, **question):
                written += len(piece)
                if written > LONGEST:
                    raise MemoryError
            works = True
        except (MemoryError, RecursionError):
            raise MemoryError from None
        except Exception as error:  # a template may refuse what it does not take
            failures.append(f"{type(error).__name__}: {error}"[:200])
    if not works:
        return failures[0]
    line = _repeats(_environment().parse(text))  # on what no probe is like
    return f"repeats in line {line}" if line else ""


def _main() -> None:
    import resource

    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        job = json.loads(sys.stdin.buffer.read())
        sys.stdout.buffer.write(_try(job["template"], job["special_tokens"]).encode())
    except MemoryError:
        sys.exit(3)


if __name__ == "__main__":
    _main()
