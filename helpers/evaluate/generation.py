"""Replies of a model to a list of prompts: batched, sorted by length, cut at the prompt by token ids."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from helpers.model.rows import reply_rows
from helpers.model.source import longest_text
from helpers.template.capabilities import apart
from helpers.template.chat import Prompt, prompt_ids, render, stop_ids
from helpers.template.spans import answer_spans
from helpers.template.thoughts import apart_in


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
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})

    @property
    def told(self) -> str:
        """The answer as a page shows it."""
        return told(self.text, self.stopped, self.in_thought)


def told(text: str, stopped: bool, in_thought: bool = False) -> str:
    """An answer as a page shows it: one that was cut ends with an ellipsis; a thought is never shown as an answer."""
    if in_thought:
        return "(stopped inside the thought)" if stopped else "(cut inside the thought)"
    return text if stopped else f"{text} …"


def generate_replies(
    model,
    tokenizer,
    prompts: list[list[dict]],
    max_new_tokens: int,
    sampling: dict | None = None,
    seed: int = 42,
    batch_size: int | None = None,
    progress: str = "",
) -> list[Reply]:
    """One reply per prompt (a list of messages that ends with the user's turn), in the order of `prompts`; a
    `chat.Prompt` is asked with its tools.

    Greedy unless `sampling` is given, for example {"temperature": 0.7, "top_p": 0.9}. The same seed and prompts give
    every model the same random numbers. `batch_size` is at most 8 on a GPU, where memory is scarce, and 32 on a CPU,
    where the weights are read once per token and batch; fewer where their cache would not fit. No reply goes beyond the longest text that the model was
    made for; raises ValueError for a prompt that fills it.
    """
    import torch

    from helpers.show.progress import Progress

    ids = [prompt_ids(tokenizer, messages) for messages in prompts]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    longest = max(map(len, ids)) + max_new_tokens
    batch_size = batch_size or reply_rows(model, longest, at_most=8 if model.device.type == "cuda" else 32)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    settings = generation_settings(tokenizer, max_new_tokens, sampling)
    replies: dict[int, Reply] = {}
    for number, batch in enumerate(Progress(batches, desc=progress, disable=not progress)):
        rows = [ids[i] for i in batch]
        width = max(map(len, rows))
        settings["max_new_tokens"] = min(max_new_tokens, room_for_reply(model, width))
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(seed + number)
            output = model.generate(**left_padded(rows, tokenizer.pad_token_id, model.device), **settings)
        for i, line in zip(batch, output[:, width:].tolist(), strict=True):
            asked = render(tokenizer, prompts[i], add_generation_prompt=True)
            said = cut_reply(line, tokenizer, settings["eos_token_id"], len(ids[i]), asked)
            replies[i] = replace(said, question=prompts[i][-1]["content"])
    return [replies[i] for i in range(len(ids))]


def room_for_reply(model, prompt_tokens: int) -> int:
    """How many tokens fit behind a prompt within the longest text that the model was made for."""
    most = longest_text(model.config) or sys.maxsize
    if prompt_tokens >= most:
        raise ValueError(
            f"A prompt of {prompt_tokens:,} tokens leaves no room for a reply: the model was made for texts of {most:,} "
            "tokens. Lower max_length in 03, or shorten the prompt."
        )
    return most - prompt_tokens


def generation_settings(tokenizer, max_new_tokens: int, sampling: dict | None = None) -> dict:
    """Keywords for `model.generate`. Every knob is spelled out, so that a model's own defaults cannot differ."""
    common = {
        "max_new_tokens": max_new_tokens,
        "eos_token_id": stop_ids(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "num_beams": 1,
        "repetition_penalty": 1.0,
    }
    if sampling is None:
        return {**common, "do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}
    return {**common, "do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, **sampling}


def left_padded(rows: list[list[int]], pad_id: int, device) -> dict:
    """`input_ids` and `attention_mask` of shape (rows, longest), prompts flush right.

    `generate` counts positions from the mask, so a padded prompt gets the positions it has alone.
    """
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask}


def cut_reply(new_ids: list[int], tokenizer, stops: list[int], prompt_tokens: int, prompt: str = "") -> Reply:
    """The reply in `new_ids`: everything before the first stop token, its thought apart from its answer.

    `prompt`: the text that was asked, which may have opened the thought.
    """
    end = next((i for i, token in enumerate(new_ids) if token in stops), len(new_ids))
    kept = new_ids[:end]
    said = apart_in(tokenizer, tokenizer.decode(kept, skip_special_tokens=False), prompt)
    alone = tuple(tokenizer(said.answer, add_special_tokens=False).input_ids) if said.thought else None
    return Reply(
        said.answer, tuple(kept), end < len(new_ids), prompt_tokens, said.thought, said.unfinished, answer_ids=alone
    )


def prompts_and_references(
    rows: list[dict], count: int | None = None, tokenizer=None
) -> tuple[list[Prompt], list[str]]:
    """From rows of messages: what is asked (everything before the last assistant turn) and what a person answered.

    A reference is the answer without its thought. With a `tokenizer`, one that calls tools is the call as its template
    writes it, to be compared with a model's.
    """
    prompts, references = [], []
    for row in rows:
        turns = row["messages"]
        last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
        if last > 0 and len(prompts) != count:
            prompts.append(Prompt(turns[:last], row.get("tools")))
            references.append(_reference(prompts[-1], turns[last], tokenizer))
    return prompts, references


def _reference(prompt: Prompt, answer: dict, tokenizer) -> str:
    if tokenizer is None or not answer.get("tool_calls"):
        return apart(answer)["content"]
    text, spans = answer_spans(tokenizer, [*prompt, answer], prompt.tools)
    asked = render(tokenizer, prompt, add_generation_prompt=True)
    return apart_in(tokenizer, text[slice(*spans[-1])], asked).answer
