"""Is it still the same model? Each file answers the same held-out rows as the merged model, and what it costs is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from helpers.evaluate.held_out import Scores
from helpers.model.memory import file_bytes
from helpers.show.tables import Table
from helpers.show.units import human_bytes

TEXTS = 8  # replies that llama.cpp writes at once: the weights are read once for all, and each needs a cache of its own


@dataclass(frozen=True)
class Measured:
    """One model on the held-out rows: sums by row in `scores`, and for `replies` prompts how many replies stopped."""

    name: str
    size: int  # bytes on disk
    scores: Scores
    stopped: int = 0
    replies: int = 0
    same_replies: int = 0  # token by token the reply of the merged model
    same_prompts: int = 0  # prompts with the token ids of this project's tokenizer
    firsts: list = field(default_factory=list, repr=False)  # each answer token's most likely token, by row


def take(rows, count: int):
    """The first `count` rows of the encoded held-out part, which are in key order; 0 = all."""
    return rows.select(range(min(count, len(rows)))) if count else rows


def measure_merged(model, tokenizer, rows, prompts: list[list[dict]], max_new_tokens: int, folder: Path):
    """The merged model as transformers runs it: (`Measured`, its replies). `rows` as `encode_rows` gives them."""
    from helpers.evaluate.generation import generate_replies
    from helpers.evaluate.held_out import held_out_nll
    from helpers.show.progress import Progress

    nll, tokens, firsts = [], [], []
    for i in Progress(range(len(rows)), desc="merged"):  # one at a time: logits of a large vocabulary are not kept
        one = held_out_nll(model, rows.select([i]), keep=1)
        nll += one.nll
        tokens += one.tokens
        firsts.append(one.logits[0].argmax(-1).tolist())
    scores = Scores(nll, tokens)
    replies = generate_replies(model, tokenizer, prompts, max_new_tokens, progress="replies")
    size = file_bytes(folder)
    count = len(prompts)
    stopped = sum(reply.stopped for reply in replies)
    return Measured("merged", size, scores, stopped, count, count, count, firsts), replies


def measure_gguf(
    file: Path, tokenizer, rows, prompts, max_new_tokens: int, merged: Measured, replies: list
) -> Measured:
    """The GGUF file in llama.cpp, on the rows and prompts of `measure_merged`.

    Raises ValueError when llama.cpp cuts a prompt into other token ids, or gives a number that is not finite.
    """
    import numpy

    from helpers.serve.gguf import check_token_ids
    from helpers.serve.llama_cpp import LlamaCpp
    from helpers.show.progress import Progress
    from helpers.template.chat import prompt_ids, render, stop_ids

    asked = [prompt_ids(tokenizer, messages) for messages in prompts]
    texts = [render(tokenizer, messages, add_generation_prompt=True) for messages in prompts]
    same_prompts = check_token_ids(file, tokenizer, texts)
    stops, longest = (
        stop_ids(tokenizer),
        max([len(ids) for ids in rows["input_ids"]] + [len(ids) + max_new_tokens for ids in asked]),
    )
    nll, tokens, agree = [], [], []
    with LlamaCpp(file, longest, texts=TEXTS) as model:
        for row, first in zip(Progress(rows, desc=file.stem), merged.firsts, strict=True):
            places = [i for i in range(1, len(row["labels"])) if row["labels"][i] != -100]
            logits = model.logits(list(row["input_ids"]), [i - 1 for i in places])
            right = [row["labels"][i] for i in places]
            top = logits.max(-1)
            spread = top + numpy.log(numpy.exp(logits - top[:, None]).sum(-1, dtype=numpy.float64))
            nll.append(float((spread - logits[range(len(right)), right]).sum()))
            if not math.isfinite(nll[-1]):
                raise ValueError(
                    f"{file.name} gives an NLL of {nll[-1]} on held-out row {len(nll)}: the file is damaged."
                )
            tokens.append(len(right))
            agree.append(int((logits.argmax(-1) == numpy.array(first)).sum()))
        new = model.replies(asked, max_new_tokens, stops)
    stopped = sum(bool(ids) and ids[-1] in stops for ids in new)
    cut = [tuple(ids[:-1] if ids and ids[-1] in stops else ids) for ids in new]
    same = sum(ids == reply.token_ids for ids, reply in zip(cut, replies, strict=True))
    scores = Scores(nll, tokens, agree=agree)
    return Measured(file.stem, file.stat().st_size, scores, stopped, len(new), same, same_prompts)


def cost_table(merged: Measured, files: list[Measured]) -> Table:
    """What each file costs in quality and in size, beside the merged model; NLL in nats per answer token."""
    rows = []
    for one in [merged, *files]:
        scores = one.scores
        rows.append(
            {
                "model": one.name,
                "size": human_bytes(one.size),
                "NLL": f"{scores.nll_per_token:.3f}",
                "NLL more": "" if one is merged else f"{scores.nll_per_token - merged.scores.nll_per_token:+.3f}",
                "same first choice": f"{sum(scores.agree)} of {sum(scores.tokens)}" if scores.agree else "",
                "same prompt ids": f"{one.same_prompts} of {one.replies}",
                "same reply": f"{one.same_replies} of {one.replies}",
                "replies that stop": f"{one.stopped} of {one.replies}",
            }
        )
    count = len(merged.scores.tokens)
    return Table(rows, caption=f"{count} held-out conversations, {sum(merged.scores.tokens)} answer tokens")
