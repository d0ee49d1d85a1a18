"""Replies of a model to a list of prompts: batched, sorted by length, cut at the prompt by token ids."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from helpers.model.room import reply_rows
from helpers.model.source import longest_text


@dataclass(frozen=True)
class Reply:
    """What a model answered: its own tokens only, without the prompt and without the stop token."""

    text: str
    token_ids: tuple[int, ...]
    stopped: bool  # True: it ended by itself; False: it was cut at max_new_tokens
    prompt_tokens: int

    def __str__(self) -> str:
        return self.text if self.stopped else f"{self.text} …"


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
    """One reply per prompt (a list of messages that ends with the user's turn), in the order of `prompts`.

    Greedy unless `sampling` is given, for example {"temperature": 0.7, "top_p": 0.9}. The same seed and prompts give
    every model the same random numbers. `batch_size` is at most 8 on a GPU, where memory is scarce, and 32 on a CPU,
    where the weights are read once per token and batch; fewer where their cache would not fit. No reply goes beyond the longest text that the model was
    made for; raises ValueError for a prompt that fills it.
    """
    import torch
    from tqdm import tqdm

    from helpers.model.chat import prompt_ids

    ids = [prompt_ids(tokenizer, messages) for messages in prompts]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    longest = max(map(len, ids)) + max_new_tokens
    batch_size = batch_size or reply_rows(model, longest, at_most=8 if model.device.type == "cuda" else 32)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    settings = generation_settings(tokenizer, max_new_tokens, sampling)
    replies: dict[int, Reply] = {}
    for number, batch in enumerate(tqdm(batches, desc=progress, delay=5, disable=not progress)):
        rows = [ids[i] for i in batch]
        width = max(map(len, rows))
        settings["max_new_tokens"] = min(max_new_tokens, room_for_reply(model, width))
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(seed + number)
            output = model.generate(**left_padded(rows, tokenizer.pad_token_id, model.device), **settings)
        for i, line in zip(batch, output[:, width:].tolist(), strict=True):
            replies[i] = cut_reply(line, tokenizer, settings["eos_token_id"], len(ids[i]))
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
    from helpers.model.chat import stop_ids

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


def cut_reply(new_ids: list[int], tokenizer, stops: list[int], prompt_tokens: int) -> Reply:
    """The reply in `new_ids`: everything before the first stop token."""
    end = next((i for i, token in enumerate(new_ids) if token in stops), len(new_ids))
    kept = new_ids[:end]
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Reply(text, tuple(kept), end < len(new_ids), prompt_tokens)


def prompts_and_references(rows: list[dict], count: int | None = None) -> tuple[list[list[dict]], list[str]]:
    """From rows of messages: what is asked (everything before the last assistant turn) and what a person answered."""
    prompts, references = [], []
    for row in rows:
        turns = row["messages"]
        last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
        if last > 0:
            prompts.append(turns[:last])
            references.append(turns[last]["content"])
    return prompts[:count], references[:count]
