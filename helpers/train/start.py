"""A training that begins from an adapter: put into the fresh model, and measured row by row before the first step."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.data.labels import encode_rows
from helpers.data.rehearsal import MARK
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.evaluate.intervals import NLL, judged_difference, told_gap
from helpers.files import read_json, read_jsonl, sha256, write_json
from helpers.model.device import sharded
from helpers.model.elsewhere import start_folder
from helpers.model.lora import FILE
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import N_, _

if TYPE_CHECKING:
    from helpers.train.trainer import LeanTrainer

NEW, OLD = N_("start, new rows"), N_("start, rows of before")


def begin_from(trainer: LeanTrainer, run: RunDir, config: RunConfig) -> None:
    """Put the adapter that config.start_from names into the fresh one of `trainer`; "" leaves it as it is.

    Its score on every held-out row is kept, so that it can be said what was won on the new and lost on the old ones.
    Raises what `start_folder` raises.
    """
    from helpers.model.requantised import requantise  # with bitsandbytes: 08 only reads what was measured

    folder = start_folder(run, config)
    if folder is None:
        return
    if sharded():
        sentence = _("start_from={name!r} cannot be read in parts: train without sharded=True.")
        raise ValueError(sentence.format(name=config.start_from))
    trainer.load_trained(folder)
    print(_("The training begins from the adapter in {folder}.").format(folder=folder))
    rows = [row_key(row) for row in trainer.eval_dataset or ()]
    of = {"adapter": sha256(folder / FILE), "rows": rows, "merge_aware": config.merge_aware}
    known = read_json(run.start_scores) if run.start_scores.exists() else {}
    if not rows or of.items() <= known.items():
        return
    old = [row for row in read_jsonl(run.eval_jsonl) if row.get(MARK)]
    keys = set(map(row_key, encode_rows(old, trainer.processing_class, config)))
    if config.merge_aware:  # measured as the merge in 4 bits, which it is to become again
        requantise(trainer.model)
    found = score(trainer, folder)
    if config.merge_aware:
        requantise(trainer.model, on=False)
    scores = {"nll": found.nll, "tokens": found.tokens, MARK: [key in keys for key in rows]}
    if trainer.is_world_process_zero():
        run.start.mkdir(exist_ok=True)
        write_json(run.start_scores, {"schema": 1, **of, **scores})


def since_start(run: RunDir) -> list[dict]:
    """Adapter against the one that it began from, on the new rows and on the old run's: `judged_difference` of each."""
    if not (run.start_scores.exists() and run.held_out.exists()):
        return []
    before, after = read_json(run.start_scores), read_json(run.held_out)
    now, found = dict(zip(after["rows"], after["nll"], strict=True)), []
    for against, old in ((NEW, False), (OLD, True)):
        pairs = zip(*(before[name] for name in ("rows", "nll", "tokens", MARK)), strict=True)
        rows = [(nll, now[key], tokens) for key, nll, tokens, earlier in pairs if earlier is old and key in now]
        if rows:
            gap = judged_difference(*zip(*rows, strict=True), verdicts=1 + any(before[MARK]))
            found.append({"number": NLL, "model": "adapter", "against": against, **gap})
    return found


def told_since_start(run: RunDir) -> str:
    """The same in a sentence; "" where the training began from a new adapter."""
    part, told = _("{against}: {gap} ({interval}, {rows} rows): {verdict}"), []
    for gap in since_start(run):
        words = {name: _(gap[name]) for name in ("against", "verdict")} | {"interval": told_gap(gap, form="+.2f")}
        told.append(part.format(**gap | words, gap=f"{gap['difference']:+.2f}"))
    return _("NLL against the {parts}.").format(parts="; ".join(told)) if told else ""


def row_key(row: dict) -> str:
    """What an encoded row is: a hash of its tokens and labels."""
    return hashlib.sha256(json.dumps([row["input_ids"], row["labels"]]).encode()).hexdigest()[:16]


def score(trainer: LeanTrainer, folder: Path) -> Scores:
    """The adapter in `folder`, which may be a checkpoint, on the held-out rows; it stays in the model of `trainer`."""
    trainer.load_trained(folder)
    # without the autocast of the training: as a fresh start, 05 and 06 measure it
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    rows, size = trainer.eval_dataset, trainer.args.per_device_eval_batch_size
    return held_out_nll(model, rows, size, progress=folder.name)
