"""From any data set to data/train.jsonl and data/eval.jsonl: convert, count every drop, hold out, leave no copy.

Rows pass through one at a time, so a data set larger than memory works: what stays is a few hashes per conversation.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.data.copies import SAMPLE, CopyIndex, answer_keys
from helpers.data.labels import ONE_ROW
from helpers.data.reading import Reading
from helpers.data.reasons import Reason
from helpers.data.rehearsal import MARK, SOURCE, Earlier, append_rehearsal, rehearsal_config, rehearsal_rows
from helpers.data.report import DataReport
from helpers.data.sources import Source, open_sources
from helpers.data.split import beginning_key, held_out_units, joined_units, left_out, row_hash, units
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.spans import is_document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prepare(config: RunConfig, run: RunDir, tokenizer: PreTrainedTokenizerBase | None = None) -> DataReport:
    """Read config.dataset_id, write data/train.jsonl and data/eval.jsonl, return the counts for data_report.json.

    Each line is {"messages": [...], "source": str}, with "tools" where the row has some. The counts add up:
    read + repeated (by a weight above 1) = train + eval + dropped. With config.rehearsal_fraction, `rehearsal` general
    conversations more are in data/train.jsonl; one that the data set holds itself is not. In a run that goes on from
    another one's adapter, its held-out rows are in data/eval.jsonl as well (`earlier` of them), and no training row is
    like one. With a `tokenizer`, a conversation that its chat template refuses or rewrites is dropped with the
    template's reason. Raises ValueError for an unknown format, or when no conversation is left to train on.
    """
    run.train_jsonl.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run.train_jsonl.parent, prefix=".preparing-") as folder:
        reading, sources = Reading(config, tokenizer), open_sources(config)
        made = Preparation(reading, Path(folder), Earlier.of(run, config), left_out(run))
        made.read_all(sources)
        made.write_parts({source.name: source.weight for source in sources})
        made.require_enough(sources)
        if config.rehearsal_fraction:
            made.rehearse()
        os.replace(made.train, run.train_jsonl)
        os.replace(made.held_out, run.eval_jsonl)
    return {**reading.counts.report(config, sources), "hashes": run.row_hashes()}


@dataclass
class Preparation:
    """The way from conversations to the two parts, through files in `folder`."""

    reading: Reading
    folder: Path
    earlier: Earlier = field(default_factory=Earlier)
    left_out: dict[str, str] = field(default_factory=dict)  # see `split.left_out`
    keys: array = field(default_factory=lambda: array("Q"))  # of every conversation in `everything`
    beginnings: array = field(default_factory=lambda: array("Q"))
    answers: array = field(default_factory=lambda: array("q"))  # the key of every answer of every conversation
    answered: array = field(default_factory=lambda: array("L"))  # the number of its conversation

    config = property(lambda self: self.reading.config)
    counts = property(lambda self: self.reading.counts)
    everything = property(lambda self: self.folder / "all")
    train = property(lambda self: self.folder / "train")
    held_out = property(lambda self: self.folder / "eval")

    def read_all(self, sources: list[Source]) -> None:
        """Every usable conversation of `sources` into `everything`, each once."""
        several = len(sources) > 1
        rows = chain.from_iterable(self.reading.conversations(one, one.name if several else "") for one in sources)
        with self.everything.open("w", encoding="utf-8") as file:
            for number, (key, row) in enumerate(rows):
                answers = answer_keys(row["messages"])
                self.keys.append(key)
                self.beginnings.append(beginning_key(row["messages"]))
                self.answers.extend(answers)
                self.answered.extend([number] * len(answers))
                file.write(_line(row))

    def write_parts(self, weights: dict[str, float]) -> None:
        """Split `everything`; a held-out conversation that training has seen is dropped."""
        share = self.config.eval_fraction
        wanted = max(min(round(len(self.keys) * share), self.config.max_eval_rows), int(share > 0))
        unit_of = joined_units(units(self.keys, self.beginnings), self.answers, self.answered)
        chosen = held_out_units(self.keys, unit_of, wanted)
        held, sample = self._drawn(unit_of, chosen)
        index = CopyIndex([row["messages"] for row in [*self.earlier.held_out, *held]], sample)
        copied = self._write_train(unit_of, chosen, weights, index)
        copied.update(*(index.seen_in(row["messages"]) for row in self.earlier.learned()))
        kept, old = [], len(self.earlier.held_out)
        for number, row in enumerate(held, start=old):
            again = old and min(index.seen_in(row["messages"])) < old
            if again or number in copied:
                self.counts.drops.add(Reason.HELD_BEFORE if again else Reason.COPY, row["source"], row)
            else:
                kept.append(self._first_row(row))
        self.counts.kept.update(row["source"] for row in kept)
        self.counts.rows.update({"eval": len(kept), MARK: old})
        self.held_out.write_text("".join(map(_line, self.earlier.among(kept, self.config.seed))), encoding="utf-8")

    def _first_row(self, row: dict) -> dict:
        """A held-out text cut to what fits into one row: each text is one vote, however long it is."""
        if self.reading.tokenizer is None or not is_document(row["messages"]):
            return row
        (text,) = (message["content"] for message in row["messages"])
        places = self.reading.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        room = self.config.max_length - (self.reading.tokenizer.bos_token is not None)
        text = text[: places[room - 1][1]] if len(places) > room else text
        return {**row, "messages": [{**row["messages"][0], "content": text}], ONE_ROW: True}

    def _drawn(self, unit_of: array, chosen: set[int]) -> tuple[list[dict], list[list[dict]]]:
        """The rows to hold out in the order of the draw (the first are a sample of all), and some of the others."""
        drawn, sample, step = [], [], max(1, len(self.keys) // SAMPLE)
        with self.everything.open(encoding="utf-8") as lines:
            for number, (key, unit, line) in enumerate(zip(self.keys, unit_of, lines, strict=True)):
                if unit in chosen:
                    drawn.append((key, line))
                elif number % step == 0 and len(sample) < SAMPLE:
                    sample.append(json.loads(line)["messages"])
        return [json.loads(line) for _key, line in sorted(drawn)], sample

    def _write_train(self, unit_of: array, chosen: set[int], weights: dict, index: CopyIndex) -> set[int]:
        """The training part by the weights; gives the numbers of the held-out conversations that it has seen."""
        from helpers.show.progress import Progress

        copied, old = set(), len(self.earlier.held_out)  # the old ones come first in `index`
        with self.everything.open(encoding="utf-8") as lines, self.train.open("w", encoding="utf-8") as file:
            every = zip(self.keys, unit_of, lines, strict=True)
            for key, unit, line in Progress(every, desc=_("splitting"), unit=_(" rows"), total=len(self.keys)):
                if unit in chosen:
                    continue
                row = json.loads(line)
                out = bool(self.left_out) and row_hash(row) in self.left_out
                seen = set() if out else index.seen_in(row["messages"])
                times = _times(weights.get(row["source"], 1.0), key)
                reasons = {
                    Reason.LEFT_OUT: out,
                    Reason.HELD_BEFORE: min(seen, default=old) < old,
                    Reason.LIGHT: not times,
                }
                if why := next((reason for reason, holds in reasons.items() if holds), None):
                    self.counts.drops.add(why, row["source"], row)
                    continue
                file.write(line * times)
                self.counts.rows.update(train=times, repeated=times - 1)
                self.counts.kept[row["source"]] += 1
                copied.update(seen)
        return copied

    def require_enough(self, sources: list[Source]) -> None:
        """Raises ValueError when nothing is left to train on, or to hold out."""
        data, read = self.config.dataset_id, self.counts.read.total()
        if not self.counts.rows["train"]:
            why = [f"{row['reason']}: {row['rows']:,}" for row in self.counts.drops.rows()]
            why += [note for source in sources for note in source.notes]
            why = "; ".join(why) or _("the data set is empty")
            sentence = _("dataset_id={data!r} leaves no conversation to train on, of {read:,} rows read ({why}).")
            raise ValueError(sentence.format(data=data, read=read, why=why))
        if not self.counts.rows["eval"] and self.config.eval_fraction > 0:
            sentence = _(
                "dataset_id={data!r} leaves nothing to hold out: it has one conversation only, or all are nearly the "
                "same. Raise eval_fraction={share:g}, or use more varied data."
            )
            raise ValueError(sentence.format(data=data, share=self.config.eval_fraction))

    def rehearse(self) -> None:
        """General conversations to the end of the training part; they are in no count but `rehearsal`."""
        wanted = rehearsal_rows(self.config, self.counts.rows["train"])
        settings = rehearsal_config(self.config, wanted, self.train, self.earlier.train)
        general, sources = Reading(settings, self.reading.tokenizer, self.reading.seen), open_sources(settings)
        lines = [_line(row) for source in sources for _key, row in general.conversations(source, SOURCE)]
        append_rehearsal(self.train, lines, settings, wanted)
        self.counts.rows[SOURCE] = wanted


def _line(row: dict) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _times(weight: float, key: int) -> int:
    """How often a conversation is trained on: a weight of 2.5 is 2 or 3, drawn by its key."""
    whole = int(weight)
    return whole + ((key * 0x9E3779B97F4A7C15 & 0xFFFFFFFF) < (weight - whole) * 2**32)
