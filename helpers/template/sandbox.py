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
LONGEST = 2**22  # characters that the probes may come to, all together

_USER, _ANSWER = {"role": "user", "content": "⟦q⟧"}, {"role": "assistant", "content": "⟦a⟧"}
_CALL = {"id": "call00000", "type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}
_TOOL = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}}}
PROBES = (
    [_USER],
    [_USER, _ANSWER],
    [{"role": "system", "content": "⟦s⟧"}, _USER, {**_ANSWER, "reasoning_content": "⟦t⟧"}, _USER],
    [_USER, _ANSWER] * 20 + [_USER],
    [_USER, {"role": "assistant", "content": "", "tool_calls": [_CALL]}, {"role": "tool", "content": "⟦r⟧"}],
)


class Unsafe(ValueError):
    """A chat template that cannot be used; `reason` is "slow", "large" or what jinja2 says."""

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


def require_safe(template: str, special_tokens: dict[str, str], name: str) -> None:
    """Raises `Unsafe`, in one sentence, for a template of `name` that never ends, takes all memory, or writes nothing."""
    from helpers.show.words import _

    reason = _tried(template, json.dumps(special_tokens, sort_keys=True, default=str))
    if reason == "slow":
        sentence = _(
            "The chat template of {name} did not end within {seconds} seconds of computing: it may be made to hang. "
            "Choose another model, or set chat_template to a file of your own."
        )
    elif reason == "large":
        sentence = _(
            "The chat template of {name} takes more than {gigabytes} GB of memory or writes without end: it may be made to "
            "hang. Choose another model, or set chat_template to a file of your own."
        )
    elif reason:
        sentence = _(
            "The chat template of {name} can write no conversation ({reason}). Choose another model, or set chat_template to "
            "a file of your own."
        )
    else:
        return
    raise Unsafe(reason, sentence.format(name=name, reason=reason, seconds=SECONDS, gigabytes=MEMORY // 2**30))


@lru_cache(maxsize=64)
def _tried(template: str, special_tokens: str) -> str:
    """What is wrong with a template, "" for nothing. A child without this process's environment (tokens!) runs it."""
    job = json.dumps({"template": template, "special_tokens": json.loads(special_tokens)})
    try:
        child = subprocess.run(
            [sys.executable, "-I", __file__, str(SECONDS)],
            input=job.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            timeout=6 * SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "slow"
    answer = child.stdout.decode(errors="replace").strip()
    if child.returncode == 0:
        return answer
    return "slow" if child.returncode in (-9, -24) else "large"  # SIGKILL or SIGXCPU by the limit on time


def _run(job: dict) -> str:
    """Try all probes; what they raised when none of them could be written. Raises MemoryError for too long a text."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} as transformers knows it: here its body alone."""

        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str):
        raise jinja2.TemplateError(message)

    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    room.filters["tojson"] = lambda value, **how: json.dumps(value, **{"ensure_ascii": False, **how})
    room.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    try:
        template = room.from_string(job["template"])
    except jinja2.TemplateError as error:
        return f"{type(error).__name__}: {error}"[:200]
    written, failures, tries = 0, [], 0
    for probe in PROBES:
        tools = [_TOOL] if probe[-1]["role"] == "tool" else None
        parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in probe]
        for messages, asking in ((probe, False), (probe, True), (parts, True)):
            tries += 1
            values = {**job["special_tokens"], "messages": messages, "tools": tools, "add_generation_prompt": asking}
            try:
                for piece in template.generate(**values):
                    written += len(piece)
                    if written > LONGEST:
                        raise MemoryError
            except (MemoryError, RecursionError):
                raise MemoryError from None
            except Exception as error:  # a template may refuse what it does not take
                failures.append(f"{type(error).__name__}: {error}"[:200])
    return failures[0] if len(failures) == tries else ""


def _main() -> None:
    import resource

    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        answer = _run(json.loads(sys.stdin.buffer.read()))
    except MemoryError:
        sys.exit(3)
    sys.stdout.buffer.write(answer.encode())


if __name__ == "__main__":
    _main()
