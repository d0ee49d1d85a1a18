"""Does a model write the same reply as another one? One pass reads a whole reply; writing takes a pass a token.

As in speculative decoding (Leviathan et al., 2023), with another model's whole reply as the draft.
"""

from __future__ import annotations

from helpers.evaluate.held_out import answer_batches
from helpers.template.chat import prompt_ids

ROWS = 16  # read at once


def confirmed(model, tokenizer, prompts: list, drafts: list, stops: list[int], most: int) -> list[bool]:
    """Whether `model` would write each of `drafts` (generation.Reply) greedily, token by token, and end it there.

    `most`: tokens of a reply; a draft that was cut earlier says nothing of what comes behind.
    """
    from datasets import Dataset

    same, rows = [False] * len(drafts), {"number": [], "input_ids": [], "labels": []}
    for number, (messages, draft) in enumerate(zip(prompts, drafts, strict=True)):
        whole = len(draft.token_ids) < most if draft.stopped else len(draft.token_ids) == most
        if whole and draft.question == messages[-1]["content"]:
            asked, written = list(prompt_ids(tokenizer, messages)), [*draft.token_ids, *stops[: draft.stopped]]
            row = {"number": number, "input_ids": asked + written, "labels": [-100] * len(asked) + written}
            for name, value in row.items():
                rows[name].append(value)
    if not rows["number"]:
        return same
    for row, logits, targets in answer_batches(model, Dataset.from_dict(rows), ROWS):
        chosen, draft = logits.argmax(-1).tolist(), drafts[rows["number"][row]]
        ended = not draft.stopped or chosen.pop() in stops
        same[rows["number"][row]] = ended and chosen == targets.tolist()[: len(chosen)]
    return same
