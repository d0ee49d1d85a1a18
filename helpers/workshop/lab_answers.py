"""The checks of the labs, built on what the notebooks themselves use. A right answer is right on any run."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers.runs import RunDir
from helpers.show.words import _
from helpers.workshop.tasks import Missing, called, require, same_start

# Settings that cost memory and leave what is learned as it is, but for rounding
SAME_TRAINING = (
    "load_in_4bit", "activation_checkpointing", "per_device_train_batch_size", "gradient_accumulation_steps",
    "max_length", "optim", "bnb_4bit_use_double_quant",
)  # fmt: skip


def labels(run: RunDir, answer, *, rows: list[dict], padded: list[dict], tokenizer, config) -> str:
    """lab1. `answer`: a function from a padded row {"input_ids", "attention_mask", "labels"} to its labels."""
    from helpers.data.verdicts import judge

    repaired = [_without_padding(row, called(answer, copy.deepcopy(row))) for row in padded]
    # whole rows, as the page has encoded them, wherever the run cuts
    whole = replace(config, max_length=max(config.max_length, len(padded[0]["input_ids"])))
    verdicts: Any = judge(rows, repaired, tokenizer, whole)["verdicts"]
    red = "; ".join(f"{verdict['check']} ({verdict['measured']})" for verdict in verdicts if not verdict["ok"])
    require(not red, _("Still red: {verdicts}."), verdicts=red)
    right = sum(label != -100 for row in padded for label in row["labels"][: sum(row["attention_mask"])])
    learned = sum(label != -100 for row in repaired for label in row["labels"])
    other = _("{learned} tokens are learned; the answers with their ends have {right}.")
    require(learned == right, other, learned=learned, right=right)
    sentence = _("Every verdict on {rows} rows is green: the end of an answer is learned, the padding is not.")
    return sentence.format(rows=len(rows))


def _without_padding(row: dict, labels) -> dict:
    """The text of `row` with the participant's `labels`."""
    ids, length = row["input_ids"], sum(row["attention_mask"])
    fits = isinstance(labels, list) and len(labels) == len(ids)
    require(fits, _("The function must give a list with one label for each token."))
    padding = all(label == -100 for label in labels[length:])
    require(padding, _("Padding is learned: behind the end of a row every label must be -100."))
    own = all(label in (-100, token) for label, token in zip(labels, ids, strict=True))
    require(own, _("A label is not the token of its own place: the model itself shifts them by one."))
    return {"input_ids": ids[:length], "labels": labels[:length]}


def fits(run: RunDir, answer, *, config, shape, room: float) -> str:
    """lab2. `answer`: settings for the broken `config`, so that it fits `room` bytes and stays the same training."""
    from helpers.plan.need import needed
    from helpers.show.units import human_bytes

    named = isinstance(answer, dict) and all(isinstance(name, str) for name in answer)
    example = "{'load_in_4bit': True}"
    require(named, _("mine must be a dict of settings by their names, such as {example}."), example=example)
    try:
        mine = config.with_overrides(**answer)
    except (ValueError, TypeError) as error:
        raise Missing(str(error)) from None
    other = [name for name in answer if name not in SAME_TRAINING and getattr(mine, name) != getattr(config, name)]
    require(not other, _("{names} would make another training or plan of it: leave that."), names=", ".join(other))
    require(mine.max_length >= 2048, _("max_length must stay at 2048 or more: fewer tokens cut the rows of this data."))
    rows, before = (c.per_device_train_batch_size * c.gradient_accumulation_steps for c in (mine, config))
    another = _("One step learns from {rows} rows now, before from {before}: that is another training.")
    require(rows == before, another, rows=rows, before=before)
    sizes = {"need": human_bytes(needed(mine, shape)), "room": human_bytes(room)}
    require(needed(mine, shape) <= room, _("It needs {need}, the card has {room}: one more change."), **sizes)
    sentence = _("It fits: {need} of {room}, with {count} changed settings and the same {rows} rows a step.")
    return sentence.format(count=len(answer), rows=rows, **sizes)


def copies(run: RunDir, answer, *, train: list[dict], held_out: list[dict], copied: int) -> str:
    """lab3. `answer`: the rows of `held_out` that may stay; `copied` of them are light copies of training rows."""
    from helpers.data.copies import overlap

    own = isinstance(answer, list) and all(answer.count(row) <= held_out.count(row) for row in answer)
    require(own, _("clean must be a list of rows out of mixed, each at most as often as there, and no others."))
    near, _same = overlap([row["messages"] for row in train], [row["messages"] for row in answer]) if answer else (0, 0)
    rows, honest = len(answer), len(held_out) - copied
    kept = _("{near} of the {rows} rows that you keep are nearly the same as a training row.")
    require(not near, kept, near=near, rows=rows)
    thrown = _("You keep {rows} rows, {honest} were honest: rows were thrown away that nobody has copied.")
    require(rows >= honest, thrown, rows=rows, honest=honest)
    sentence = _("{all} rows = {kept} that stay + {gone} copies: the held-out part measures learning again.")
    return sentence.format(all=len(held_out), kept=rows, gone=len(held_out) - rows)


def checkpoint(run: RunDir, answer, *, folder: Path) -> str:
    """lab4. `answer`: the checkpoint of `folder` from which to go on; the newest was cut in half by a kill."""
    from helpers.train.checkpoints import checkpoints, fault, newest_complete, step_of

    found = checkpoints(folder)
    names = ", ".join(path.name for path in found)
    require(answer in found, _("{answer!r} is no checkpoint: choose one of {names}."), answer=answer, names=names)
    reason, newest = fault(answer), newest_complete(folder)
    require(newest and not reason, _("{name} cannot be used: {reason}."), name=answer.name, reason=reason)
    assert newest is not None  # `answer` itself is complete
    late = _("{name} is complete, but {newest} is too: {steps} steps for nothing.")
    steps = step_of(newest) - step_of(answer)
    require(not steps, late, name=answer.name, newest=newest.name, steps=steps)
    sentence = _("{name} is the newest complete checkpoint: the run loses {steps} steps, and nothing else.")
    return sentence.format(name=answer.name, steps=step_of(found[0]) - step_of(answer))


def merge(run: RunDir, answer, *, four, change) -> str:
    """lab5. `answer`: a merged weight; `four`: the weight that was trained on, `change`: what the adapter adds."""
    import torch

    try:
        merged = torch.as_tensor(answer).detach().float()
    except (TypeError, ValueError, RuntimeError):
        raise Missing(_("merged must be a tensor, not {kind}."), kind=type(answer).__name__) from None
    shapes = {"shape": tuple(merged.shape), "right": tuple(four.shape)}
    require(merged.shape == four.shape, _("merged has the shape {shape}; the weight has {right}."), **shapes)
    require(merged.isfinite().all(), _("merged holds numbers that are not finite."))
    size, name = float(change.float().norm()), run.path.name
    require(size, _("The adapter of {run} changes nothing here, so nothing can be lost: train it first."), run=name)
    lost = float((merged - four.float() - change.float()).norm()) / size
    require(lost <= 0.01, _("merged differs from the trained weight by {lost:.0%} of the adapter's change."), lost=lost)
    sentence = _("The merged weight is the trained one: {lost:.2%} of the adapter's change is lost, which is rounding.")
    return sentence.format(lost=lost)


def whose(run: RunDir, answer, *, model, rows, adapter) -> str:
    """lab6. `answer`, `adapter`: `Scores` on `rows`: the participant's base, and `model` with its adapter."""
    from helpers.evaluate.held_out import held_out_nll

    try:
        with model.disable_adapter():
            base = held_out_nll(model, rows)
    except (AttributeError, ValueError):
        raise Missing(_("model has lost its adapter: run this page from the top, and leave it there.")) from None
    nll = getattr(answer, "nll", [])
    require(len(nll) == len(base.nll), _("base must be the Scores that held_out_nll gives for the same rows."))
    off = _furthest(nll, base.nll)
    if off <= 1e-3:
        sentence = _("The base is the base: the adapter is better by {better:.4f} nats per token, not by 0.")
        return sentence.format(better=base.nll_per_token - adapter.nll_per_token)
    require(_furthest(nll, adapter.nll) > 1e-3, _("Your base is the adapter itself, on every row to the last digit."))
    raise Missing(_("On one row your base is {off:.1%} away from the model without its adapter."), off=off)


def _furthest(mine: list[float], other: list[float]) -> float:
    """The largest difference on one row, as a share of `other`."""
    return max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(mine, other, strict=True))


def prompt(run: RunDir, answer, *, tokenizer, messages: list[dict], trained: list[int]) -> str:
    """lab7. `answer`: the token ids that ask for a reply to `messages`; `trained`: the row as it was learned."""
    from helpers.template.chat import prompt_ids

    numbers = isinstance(answer, (list, tuple)) and all(type(token) is int and token >= 0 for token in answer)
    require(numbers, _("ids must be a list of token ids, as tokenizer(...).input_ids or prompt_ids(...) gives it."))
    ids, right = list(answer), prompt_ids(tokenizer, messages)
    same = same_start(ids, right)
    there, wanted = (tokenizer.decode(row[same : same + 3]) for row in (ids, right))
    other = _(
        "The first {same} tokens are as in training; then comes {there!r}, where the model has learned {wanted!r}."
    )
    require(ids == right, other, same=same, there=there, wanted=wanted)
    known = trained[: len(ids)] == ids
    require(known, _("The template asks otherwise than this row was trained: see the verdict of 03."))
    sentence = _("All {count} tokens are those before the answer in training: the model is asked as it has learned.")
    return sentence.format(count=len(ids))
