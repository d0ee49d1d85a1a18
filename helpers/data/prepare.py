"""From any data set to data/train.jsonl and data/eval.jsonl: convert, count every drop, hold out, leave no copy.

Rows pass through one at a time, so a data set larger than memory works: what stays is a few hashes per conversation.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from helpers.data.copies import SAMPLE, AnswerIndex, CopyIndex
from helpers.data.formats import convert
from helpers.data.leftovers import Leftovers, leftovers_verdict
from helpers.data.marks import Marks, marks_verdict
from helpers.data.reasons import Reason, Unusable
from helpers.data.rehearsal import SOURCE, append_rehearsal, rehearsal_config, rehearsal_rows
from helpers.data.sources import Source, open_sources
from helpers.data.split import beginning_key, conversation_key, held_out_units, units
from helpers.data.tally import Tally, rows_lost, shorter
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.spans import require_learnable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class DataReport(TypedDict, total=False):
    """data_report.json. 03 adds the verdicts, the numbers, the lengths and the settings that they were made for."""

    schema: int
    dataset: dict  # id, revision, name and columns of the first one's format
    rows: dict[str, int]  # read (+ repeated) = train + eval + dropped; rehearsal
    sources: list[dict]
    data: list[dict]  # of each data set: format, columns, notes, fields
    drops: list[dict]
    repairs: list[dict]
    leftovers: list[dict]
    lost: dict  # a verdict
    marks: dict  # a verdict
    left: dict  # a verdict
    verdicts: list[dict]
    judged_for: dict
    numbers: dict[str, float]
    lengths: dict[str, int]


def prepare(config: RunConfig, run: RunDir, tokenizer: PreTrainedTokenizerBase | None = None) -> DataReport:
    """Read config.dataset_id, write data/train.jsonl and data/eval.jsonl, return the counts for data_report.json.

    Each line is {"messages": [...], "source": str}, with "tools" where the row has some. The counts add up:
    read + repeated (by a weight above 1) = train + eval + dropped. With config.rehearsal_fraction, `rehearsal` general
    conversations more are in data/train.jsonl; one that the data set holds itself is not.
    With a `tokenizer`, a conversation that its chat template refuses or rewrites is dropped with the template's reason.
    Raises ValueError for an unknown format, or when no conversation is left to train on.
    """
    run.train_jsonl.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run.train_jsonl.parent, prefix=".preparing-") as folder:
        made = Preparation(config, tokenizer, Path(folder))
        sources = open_sources(config)
        made.read_all(sources)
        made.write_parts({source.name: source.weight for source in sources})
        made.require_enough(sources)
        if config.rehearsal_fraction:
            made.rehearse()
        os.replace(made.train, run.train_jsonl)
        os.replace(made.held_out, run.eval_jsonl)
    return {**made.report(sources), "hashes": run.row_hashes()}


@dataclass
class Preparation:
    """What is counted on the way from rows to the two parts, and the files in `folder` that they pass through."""

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase | None
    folder: Path
    read: Counter[str] = field(default_factory=Counter)  # rows of each source
    kept: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)  # train, eval, repeated, rehearsal
    drops: Tally = field(default_factory=Tally)
    repairs: Tally = field(default_factory=Tally)
    leftovers: Leftovers = field(default_factory=Leftovers)
    marks: Marks = field(default_factory=Marks)
    keys: array = field(default_factory=lambda: array("Q"))  # of every conversation in `everything`
    beginnings: array = field(default_factory=lambda: array("Q"))
    seen: set[int] = field(default_factory=set)

    everything = property(lambda self: self.folder / "all")
    train = property(lambda self: self.folder / "train")
    held_out = property(lambda self: self.folder / "eval")

    def read_all(self, sources: list[Source]) -> None:
        """Every usable conversation of `sources` into `everything`, each once."""
        with self.everything.open("w", encoding="utf-8") as file:
            for source in sources:
                name = source.name if len(sources) > 1 else ""
                for key, row in self.conversations(source, name):
                    self.keys.append(key)
                    self.beginnings.append(beginning_key(row["messages"]))
                    file.write(_line(row))

    def conversations(self, source: Source, name: str = "") -> Iterator[tuple[int, dict]]:
        """(key, row to write) of every usable conversation of one data set, each once; counts as it goes."""
        from helpers.show.progress import Progress

        for row in Progress(source.rows, desc=_("reading"), unit=_(" rows")):
            told = name or _source(row, source.name)
            self.read[told] += 1
            source.count(row)
            try:
                done = convert(row, source.form)
                self._require_new(key := conversation_key(done.messages, self.config.seed), done)
            except Unusable as unusable:
                self.drops.add(unusable, told, row)
                self.marks.dropped(unusable, row, source.form)
                continue
            self.seen.add(key)
            self.marks.kept(row, source.form)
            self.leftovers.look(done.messages)
            for repair in done.repairs:
                self.repairs.add(repair, told, row)
            tools = {"tools": done.tools} if done.tools else {}
            yield key, {"messages": done.messages, **tools, "source": told}

    def _require_new(self, key: int, done) -> None:
        """Raises Unusable for what the template refuses, and for a conversation that was there."""
        if self.tokenizer is not None:
            try:
                require_learnable(self.tokenizer, done.messages, done.tools, self.config.learn_thinking)
            except ValueError as error:
                raise Unusable(Reason.TEMPLATE, value=str(error)) from None
        if key in self.seen:
            raise Unusable(Reason.AGAIN)

    def write_parts(self, weights: dict[str, float]) -> None:
        """Split `everything`; a held-out conversation that training has seen is dropped."""
        wanted = min(round(len(self.keys) * self.config.eval_fraction), self.config.max_eval_rows)
        if self.config.eval_fraction > 0:
            wanted = max(wanted, 1)
        unit_of = units(self.keys, self.beginnings)
        chosen = held_out_units(self.keys, unit_of, wanted)
        held, sample = self._drawn(unit_of, chosen)
        conversations = [row["messages"] for row in held]
        indices = (CopyIndex(conversations, sample), AnswerIndex(conversations)) if held else ()
        copied = self._write_train(unit_of, chosen, weights, indices)
        with self.held_out.open("w", encoding="utf-8") as file:
            for number, row in enumerate(held):
                if number in copied:
                    self.drops.add(Reason.COPY, row["source"], row)
                    continue
                file.write(_line(row))
                self.rows["eval"] += 1
                self.kept[row["source"]] += 1

    def _drawn(self, unit_of: array, chosen: set[int]) -> tuple[list[dict], list[list[dict]]]:
        """The rows to hold out, in the order of the draw (the first are a sample of all), and a sample of the
        others."""
        drawn, sample, step = [], [], max(1, len(self.keys) // SAMPLE)
        with self.everything.open(encoding="utf-8") as lines:
            for number, (key, unit, line) in enumerate(zip(self.keys, unit_of, lines, strict=True)):
                if unit in chosen:
                    drawn.append((key, line))
                elif number % step == 0 and len(sample) < SAMPLE:
                    sample.append(json.loads(line)["messages"])
        return [json.loads(line) for _key, line in sorted(drawn)], sample

    def _write_train(self, unit_of: array, chosen: set[int], weights: dict, indices: tuple) -> set[int]:
        """The training part by the weights; gives the numbers of the held-out conversations that it has seen."""
        from helpers.show.progress import Progress

        copied: set[int] = set()
        with self.everything.open(encoding="utf-8") as lines, self.train.open("w", encoding="utf-8") as file:
            every = zip(self.keys, unit_of, lines, strict=True)
            for key, unit, line in Progress(every, desc=_("splitting"), unit=_(" rows"), total=len(self.keys)):
                if unit in chosen:
                    continue
                row = json.loads(line)
                times = _times(weights.get(row["source"], 1.0), key)
                if not times:
                    self.drops.add(Reason.LIGHT, row["source"], row)
                    continue
                file.write(line * times)
                self.rows.update(train=times, repeated=times - 1)
                self.kept[row["source"]] += 1
                if indices:
                    copies, answers = indices
                    copied.update(copies.copies_of(row["messages"]), answers.seen_in(row["messages"]))
        return copied

    def require_enough(self, sources: list[Source]) -> None:
        """Raises ValueError when nothing is left to train on, or to hold out."""
        data, read = self.config.dataset_id, self.read.total()
        if not self.rows["train"]:
            reasons = [f"{row['reason']}: {row['rows']:,}" for row in self.drops.rows()]
            notes = [note for source in sources for note in source.notes]
            told = _("dataset_id={data!r} leaves no conversation to train on, of {read:,} rows read ({why}).")
            why = "; ".join(reasons + notes) or _("the data set is empty")
            raise ValueError(told.format(data=data, read=read, why=why))
        if not self.rows["eval"] and self.config.eval_fraction > 0:
            told = _(
                "dataset_id={data!r} leaves nothing to hold out: it has one conversation only, or all are nearly the "
                "same. "
                "Raise eval_fraction={share:g}, or use more varied data."
            )
            raise ValueError(told.format(data=data, share=self.config.eval_fraction))

    def rehearse(self) -> None:
        """General conversations to the end of the training part; they are in no count but `rehearsal`."""
        wanted = rehearsal_rows(self.config, self.rows["train"])
        general = Preparation(rehearsal_config(self.config, wanted), self.tokenizer, self.folder, seen=self.seen)
        sources = open_sources(general.config)
        lines = [_line(row) for source in sources for _key, row in general.conversations(source, SOURCE)]
        append_rehearsal(self.train, lines, self.config, wanted)
        self.rows[SOURCE] = wanted

    def report(self, sources: list[Source]) -> DataReport:
        read, weighted = self.read.total(), any(source.weight != 1 for source in sources)
        shown = ["train", "eval", *(["repeated"] if weighted else []), *([SOURCE] if self.rows[SOURCE] else [])]
        by_source = [
            {"source": name, "read": rows, "dropped": self.drops.of_source(name), "kept": self.kept[name]}
            for name, rows in self.read.most_common()
        ]
        form, leftovers = sources[0].form, self.leftovers.rows(read)
        return {
            "schema": 1,
            "dataset": {
                "id": self.config.dataset_id,
                "revision": self.config.dataset_revision,
                "name": form.name,
                "columns": form.columns,
            },
            "rows": {"read": read, **{name: self.rows[name] for name in shown}, "dropped": self.drops.total()},
            "sources": sorted(shorter(by_source), key=lambda row: row["source"]),
            "data": [source.summary() for source in sources],
            "drops": self.drops.rows(),
            "repairs": self.repairs.rows(),
            "leftovers": leftovers,
            "lost": rows_lost(read, self.drops),
            "marks": marks_verdict(read, self.marks),
            "left": leftovers_verdict(leftovers, read),
        }


def _line(row: dict) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _times(weight: float, key: int) -> int:
    """How often a conversation is trained on: a weight of 2.5 is 2 or 3, drawn by its key."""
    whole = int(weight)
    return whole + ((key * 0x9E3779B97F4A7C15 & 0xFFFFFFFF) < (weight - whole) * 2**32)


def _source(row: object, data: str) -> str:
    """The row's own `source`, else the data set's name."""
    named = row.get("source") if isinstance(row, dict) else None
    name = named if isinstance(named, str) and named.strip() else Path(data).stem
    return name.encode("utf-8", "replace").decode()
