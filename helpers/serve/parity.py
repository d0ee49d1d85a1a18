"""Is it still the same model? Each file answers the same held-out rows as the merged model, and what it costs is counted."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.evaluate.generation import generate_replies
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.model.memory import file_bytes
from helpers.serve.checks import check_token_ids
from helpers.serve.llama_cpp import LlamaCpp
from helpers.serve.server import ask_server, llama_server
from helpers.show.progress import Progress
from helpers.show.tables import Table
from helpers.show.units import human_bytes
from helpers.show.words import _
from helpers.template.chat import prompt_ids, render, stop_ids

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS = 8  # replies that llama.cpp writes at once: the weights are read once for all, and each needs a cache of its own
SECONDS = 30  # in which the f16 file reads the rows that are measured
ENOUGH = 0.995  # of first choices that are the same: rounding to 16 bits turns fewer near ties than that


@dataclass(frozen=True)
class Measured:
    """One model on the held-out rows: sums by row in `scores`, and for `replies` prompts how many replies stopped."""

    name: str
    size: int  # bytes on disk
    scores: Scores
    stopped: int = 0
    replies: int = 0
    same_replies: int = 0  # token by token the reply of the merged model
    firsts: list = field(default_factory=list, repr=False)  # each answer token's most likely token, by row
    written: list = field(default_factory=list, repr=False)  # token ids of each reply
    exact: bool = True  # computed in float32


def rows_in_time(file: Path, rows: Dataset, seconds: float = SECONDS) -> Dataset:
    """The leading `rows` (encoded, in key order) that llama.cpp reads in `seconds`, by the time of the first; TEXTS at least."""
    lengths, used, read = [len(ids) for ids in rows["input_ids"]], 0.0, 0
    with LlamaCpp(file, max(lengths)) as model:
        for row, length in zip(rows, lengths, strict=True):
            start = time.perf_counter()
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

    nll, tokens, firsts = [], [], []
    for i in Progress(range(len(rows)), desc=_("merged")):  # one at a time: logits of a large vocabulary are not kept
        row = held_out_nll(model, rows.select([i]), keep=1)
        nll += row.nll
        tokens += row.tokens
        firsts.append(row.logits[0].argmax(-1).tolist())
    replies = generate_replies(model, tokenizer, prompts, max_new_tokens, progress=_("replies"))
    written, count = [reply.token_ids for reply in replies], len(prompts)
    stopped, exact = sum(reply.stopped for reply in replies), model.dtype is torch.float32
    return Measured("merged", file_bytes(folder), Scores(nll, tokens), stopped, count, count, firsts, written, exact)


def measure_gguf(
    file: Path, tokenizer: PreTrainedTokenizerBase, rows: Dataset, prompts: list[list[dict]], max_new_tokens: int,
    merged: Measured,
) -> Measured:  # fmt: skip
    """The GGUF file in llama.cpp, on the rows and prompts of `measure_merged`.

    Raises ValueError when llama.cpp cuts a prompt into other token ids, or gives a number that is not finite."""
    asked, stops = [prompt_ids(tokenizer, messages) for messages in prompts], stop_ids(tokenizer)
    check_token_ids(file, tokenizer, [render(tokenizer, messages, add_generation_prompt=True) for messages in prompts])
    longest = max([*map(len, rows["input_ids"]), *(len(ids) + max_new_tokens for ids in asked)])
    scores = Scores([], [])
    with LlamaCpp(file, longest, texts=TEXTS) as model:
        for row, firsts in zip(Progress(rows, desc=file.stem), merged.firsts, strict=True):
            _add_row(scores, model, row, firsts)
            if not math.isfinite(scores.nll[-1]):
                sentence = _("{file} gives an NLL of {nll} on held-out row {row}: the file is damaged.")
                raise ValueError(sentence.format(file=file.name, nll=scores.nll[-1], row=len(scores.nll)))
        replies = model.replies(asked, max_new_tokens, stops)
    cut = [_cut(ids, stops) for ids in replies]
    stopped = sum(len(reply) < len(ids) for reply, ids in zip(cut, replies, strict=True))
    same = sum(reply == theirs for reply, theirs in zip(cut, merged.written, strict=True))
    return Measured(file.stem, file.stat().st_size, scores, stopped, len(cut), same)


def _add_row(scores: Scores, model: LlamaCpp, row: dict, firsts: list[int]) -> None:
    """NLL of the row's answer under `model`, and how often its first choice is the merged model's (`firsts`)."""
    import numpy

    places = _answer_places(row)
    logits, right = model.logits(list(row["input_ids"]), places), numpy.array(row["labels"])[1:][places]
    top = logits.max(-1)
    spread = top + numpy.log(numpy.exp(logits - top[:, None]).sum(-1, dtype=numpy.float64))
    scores.nll.append(float((spread - logits[range(len(right)), right]).sum()))
    scores.tokens.append(len(right))
    scores.agree.append(int((logits.argmax(-1) == firsts).sum()))


def _cut(ids: list[int], stops: list[int]) -> tuple[int, ...]:
    """A reply without the stop token that ended it."""
    return tuple(ids[:-1] if ids and ids[-1] in stops else ids)


def served_alike(
    file: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[dict]], max_new_tokens: int
) -> tuple[int, int]:
    """Of these prompts, sent as messages to llama-server: (asked with our token ids, answered as the file answers here)."""
    ids, stops = [prompt_ids(tokenizer, messages) for messages in prompts], stop_ids(tokenizer)
    tokens = max(map(len, ids)) + max_new_tokens
    with LlamaCpp(file, tokens) as model:
        here = [_cut(model.replies([row], max_new_tokens, stops)[0], stops) for row in ids]
    with llama_server(file, -(-tokens // 256) * 256) as address:
        there = [ask_server(address, tokenizer, messages, max_new_tokens) for messages in prompts]
    asked = sum(mine == theirs for mine, (theirs, _reply) in zip(ids, there, strict=True))
    return asked, sum(mine == _cut(reply, stops) for mine, (_ids, reply) in zip(here, there, strict=True))


def first_choices(merged: Measured, f16: Measured) -> str:
    """What the f16 file's share of equal first choices says, and where it is below ENOUGH, why."""
    same, tokens = sum(f16.scores.agree), sum(f16.scores.tokens)
    if same >= ENOUGH * tokens:
        sentence = _("The f16 file makes the same first choice at {same} of {tokens} tokens ({share}).")
    elif merged.exact:
        sentence = _(
            "The f16 file makes the same first choice at {same} of {tokens} tokens ({share}) of the float32 model: fewer than "
            "rounding explains. Look at NLL, and serve the merged folder with vLLM where it is worse."
        )
    else:
        sentence = _(
            "The f16 file makes the same first choice at {same} of {tokens} tokens ({share}). The merged model was computed "
            "in 16 bits, since float32 does not fit into this machine's memory: its own rounding is in this number."
        )
    return sentence.format(same=same, tokens=tokens, share=f"{same / tokens:.1%}")


def cost_table(merged: Measured, files: list[Measured]) -> Table:
    """What each file costs in quality and in size, beside the merged model; NLL in nats per answer token."""
    rows = []
    for model in [merged, *files]:
        scores = model.scores
        more = scores.nll_per_token - merged.scores.nll_per_token
        row = {
            "model": model.name,
            "size": human_bytes(model.size),
            "NLL": f"{scores.nll_per_token:.3f}",
            "NLL more": f"{more:+.3f}",
            "same first choice": _count(sum(scores.agree), sum(scores.tokens)),
            "same prompt ids": _count(model.replies, model.replies),  # else `measure_gguf` raises
            "same reply": _count(model.same_replies, model.replies),
            "replies that stop": _count(model.stopped, model.replies),
        }
        rows.append(row)
    rows[0] |= {"model": _("merged"), "NLL more": "", "same first choice": ""}
    caption = _("{rows} held-out conversations, {tokens} answer tokens")
    return Table(rows, caption=caption.format(rows=len(merged.scores.tokens), tokens=sum(merged.scores.tokens)))


def _count(part: int, whole: int) -> str:
    return _("{part} of {whole}").format(part=part, whole=whole)
