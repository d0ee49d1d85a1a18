"""The labs: something is broken in a few lines, `check` says what is still wrong, built on what the notebooks themselves use.

A check is a function of a run and what the participant has repaired. It returns the sentence of a solved lab, or raises
`Missing` with what is still wrong. A solved lab is written to labs/ in the run directory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from helpers.files import write_json
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.series import chosen, run_notebooks
from helpers.settings import RunConfig
from helpers.show.tables import Answer
from helpers.workshop.exercises import Missing, answered
from helpers.workshop.progress import LAB_RUN


def lab_run() -> RunDir:
    """The run that the labs work on: the chosen one where 04 has finished, else a small one that is made here.

    The small one is 03 and 04 of preset tiny with 8 steps: under a minute, on the first lab alone.
    """
    run = RunDir(runs_root() / RunConfig.load().run_name)
    if run.trained.exists():
        return run
    run = RunDir(runs_root() / LAB_RUN)
    if not run.trained.exists():
        print(f"No finished training in {runs_root()}: a small one is made for the labs (under a minute).")
        settings = {"QLORA_RUN_NAME": LAB_RUN, "QLORA_MAX_STEPS": "8", "QLORA_SAVE_STEPS": "4"}
        before = {name: os.environ.get(name) for name in ("QLORA_PRESET", *settings)}
        os.environ.update(settings)
        try:
            run_notebooks(chosen(["03", "04"]), "tiny")
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    return run


def check(lab: str, run: RunDir, answer=..., **seen) -> Answer:
    """Is the lab solved? `answer` is what the participant wrote, `seen` what the page has besides.

    Raises ValueError only for a lab that does not exist; an unsolved one is an `Answer` that says what is still wrong.
    """
    if answer is ... and lab in LABS:
        return Answer(False, "The repair is still to be written: put it in the place of the three dots (...).")
    found = answered(LABS, "lab", lab, run, answer, **seen)
    if found.solved:
        run.labs.mkdir(exist_ok=True)
        write_json(run.labs / f"{lab}.json", {"solved": True, "sentence": found.sentence, "at": time.time()})
    return found


def labels(run: RunDir, answer, *, rows: list[dict], padded: list[dict], tokenizer, config) -> str:
    """lab1. `answer`: a function from a padded row {"input_ids", "attention_mask", "labels"} to its labels."""
    from helpers.data.verdicts import judge

    repaired = []
    for row in padded:
        found = _called(answer, row)
        if not isinstance(found, list) or len(found) != len(row["input_ids"]):
            raise Missing(
                f"The function gives {type(found).__name__}; it must give a list with one label for each token."
            )
        length = sum(row["attention_mask"])
        if any(label != -100 for label in found[length:]):
            raise Missing("Padding is learned: behind the end of a row every label must be -100.")
        repaired.append({"input_ids": row["input_ids"][:length], "labels": found[:length]})
    red = [verdict for verdict in judge(rows, repaired, tokenizer, config)["verdicts"] if not verdict["ok"]]
    if red:
        raise Missing("Still red: " + "; ".join(f"{v['check']} ({v['measured']})" for v in red) + ".")
    return f"Every verdict on {len(rows)} rows is green: the token that ends an answer is learned, the padding is not."


def fits(run: RunDir, answer, *, config, shape, room: float) -> str:
    """lab2. `answer`: settings for the broken `config`, so that its training fits `room` bytes and stays the same training."""
    from helpers.plan.need import needed
    from helpers.show.units import human_bytes

    if not isinstance(answer, dict):
        raise Missing(f"mine is {type(answer).__name__}; write a dict of settings, such as {{'load_in_4bit': True}}.")
    try:
        mine = config.with_overrides(**answer)
    except ValueError as error:
        raise Missing(str(error)) from None
    if mine.max_length < 2048:
        raise Missing(f"max_length={mine.max_length} cuts the rows of this data; it must stay at 2048 or more.")
    rows, before = _rows_a_step(mine), _rows_a_step(config)
    if rows != before:
        raise Missing(
            f"One step learns from {rows} rows now, before from {before}: another training. Let it stay {before}."
        )
    need = needed(mine, shape)
    if need > room:
        raise Missing(f"It needs {human_bytes(need)}, the card has {human_bytes(room)}: one more change.")
    return f"It fits: {human_bytes(need)} of {human_bytes(room)}, with {len(answer)} changed settings and the same {rows} rows a step."


def copies(run: RunDir, answer, *, train: list[dict], held_out: list[dict], copied: int) -> str:
    """lab3. `answer`: the rows of `held_out` that may stay; `copied` of them are light copies of training rows."""
    from helpers.data.copies import overlap

    if not isinstance(answer, list) or any(row not in held_out for row in answer):
        raise Missing("clean must be a list of rows out of held_out, and no others.")
    near, _ = overlap([row["messages"] for row in train], [row["messages"] for row in answer]) if answer else (0, 0)
    if near:
        raise Missing(f"{near} of the {len(answer)} rows that you keep are still nearly the same as a training row.")
    honest = len(held_out) - copied
    if len(answer) < honest:
        raise Missing(
            f"You keep {len(answer)} rows, {honest} were honest: rows were thrown away that nobody has copied."
        )
    return f"{len(held_out)} = {len(answer)} honest + {copied} copied: the held-out part measures learning again."


def checkpoint(run: RunDir, answer, *, folder: Path) -> str:
    """lab4. `answer`: the checkpoint of `folder` from which to go on; the newest was cut in half by a kill."""
    from helpers.train.checkpoints import checkpoints, fault, step_of

    found = checkpoints(folder)
    if answer not in found:
        raise Missing(
            f"{answer!r} is no checkpoint of {folder.name}: choose one of {', '.join(c.name for c in found)}."
        )
    if reason := fault(answer):
        raise Missing(f"{answer.name} cannot be used: {reason}.")
    newest = next(c for c in found if fault(c) is None)
    if answer != newest:
        raise Missing(
            f"{answer.name} is complete, but {newest.name} is too: {step_of(newest) - step_of(answer)} steps for nothing."
        )
    return f"{answer.name} is the newest complete checkpoint: the run loses {step_of(found[0]) - step_of(answer)} steps, and nothing else."


def merge(run: RunDir, answer, *, four, change) -> str:
    """lab5. `answer`: one merged weight; `four`: the weight that was trained on, `change`: what the adapter adds to it."""
    shape = tuple(getattr(answer, "shape", ()))
    if shape != tuple(four.shape):
        raise Missing(f"merged has the shape {shape}; the weight has {tuple(four.shape)}.")
    answer, four, change = answer.float(), four.float(), change.float()
    if not answer.isfinite().all():
        raise Missing("merged holds numbers that are not finite.")
    lost = float((answer - four - change).norm() / change.norm())
    if lost > 0.01:
        raise Missing(
            f"merged differs from the weight with its adapter by {lost:.0%} of what the adapter had changed: that much "
            "of the training is lost, or something else came in."
        )
    return f"The merged weight is the trained one: {lost:.2%} of the adapter's change is lost, which is rounding."


def whose(run: RunDir, answer, *, base, adapter) -> str:
    """lab6. `answer`, `base`, `adapter`: `Scores` on the same rows: the participant's base, the real one, the adapter."""
    from helpers.evaluate.intervals import paired_difference

    nll = getattr(answer, "nll", None)
    if nll is None or len(nll) != len(base.nll):
        raise Missing("base must be the Scores that held_out_nll gives for the same rows.")
    gap = paired_difference(adapter.nll, nll, adapter.tokens)
    if gap["low"] is not None and gap["low"] <= 0 <= gap["high"]:
        raise Missing(
            f"Your base and the adapter differ by {gap['difference']:+.4f} nats per token: it is still the adapter that answers."
        )
    worst = max(abs(mine - real) for mine, real in zip(nll, base.nll, strict=True))
    if worst > 0.05 * max(base.nll):
        raise Missing(
            f"On one row your base is {worst:.2f} nats away from the model without its adapter: another model answers."
        )
    return f"The base is the base: the adapter is better by {gap['difference']:.2f} nats per token, not by 0."


def asked(run: RunDir, answer, *, tokenizer, messages: list[dict], trained: list[int]) -> str:
    """lab7. `answer`: the token ids that ask for a reply to `messages`; `trained`: the row as it was learned."""
    from helpers.template.chat import prompt_ids

    ids = list(answer) if isinstance(answer, (list, tuple)) else None
    if ids is None or not all(isinstance(token, int) for token in ids):
        raise Missing("ids must be a list of token ids, as tokenizer(...).input_ids or prompt_ids(...) gives it.")
    right = prompt_ids(tokenizer, messages)
    same = next((i for i, (a, b) in enumerate(zip(ids, right, strict=False)) if a != b), min(len(ids), len(right)))
    if ids != right:
        there = repr(tokenizer.decode(ids[same : same + 3])) if same < len(ids) else "nothing more"
        wanted = repr(tokenizer.decode(right[same : same + 3])) if same < len(right) else "nothing more"
        raise Missing(
            f"The first {same} tokens are as in training; then comes {there}, where the model has learned {wanted}."
        )
    if trained[: len(ids)] != ids:
        raise Missing("The template asks otherwise than this row was trained: see the verdict of 03.")
    return f"All {len(ids)} tokens are those before the answer in training: the model is asked as it has learned."


def real_base(model, rows):
    """The `Scores` of a `PeftModel` with its adapter switched off, on encoded `rows`."""
    from helpers.evaluate.held_out import held_out_nll

    with model.disable_adapter():
        return held_out_nll(model, rows)


def _rows_a_step(config) -> int:
    return config.per_device_train_batch_size * config.gradient_accumulation_steps


def _called(function, row: dict):
    """What the participant's function gives for a copy of `row`; an error in it is a sentence."""
    if not callable(function):
        raise Missing(f"repaired is {type(function).__name__}; it must be a function of a row.")
    try:
        return function({name: list(value) for name, value in row.items()})
    except Exception as error:  # whatever the participant's own code raises
        raise Missing(f"Your function raises {type(error).__name__}: {error}.") from None


LABS = {
    "lab1": labels,
    "lab2": fits,
    "lab3": copies,
    "lab4": checkpoint,
    "lab5": merge,
    "lab6": whose,
    "lab7": asked,
}
