"""Replies of a model to a list of prompts: batched, sorted by length, cut at the prompt by token ids."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from helpers.evaluate.decoding import Sampling, answering, decoder, generate_ids, room_for_reply
from helpers.model.rows import reply_rows
from helpers.show.words import _
from helpers.template.capabilities import split_thinking
from helpers.template.chat import Prompt, prompt_ids, render, stop_ids
from helpers.template.spans import answer_spans, is_document
from helpers.template.thoughts import parse_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# of a batch at most: a GPU is short of memory, a CPU reads the weights once per token and batch
ROWS = {"cuda": 8, "cpu": 64}
EACH = 16  # replies that are worth a core of their own: with fewer, two cores share each product sooner than Python


@dataclass(frozen=True)
class Reply:
    """What a model wrote: its own tokens only, without the prompt and without the stop token."""

    text: str  # the answer; "" when the reply ended inside its thought
    token_ids: tuple[int, ...]  # of the whole reply, its thought included
    stopped: bool  # True: it ended by itself; False: it was cut at max_new_tokens
    prompt_tokens: int
    thought: str = ""
    in_thought: bool = False  # True: it ended before its thought did, so there is no answer
    answer_ids: tuple[int, ...] | None = None  # of the answer alone; None: there is no thought
    question: str = ""  # the last turn of its prompt

    @classmethod
    def from_json(cls, row: dict) -> Reply:
        """A reply that was kept as `dataclasses.asdict` gives it: JSON has lists only."""
        lists: dict[str, Any] = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
        return cls(**{**row, **lists})

    @property
    def shown(self) -> str:
        """The answer as a page shows it."""
        return shown(self.text, self.stopped, self.in_thought)


def shown(text: str, stopped: bool, in_thought: bool = False) -> str:
    """An answer as a page shows it: one that was cut ends with an ellipsis, one without a letter says so; a thought is
    never shown as an answer."""
    if in_thought:
        return _("(stopped inside the thought)") if stopped else _("(cut inside the thought)")
    if stopped and not text.strip():
        return _("(empty)")
    return text if stopped else f"{text} …"


def generate_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[dict]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    progress: str = "",
) -> list[Reply]:
    """One reply per prompt (messages that end with the user's turn; a `Prompt` has tools), in the order of `prompts`.

    Greedy without `sampling`. Batches are smaller where their cache would not fit. No reply goes beyond the longest
    text that the model was made for. Raises PromptTooLong for a prompt that fills it.
    """
    import torch

    from helpers.model.cores import longest_first, side_by_side, workers
    from helpers.show.progress import Progress

    ids = [prompt_ids(tokenizer, messages) for messages in prompts]
    longest = max(map(len, ids)) + max_new_tokens
    # random numbers are drawn in one order
    at_once = 1 if sampling else max(1, min(workers(model.device), len(ids) // EACH))
    size = reply_rows(model, longest, at_most=ROWS["cuda" if model.device.type == "cuda" else "cpu"]) // at_once
    size = max(1, min(size, math.ceil(len(ids) / at_once)))
    batches = longest_first(ids, size)
    room = [min(max_new_tokens, room_for_reply(model, len(ids[batch[0]]))) for batch in batches]
    settings = [decoder(model, tokenizer, most, sampling) for most in room]

    def write(number: int) -> list[list[int]]:
        if sampling:
            torch.manual_seed(sampling.seed + number)
        return generate_ids(model, [ids[i] for i in batches[number]], settings[number]).tolist()

    with torch.random.fork_rng(), answering(model):
        written = side_by_side(write, range(len(batches)), model.device, at_once)
        lines = list(Progress(written, desc=progress, total=len(batches), disable=not progress))
    replies, stops = {}, stop_ids(tokenizer)
    for i, line in zip(itertools.chain(*batches), itertools.chain(*lines), strict=True):
        asked = render(tokenizer, prompts[i], add_generation_prompt=True)
        reply = cut_reply(line, tokenizer, stops, len(ids[i]), asked)
        replies[i] = replace(reply, question=prompts[i][-1]["content"])
    return [replies[i] for i in range(len(ids))]


def cut_reply(
    new_ids: list[int], tokenizer: PreTrainedTokenizerBase, stops: list[int], prompt_tokens: int, prompt: str = ""
) -> Reply:
    """The reply in `new_ids`: everything before the first stop token, its thought apart from its answer.

    `prompt`: the text that was asked, which may have opened the thought.
    """
    end = next((i for i, token in enumerate(new_ids) if token in stops), len(new_ids))
    kept = new_ids[:end]
    parsed = parse_reply(tokenizer, str(tokenizer.decode(kept, skip_special_tokens=False)), prompt)
    alone = tuple(tokenizer(parsed.answer, add_special_tokens=False).input_ids) if parsed.thought else None
    stopped = end < len(new_ids)
    return Reply(parsed.answer, tuple(kept), stopped, prompt_tokens, parsed.thought, parsed.unfinished, alone)


def prompts_and_references(
    rows: list[dict], count: int | None = None, tokenizer=None
) -> tuple[list[Prompt], list[str]]:
    """From rows of messages: what is asked (everything before the last assistant turn) and what a person answered.

    Of a raw text the first half is asked, the second is the reference.

    A reference is the answer without its thought. With a `tokenizer`, one that calls tools is the call as its template
    writes it, to be compared with a model's.
    """
    prompts, references = [], []
    for row in rows:
        if len(prompts) == count:
            break
        turns = row["messages"]
        if is_document(turns):
            text = turns[0]["content"]
            half = text.find(" ", len(text) // 2) if " " in text[len(text) // 2 :] else len(text) // 2
            prompts.append(Prompt([{**turns[0], "content": text[:half]}]))
            references.append(text[half:])
            continue
        last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
        if last > 0:
            prompts.append(Prompt(turns[:last], row.get("tools")))
            references.append(_reference(prompts[-1], turns[last], tokenizer))
    return prompts, references


def _reference(prompt: Prompt, answer: dict, tokenizer) -> str:
    if tokenizer is None or not answer.get("tool_calls"):
        return split_thinking(answer)["content"]
    text, spans = answer_spans(tokenizer, [*prompt, answer], prompt.tools or ())
    asked = render(tokenizer, prompt, add_generation_prompt=True)
    return parse_reply(tokenizer, text[slice(*spans[-1])], asked).answer
