"""The chat template: how messages become one text, the same for training, for asking and for serving."""

from __future__ import annotations

import functools
import re
from datetime import date

from helpers.config import RunConfig
from helpers.model.source import hub_revision, resolve_model

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


def load_tokenizer(config: RunConfig, source: str | None = None):
    """The run's tokenizer (or that of the folder `source`), with a chat template and a pad token, no new vocabulary.

    A model without a template gets the project's. A tokenizer without a pad token reuses one it has: padding is
    marked in the labels and the attention mask, so padding with EOS never hides the real EOS.
    Raises ValueError for a tokenizer without EOS, or one that cannot tell which characters a token stands for.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source or resolve_model(config.model_id),
        revision="main" if source else hub_revision(config.model_revision),
        trust_remote_code=config.trust_remote_code,
    )
    name = source or config.model_id
    if tokenizer.eos_token_id is None:
        raise ValueError(f"The tokenizer of {name} has no EOS token, so replies could never stop: use another model.")
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer of {name} ({type(tokenizer).__name__}) gives no character offsets, so the answers cannot be "
            "found in the tokens: use a model folder with a tokenizer.json."
        )
    if not tokenizer.chat_template:
        tokenizer.chat_template = project_template(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def project_template(tokenizer) -> str:
    """The project's template; it begins with BOS where the tokenizer itself puts one before every text."""
    return ("{{ bos_token }}" if adds_bos(tokenizer) else "") + PROJECT_TEMPLATE


def adds_bos(tokenizer) -> bool:
    """True when the tokenizer puts BOS before a plain text, as the base model saw it in pretraining."""
    return tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]


def render(tokenizer, messages: list[dict], add_generation_prompt: bool = False) -> str:
    """`messages` as the text that the model sees; the system turn is folded in where the template takes none."""
    return tokenizer.apply_chat_template(
        fold_system(tokenizer, messages), tokenize=False, add_generation_prompt=add_generation_prompt
    )


def prompt_ids(tokenizer, messages: list[dict]) -> list[int]:
    """Token ids that ask for the next reply: the rendered messages and the generation prompt, with BOS at most once."""
    text = render(tokenizer, messages, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False).input_ids


def stop_ids(tokenizer) -> list[int]:
    """Ids that end a reply: the tokenizer's EOS, and what the template writes after an answer."""
    turns = [{"role": "user", "content": "⟦q⟧"}, {"role": "assistant", "content": "⟦a⟧"}]
    ids = {tokenizer.eos_token_id}
    for ending in render(tokenizer, turns + turns).split("⟦a⟧")[1:]:
        if match := _end_of_turn(tokenizer).match(ending):
            ids.add(tokenizer.convert_tokens_to_ids(match[1]))
    return sorted(ids)


def fold_system(tokenizer, messages: list[dict]) -> list[dict]:
    """`messages`, with the system turn put before the first user turn if the template refuses or ignores it."""
    if messages[0]["role"] != "system" or len(messages) == 1 or takes_system(tokenizer):
        return messages
    system, user, *rest = messages
    return [{"role": user["role"], "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def takes_system(tokenizer) -> bool:
    """True when the template shows a system turn to the model."""
    from jinja2.exceptions import TemplateError

    probe = [{"role": "system", "content": "⟦s⟧"}, {"role": "user", "content": "⟦q⟧"}]
    try:
        return "⟦s⟧" in tokenizer.apply_chat_template(probe, tokenize=False)
    except TemplateError:
        return False


def answer_spans(tokenizer, messages: list[dict]) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text, and for each assistant turn the characters [start, end) that the model has to write.

    A span begins where the generation prompt ends and goes through the end-of-turn token, without the newline after it.
    Raises ValueError when the template changes the texts, so that the answers cannot be found.
    """
    messages = fold_system(tokenizer, messages)
    text, roles = render(tokenizer, messages), tuple(message["role"] for message in messages)
    opening, turns = _written_by_template(tokenizer, tokenizer.get_chat_template(), roles, date.today())
    position, spans, faithful = len(opening), [], text.startswith(opening) and len(turns) == len(messages)
    for turn, lead, ending, after in turns:
        content = messages[turn]["content"]
        if not text.startswith(content + after, position):
            content = content.strip()  # many templates do this
        faithful = faithful and text.startswith(content + after, position)
        start, position = position, position + len(content)
        if roles[turn] == "assistant":
            spans.append((start - lead, position + ending))
        position += len(after)
    if not faithful or position != len(text):
        raise ValueError("The chat template changes the text of this conversation, so its answers cannot be found.")
    return text, spans


@functools.lru_cache(maxsize=256)
def _written_by_template(tokenizer, template: str, roles: tuple[str, ...], day: date) -> tuple[str, list[tuple]]:
    """What the template itself writes for these roles, found by rendering marks in place of the texts.

    Gives the opening, and for each turn in the order shown: its number, how many characters before its text are the
    model's to write, how many after it are the end-of-turn token, and all that follows it up to the next turn's text.
    (`template` and `day` are there for the cache: some templates write the date.)
    """
    turns = [{"role": role, "content": f"⟦{i}⟧"} for i, role in enumerate(roles)]
    opening, *pieces = re.split(r"⟦(\d+)⟧", render(tokenizer, turns))
    found, before = [], opening
    for turn, after in zip(map(int, pieces[::2]), pieces[1::2], strict=True):
        lead = 0
        if roles[turn] == "assistant" and turn:
            asked = render(tokenizer, turns[:turn], add_generation_prompt=True)
            header = asked.rpartition("⟧")[2]  # what follows the last text when a reply is asked for
            lead = len(before) - len(header) if before.startswith(header) else 0
        ending = _end_of_turn(tokenizer).match(after)
        found.append((turn, lead, ending.end() if ending else 0, after))
        before = after
    return opening, found


@functools.lru_cache(maxsize=8)
def _end_of_turn(tokenizer) -> re.Pattern:
    """What may follow an answer: one of the tokenizer's own control tokens, perhaps after a blank."""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    tokens = sorted((t for t in tokens if t.strip()), key=len, reverse=True)
    return re.compile(r"\s*(" + "|".join(map(re.escape, tokens)) + ")")
