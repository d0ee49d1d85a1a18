"""The checks of the labs, built on what the notebooks themselves use. A right answer is right on any run; see `labs`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from helpers.runs import RunDir
from helpers.show.words import _
from helpers.workshop.tasks import Missing

# Settings that cost memory and leave what is learned as it is, but for rounding
SAME_TRAINING = (
    "load_in_4bit", "activation_checkpointing", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length",
    "optim", "bnb_4bit_use_double_quant",
)  # fmt: skip


def labels(run: RunDir, answer, *, rows: list[dict], padded: list[dict], tokenizer, config) -> str:
    """lab1. `answer`: a function from a padded row {"input_ids", "attention_mask", "labels"} to its labels."""
    from helpers.data.verdicts import judge

    repaired = []
    for row in padded:
        found = _called(answer, row)
        if not isinstance(found, list) or len(found) != len(row["input_ids"]):
            raise Missing(_("The function must give a list with one label for each token, not {kind}.").format(kind=type(found).__name__))  # fmt: skip
        length = sum(row["attention_mask"])
        if any(label != -100 for label in found[length:]):
            raise Missing(_("Padding is learned: behind the end of a row every label must be -100."))
        if any(label not in (-100, token) for label, token in zip(found, row["input_ids"], strict=True)):
            raise Missing(_("A label is another token than the one of its own place: the model itself shifts them by one."))  # fmt: skip
        repaired.append({"input_ids": row["input_ids"][:length], "labels": found[:length]})
    red = [f"{v['check']} ({v['measured']})" for v in judge(rows, repaired, tokenizer, config)["verdicts"] if not v["ok"]]  # fmt: skip
    if red:
        raise Missing(_("Still red: {verdicts}.").format(verdicts="; ".join(red)))
    right = sum(label != -100 for row in padded for label in row["labels"][: sum(row["attention_mask"])])
    if sum(label != -100 for row in repaired for label in row["labels"]) != right:
        raise Missing(_("Another number of tokens is learned than the answers and their ends have: {right}.").format(right=right))  # fmt: skip
    return _("Every verdict on {rows} rows is green: the token that ends an answer is learned, the padding is not.").format(rows=len(rows))  # fmt: skip


def fits(run: RunDir, answer, *, config, shape, room: float) -> str:
    """lab2. `answer`: settings for the broken `config`, so that its training fits `room` bytes and stays the same training."""
    from helpers.plan.need import needed
    from helpers.show.units import human_bytes

    if not isinstance(answer, dict) or not all(isinstance(name, str) for name in answer):
        raise Missing(_("mine must be a dict of settings by their names, such as {{'load_in_4bit': True}}.").format())
    try:
        mine = config.with_overrides(**answer)
    except (ValueError, TypeError) as error:
        raise Missing(str(error)) from None
    if other := [name for name in answer if name not in SAME_TRAINING and getattr(mine, name) != getattr(config, name)]:
        raise Missing(_("{names} would make another training of it, or another plan: leave that as it is.").format(names=", ".join(other)))  # fmt: skip
    if mine.max_length < 2048:
        raise Missing(_("max_length={length} cuts the rows of this data; it must stay at 2048 or more.").format(length=mine.max_length))  # fmt: skip
    rows, before = (c.per_device_train_batch_size * c.gradient_accumulation_steps for c in (mine, config))
    if rows != before:
        raise Missing(_("One step learns from {rows} rows now, before from {before}: another training. Let it stay {before}.").format(rows=rows, before=before))  # fmt: skip
    need = needed(mine, shape)
    if need > room:
        raise Missing(_("It needs {need}, the card has {room}: one more change.").format(need=human_bytes(need), room=human_bytes(room)))  # fmt: skip
    return _("It fits: {need} of {room}, with {count} changed settings and the same {rows} rows a step.").format(need=human_bytes(need), room=human_bytes(room), count=len(answer), rows=rows)  # fmt: skip


def copies(run: RunDir, answer, *, train: list[dict], held_out: list[dict], copied: int) -> str:
    """lab3. `answer`: the rows of `held_out` that may stay; `copied` of them are light copies of training rows."""
    from helpers.data.copies import overlap

    if not isinstance(answer, list) or Counter(map(_key, answer)) - Counter(map(_key, held_out)):
        raise Missing(_("clean must be a list of rows out of mixed, each at most as often as there, and no others."))
    near, _same = overlap([row["messages"] for row in train], [row["messages"] for row in answer]) if answer else (0, 0)
    if near:
        raise Missing(_("{near} of the {rows} rows that you keep are still nearly the same as a training row.").format(near=near, rows=len(answer)))  # fmt: skip
    honest = len(held_out) - copied
    if len(answer) < honest:
        raise Missing(_("You keep {rows} rows, {honest} were honest: rows were thrown away that nobody has copied.").format(rows=len(answer), honest=honest))  # fmt: skip
    return _("{all} rows = {kept} that stay + {gone} copies: the held-out part measures learning again.").format(all=len(held_out), kept=len(answer), gone=len(held_out) - len(answer))  # fmt: skip


def checkpoint(run: RunDir, answer, *, folder: Path) -> str:
    """lab4. `answer`: the checkpoint of `folder` from which to go on; the newest was cut in half by a kill."""
    from helpers.train.checkpoints import checkpoints, fault, newest_complete, step_of

    found = checkpoints(folder)
    if answer not in found:
        raise Missing(_("{answer!r} is no checkpoint of {folder}: choose one of {names}.").format(answer=answer, folder=folder.name, names=", ".join(c.name for c in found)))  # fmt: skip
    if reason := fault(answer):
        raise Missing(_("{name} cannot be used: {reason}.").format(name=answer.name, reason=reason))
    newest = newest_complete(folder)
    if answer != newest:
        raise Missing(_("{name} is complete, but {newest} is too: {steps} steps for nothing.").format(name=answer.name, newest=newest.name, steps=step_of(newest) - step_of(answer)))  # fmt: skip
    return _("{name} is the newest complete checkpoint: the run loses {steps} steps, and nothing else.").format(name=answer.name, steps=step_of(found[0]) - step_of(answer))  # fmt: skip


def merge(run: RunDir, answer, *, four, change) -> str:
    """lab5. `answer`: one merged weight; `four`: the weight that was trained on, `change`: what the adapter adds to it."""
    import torch

    try:
        merged = torch.as_tensor(answer).detach().float()
    except (TypeError, ValueError, RuntimeError):
        raise Missing(_("merged must be a tensor, not {kind}.").format(kind=type(answer).__name__)) from None
    if merged.shape != four.shape:
        raise Missing(_("merged has the shape {shape}; the weight has {right}.").format(shape=tuple(merged.shape), right=tuple(four.shape)))  # fmt: skip
    if not merged.isfinite().all():
        raise Missing(_("merged holds numbers that are not finite."))
    size = float(change.float().norm())
    if not size:
        raise Missing(_("The adapter of {run} changes nothing here, so nothing can be lost: train it first.").format(run=run.path.name))  # fmt: skip
    lost = float((merged - four.float() - change.float()).norm()) / size
    if lost > 0.01:
        raise Missing(_("merged differs from the weight with its adapter by {lost:.0%} of what the adapter had changed: that much of the training is lost, or something else came in.").format(lost=lost))  # fmt: skip
    return _("The merged weight is the trained one: {lost:.2%} of the adapter's change is lost, which is rounding.").format(lost=lost)  # fmt: skip


def whose(run: RunDir, answer, *, model, rows, adapter) -> str:
    """lab6. `answer`, `adapter`: `Scores` on `rows`: the participant's base, and `model` with its adapter."""
    try:
        base = real_base(model, rows)
    except (AttributeError, ValueError):
        raise Missing(_("model has lost its adapter: run this page from the top, and look for a way that leaves it there.")) from None  # fmt: skip
    nll = getattr(answer, "nll", None)
    if nll is None or len(nll) != len(base.nll):
        raise Missing(_("base must be the Scores that held_out_nll gives for the same rows."))
    off, gap = _furthest(nll, base.nll), _furthest(nll, adapter.nll)
    if off <= 1e-3:
        better = base.nll_per_token - adapter.nll_per_token
        return _("The base is the base: the adapter is better by {better:.4f} nats per token, not by 0.").format(better=better)  # fmt: skip
    if gap <= 1e-3:
        raise Missing(_("Your base is the adapter itself, on every row to the last digit: it is still the adapter that answers."))  # fmt: skip
    raise Missing(_("On one row your base is {off:.1%} away from the model without its adapter: something else answers.").format(off=off))  # fmt: skip


def prompt(run: RunDir, answer, *, tokenizer, messages: list[dict], trained: list[int]) -> str:
    """lab7. `answer`: the token ids that ask for a reply to `messages`; `trained`: the row as it was learned."""
    from helpers.template.chat import prompt_ids

    ids = list(answer) if isinstance(answer, (list, tuple)) else None
    if ids is None or not all(type(token) is int and token >= 0 for token in ids):
        raise Missing(_("ids must be a list of token ids, as tokenizer(...).input_ids or prompt_ids(...) gives it."))
    right = prompt_ids(tokenizer, messages)
    same = next((i for i, (a, b) in enumerate(zip(ids, right, strict=False)) if a != b), min(len(ids), len(right)))
    if ids != right:
        there, wanted = (repr(tokenizer.decode(row[same : same + 3])) if same < len(row) else _("nothing more") for row in (ids, right))  # fmt: skip
        raise Missing(_("The first {same} tokens are as in training; then comes {there}, where the model has learned {wanted}.").format(same=same, there=there, wanted=wanted))  # fmt: skip
    if trained[: len(ids)] != ids:
        raise Missing(_("The template asks otherwise than this row was trained: see the verdict of 03."))
    return _("All {count} tokens are those before the answer in training: the model is asked as it has learned.").format(count=len(ids))  # fmt: skip


def real_base(model, rows):
    """The `Scores` of a `PeftModel` with its adapter switched off, on encoded `rows`."""
    from helpers.evaluate.held_out import held_out_nll

    with model.disable_adapter():
        return held_out_nll(model, rows)


def _furthest(mine: list[float], other: list[float]) -> float:
    """The largest difference on one row, as a share of `other`."""
    return max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(mine, other, strict=True))


def _key(row) -> str:
    return json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)


def _called(function, row: dict):
    """What the participant's function gives for a copy of `row`; an error in it is a sentence."""
    if not callable(function):
        raise Missing(_("The answer is {kind}; it must be a function of a row.").format(kind=type(function).__name__))
    try:
        return function({name: list(value) for name, value in row.items()})
    except Exception as error:  # whatever the participant's own code raises
        told = _("Your function raises {error}: {text}.").format(error=type(error).__name__, text=error)
        raise Missing(told) from None
