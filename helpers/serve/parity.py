"""Is it still the same model? Each file reads and answers the same held-out rows as the merged model."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.evaluate.generation import Reply, cut_reply, generate_replies
from helpers.evaluate.held_out import Scores, look_at_answers
from helpers.evaluate.served import Served
from helpers.model.memory import file_bytes
from helpers.serve.checks import check_token_ids
from helpers.serve.llama_cpp import LlamaCpp
from helpers.show.progress import Progress
from helpers.show.words import _
from helpers.template.chat import prompt_ids, render, stop_ids

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS = 8  # replies that llama.cpp writes at once: the weights are read once for all, and each needs a cache of its own
SECONDS = 30  # in which the f16 file reads the rows that are measured
ENOUGH = 0.995  # of first choices that are the same
TIE = 0.1  # nats between the two best tokens: below it, rounding to 16 bits may turn the choice


@dataclass(frozen=True)
class Measured:
    """One model on the held-out rows: sums by row in `scores`, and its `replies` to the prompts."""

    name: str  # of the file; "merged"
    size: int  # bytes on disk
    scores: Scores
    replies: list[Reply] = field(repr=False)
    best: list = field(default_factory=list, repr=False)  # by row: answer tokens' two best (logits, ids), (tokens, 2)
    exact: bool = True  # computed in float32
    near: int = 0  # other first choices than the merged model's, where its two best are TIE apart or less

    @property
    def stopped(self) -> int:
        return sum(reply.stopped for reply in self.replies)

    def same_replies(self, merged: Measured) -> int:
        """How many replies are token by token those of the merged model."""
        pairs = zip(self.replies, merged.replies, strict=True)
        return sum(mine.token_ids == theirs.token_ids for mine, theirs in pairs)


def rows_in_time(file: Path, rows: Dataset, seconds: float = SECONDS) -> Dataset:
    """The leading `rows` (encoded, in key order) that llama.cpp reads in `seconds`, as timed on the first; >= TEXTS."""
    lengths, used, read = [len(ids) for ids in rows["input_ids"]], 0.0, 0
    with LlamaCpp(file, max(lengths)) as model:
        for i, length in enumerate(lengths):
            row, start = rows[i], time.perf_counter()
            model.logits(list(row["input_ids"]), _answer_places(row))
            used, read = used + time.perf_counter() - start, read + length
            if used > seconds / 15:
                break
    fit = sum(total * used <= seconds * read for total in itertools.accumulate(lengths))
    return rows.select(range(min(len(rows), max(TEXTS, fit))))


def _answer_places(row: dict) -> list[int]:
    """Where the logits of the answer's tokens are: one place before each."""
    return [place for place, label in enumerate(row["labels"][1:]) if label != -100]


def measure_merged(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Dataset, prompts: list[list[dict]],
    max_new_tokens: int, folder: Path,
) -> Measured:  # fmt: skip
    """The merged model as transformers runs it. `rows` as `encode_rows` gives them."""
    import torch

    best: list = [None] * len(rows)
    scores = Scores([0.0] * len(rows), [0] * len(rows))

    def look(row, logits, targets):  # logits of a large vocabulary are not kept
        logits = logits.float()
        scores.put(row, logits, targets)
        best[row] = [part.cpu().numpy() for part in logits.topk(2)]

    look_at_answers(model, rows, 8, _("merged"), look)
    replies = generate_replies(model, tokenizer, prompts, max_new_tokens, progress=_("replies"))
    exact = model.dtype is torch.float32
    return Measured("merged", file_bytes(folder), scores, replies, best, exact)


def measure_gguf(
    file: Path, tokenizer: PreTrainedTokenizerBase, rows: Dataset, prompts: list[list[dict]], max_new_tokens: int,
    merged: Measured,
) -> Measured:  # fmt: skip
    """The GGUF file in llama.cpp, on the rows and prompts of `measure_merged`.

    Raises ValueError when llama.cpp cuts a prompt into other token ids, or gives a number that is not finite."""
    asked, stops = [prompt_ids(tokenizer, messages) for messages in prompts], stop_ids(tokenizer)
    texts = [render(tokenizer, messages, add_generation_prompt=True) for messages in prompts]
    check_token_ids(file, tokenizer, texts)
    longest = max([*map(len, rows["input_ids"]), *(len(ids) + max_new_tokens for ids in asked)])
    scores, near, written = Scores([], []), 0, []
    with LlamaCpp(file, longest, texts=TEXTS) as model:
        for start in Progress(range(0, max(len(rows), len(asked)), TEXTS), desc=file.stem):
            for i in range(start, min(start + TEXTS, len(rows))):
                near += _add_row(scores, model, i - start, rows[i], merged.best[i])
                if not math.isfinite(scores.nll[-1]):
                    sentence = _("{file} gives an NLL of {nll} on held-out row {row}: the file is damaged.")
                    raise ValueError(sentence.format(file=file.name, nll=scores.nll[-1], row=i + 1))
            # each text has just read its row, which most often begins with what is asked
            written += model.replies(asked[start : start + TEXTS], max_new_tokens, stops)
    answers = zip(written, asked, texts, strict=True)
    replies = [cut_reply(new, tokenizer, stops, len(ids), text) for new, ids, text in answers]
    return Measured(file.name, file.stat().st_size, scores, replies, near=near)


def _add_row(scores: Scores, model: LlamaCpp, which: int, row: dict, best: list) -> int:
    """Add the NLL of a row, read as text `which` of `model`, and how often its first choice is the merged model's.

    Returns Measured.near of the row."""
    import numpy

    places, (logits_there, ids_there) = _answer_places(row), best
    logits, right = model.logits(list(row["input_ids"]), places, which), numpy.array(row["labels"])[1:][places]
    top, same = logits.max(-1), logits.argmax(-1) == ids_there[:, 0]
    spread = top + numpy.log(numpy.exp(logits - top[:, None]).sum(-1, dtype=numpy.float64))
    scores.nll.append(float((spread - logits[range(len(right)), right]).sum()))
    scores.tokens.append(len(right))
    scores.agree.append(int(same.sum()))
    return int((~same & (logits_there[:, 0] - logits_there[:, 1] <= TIE)).sum())


def first_choices(merged: Measured, f16: Measured) -> str:
    """What the f16 file's share of equal first choices says, and where it is below ENOUGH, why."""
    same, tokens = sum(f16.scores.agree), sum(f16.scores.tokens)
    told = _("The f16 file makes the same first choice at {same} of {tokens} tokens ({share}).")
    told = told.format(same=same, tokens=tokens, share=f"{same / tokens:.1%}")
    if same >= ENOUGH * tokens:
        return told
    if not merged.exact:
        why = _(
            "The merged model was computed in 16 bits, since float32 does not fit into this machine's memory: its own "
            "rounding is in this number."
        )
    elif f16.near == tokens - same:
        why = _(
            "At all others the merged model's two best tokens lie {tie} nats apart or less: rounding turned these ties."
        )
    else:
        why = _(
            "At {count} of the others the merged model's choice was no near tie (more than {tie} nats): rounding does "
            "not explain that. Look at NLL, and serve the merged folder with vLLM where it is worse."
        )
    return f"{told} {why.format(count=tokens - same - f16.near, tie=TIE)}"


def results(merged: Measured, files: list[Measured], checks: dict[str, dict] | None = None) -> Served:
    """What was measured, for served.json; `checks`: as `Checked.counts` gives them."""
    rows, checks = {}, checks or {}
    for model in [merged, *files]:
        rows[model.name] = {
            "bytes": model.size,
            "nll": model.scores.nll_per_token,
            "same_first_choice": sum(model.scores.agree),
            "same_reply": model.same_replies(merged),
            "stopped": model.stopped,
            "by_row": {"nll": model.scores.nll, "tokens": model.scores.tokens},
            "checks": {name: {"passed": row[model.name], "of": row["of"]} for name, row in checks.items()},
        }
    scores, ours = merged.scores, rows.pop(merged.name)
    return Served(rows, ours, len(scores.tokens), sum(scores.tokens), len(merged.replies))
