"""The chat template: how messages become one text, the same for training, for asking and for serving."""

from __future__ import annotations

from helpers.template.capabilities import folded, shaped, taste, write
from helpers.template.spans import answer_spans, end_of_turn

# For models that bring none, such as Llama-2-7b. The generation prompt ends before the blank, which belongs to the
# answer: "<bot> 네" is cut into tokens as "<bot>" and " 네", and the model must write the second part itself.
PROJECT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '<sys> ' + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<usr> ' + message['content'] + '\\n' }}"
    "{% else %}{{ '<bot> ' + message['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<bot>' }}{% endif %}"
)

# What a model may be trained to say last: a text, a thought and a text, a tool call, a thought and a tool call
_CALL = {"id": "call00000", "type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}
_AT = {"type": "object", "properties": {"at": {"type": "string", "description": "what"}}, "required": ["at"]}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": _AT}}]
_SAID = {"role": "assistant", "content": "⟦a⟧"}
_CALLS = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
KINDS_OF_ANSWER = [_SAID, {**_SAID, "reasoning_content": "⟦t⟧"}, _CALLS, {**_CALLS, "reasoning_content": "⟦t⟧"}]


def project_template(tokenizer) -> str:
    """The project's template; it begins with BOS where the tokenizer itself puts one before every text."""
    return ("{{ bos_token }}" if adds_bos(tokenizer) else "") + PROJECT_TEMPLATE


def adds_bos(tokenizer) -> bool:
    """True when the tokenizer puts BOS before a plain text, as the base model saw it in pretraining."""
    return tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]


class Prompt(list):
    """Messages that ask for a reply, and the `tools` that it may call: a list of messages that does not lose its tools."""

    def __init__(self, messages: list[dict], tools=None):
        super().__init__(messages)
        self.tools = list(tools or ())


def render(tokenizer, messages: list[dict], add_generation_prompt: bool = False, tools=None) -> str:
    """`messages` as the text that the model sees, each in the shape that the template takes (see `shaping`).

    `tools`: default those of `messages`, where these are a `Prompt`.
    """
    tools = tools or getattr(messages, "tools", None)
    return write(tokenizer, shaped(tokenizer, messages), add_generation_prompt, tools)


def prompt_ids(tokenizer, messages: list[dict], tools=None) -> list[int]:
    """Token ids that ask for the next reply: the rendered messages and the generation prompt, with BOS at most once."""
    text = render(tokenizer, messages, add_generation_prompt=True, tools=tools)
    return tokenizer(text, add_special_tokens=False).input_ids


def stop_ids(tokenizer) -> list[int]:
    """Ids that end a reply: the tokenizer's EOS, and every control token that ends a last answer in training.

    The template is asked for each kind of answer: a text, a thought and a text, a tool call (gpt-oss ends one with another
    token). Where it writes no end (GLM-4.5), the token with which the next turn begins. What also stands inside an answer,
    behind its thought say, ends no reply.
    """
    turns = [{"role": "user", "content": "⟦q⟧"}, {"role": "assistant", "content": "⟦a⟧"}]
    *earlier, last = render(tokenizer, turns + turns).split("⟦a⟧")[1:]
    found = next(filter(None, map(end_of_turn(tokenizer).match, (last, *earlier))), None)
    ends, inside = {found[1]} if found else set(), set()
    for answer in KINDS_OF_ANSWER:
        try:
            text, spans = answer_spans(tokenizer, [turns[0], answer], TOOLS if "tool_calls" in answer else ())
        except ValueError:  # this template knows no such answer
            continue
        tokens = list(end_of_turn(tokenizer).finditer(text[slice(*spans[-1])])) if spans else []
        if tokens and tokens[-1].end() == spans[-1][1] - spans[-1][0]:
            ends.add(tokens.pop()[1])
        inside |= {token[1] for token in tokens if token[1] not in ends}
    return sorted({tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, ends - inside)})


def fold_system(tokenizer, messages: list[dict]) -> list[dict]:
    """`messages`, with the system turn put before the first user turn if the template refuses or ignores it."""
    return messages if takes_system(tokenizer) else folded(messages)


def takes_system(tokenizer) -> bool:
    """True when the template shows a system turn to the model."""
    return taste(tokenizer).system
