"""From any data set to data/train.jsonl and data/eval.jsonl: convert, count every drop, hold out, leave no copy.

Rows pass through one at a time, so a data set larger than memory works: what stays is a hash per conversation, about 0.1 kB.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from helpers.config import RunConfig
from helpers.data.copies import CopyIndex, conversation_key
from helpers.data.formats import Format, convert, recognise
from helpers.data.sources import data_revision, read_rows
from helpers.model.source import model_revision
from helpers.runs import RunDir

LOOKED_AT = 50  # rows by which the format is recognised
AGAIN = "the same conversation again"
COPY = "held out, but nearly the same as a training conversation"


def prepare(config: RunConfig, run: RunDir) -> dict:
    """Read config.dataset_id, write data/train.jsonl and data/eval.jsonl, return the counts for data_report.json.

    Each line is {"messages": [...], "source": str}. The counts add up: read = train + eval + dropped.
    Raises ValueError for an unknown format, or when no conversation is left to train on.
    """
    run.train_jsonl.parent.mkdir(parents=True, exist_ok=True)
    read, drops, repairs = Counter(), Tally(), Tally()
    with tempfile.TemporaryDirectory(dir=run.train_jsonl.parent, prefix=".preparing-") as folder:
        everything, train, held_out = (Path(folder) / name for name in ("all", "train", "eval"))
        rows, form = open_rows(config)
        keys = _write_conversations(everything, rows, form, config, read, drops, repairs)
        counts = _write_parts(everything, train, held_out, keys, _held_out_limit(keys, config), drops)
        if not counts["train"]:
            told = "; ".join(f"{row['reason']}: {row['rows']:,}" for row in drops.rows())
            raise ValueError(
                f"dataset_id={config.dataset_id!r} leaves no conversation to train on, of {read.total():,} rows "
                f"read ({told or 'the data set is empty'})."
            )
        if not counts["eval"] and config.eval_fraction > 0:
            raise ValueError(
                f"dataset_id={config.dataset_id!r} leaves nothing to hold out: it has one conversation only, or all are "
                f"nearly the same. Raise eval_fraction={config.eval_fraction:g}, or use more varied data."
            )
        os.replace(train, run.train_jsonl)
        os.replace(held_out, run.eval_jsonl)
    return {
        "dataset": {"id": config.dataset_id, "revision": config.dataset_revision, **form._asdict()},
        "rows": {"read": read.total(), **counts, "dropped": drops.total()},
        "sources": [{"source": s, "read": n, "dropped": drops.of_source(s)} for s, n in sorted(read.items())],
        "drops": drops.rows(),
        "repairs": repairs.rows(),
    }


def with_revisions(config: RunConfig, run: RunDir) -> RunConfig:
    """`config` with the model and data revisions that are really there now, for config.json.

    Prints a line for each that is another than when this run was prepared before: the results may differ too.
    """
    found = {
        "model_revision": model_revision(config.model_id, config.model_revision),
        "dataset_revision": data_revision(config),
    }
    if run.config_json.exists():
        before = RunConfig.from_json(run.config_json.read_text(encoding="utf-8"))
        for name, source in (("model_revision", "model_id"), ("dataset_revision", "dataset_id")):
            old = getattr(before, name)
            if getattr(before, source) == getattr(config, source) and old and old != found[name]:
                print(f"{name} is now {found[name]}, and was {old} when this run was prepared before.")
    return replace(config, **found)


def open_rows(config: RunConfig) -> tuple[Iterator, Format]:
    """All rows of the data set, and the format that the first of them show."""
    rows = read_rows(config)
    head = list(islice(rows, LOOKED_AT))
    return chain(head, rows), recognise(head, config.dataset_format)


class Tally:
    """Rows counted by reason and source, with the first example of each reason."""

    def __init__(self):
        self.counts: Counter[tuple[str, str]] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, reason: str, source: str, row) -> None:
        self.counts[reason, source] += 1
        if reason not in self.examples:
            text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=str)
            self.examples[reason] = text[:300].encode("utf-8", "replace").decode()

    def total(self) -> int:
        return self.counts.total()

    def of_source(self, source: str) -> int:
        return sum(count for (_, name), count in self.counts.items() if name == source)

    def rows(self) -> list[dict]:
        """One row per reason, the most frequent first: reason, rows, by_source, example."""
        found = []
        for reason, example in self.examples.items():
            by_source = {source: count for (why, source), count in self.counts.items() if why == reason}
            found.append(
                {"reason": reason, "rows": sum(by_source.values()), "by_source": by_source, "example": example}
            )
        return sorted(found, key=lambda row: -row["rows"])


def _write_conversations(path: Path, rows, form: Format, config: RunConfig, read, drops, repairs) -> array:
    """Write every usable conversation once, one per line, counting as it goes; returns the key of each line."""
    from tqdm import tqdm

    keys, seen = array("Q"), set()
    with path.open("w", encoding="utf-8") as file:
        for row in tqdm(rows, desc="reading", unit=" rows", delay=5):
            source = _source(row, config)
            read[source] += 1
            done = convert(row, form)
            if done.dropped:
                drops.add(done.dropped, source, row)
                continue
            key = conversation_key(done.messages, config.seed)
            if key in seen:
                drops.add(AGAIN, source, row)
                continue
            seen.add(key)
            keys.append(key)
            for repair in done.repairs:
                repairs.add(repair, source, row)
            file.write(json.dumps({"messages": done.messages, "source": source}, ensure_ascii=False) + "\n")
    return keys


def _held_out_limit(keys: array, config: RunConfig) -> int:
    """Conversations whose key is at most this are held out: a seeded draw that does not depend on the rows' order."""
    wanted = min(round(len(keys) * config.eval_fraction), config.max_eval_rows)
    if config.eval_fraction > 0 and len(keys) > 1:
        wanted = max(wanted, 1)
    return heapq.nsmallest(wanted, keys)[-1] if wanted else -1


def _write_parts(everything: Path, train: Path, held_out: Path, keys: array, limit: int, drops) -> dict[str, int]:
    """Split the lines of `everything` by their keys; a held-out one that is nearly a training one is dropped."""
    from tqdm import tqdm

    with everything.open(encoding="utf-8") as lines:
        drawn = sorted((key, line) for key, line in zip(keys, lines, strict=True) if key <= limit)
    held = [json.loads(line) for _, line in drawn]  # in the order of the draw: the first rows are a sample of all
    index, copied, counts = CopyIndex([row["messages"] for row in held]), set(), {"train": 0, "eval": 0}
    with everything.open(encoding="utf-8") as lines, train.open("w", encoding="utf-8") as file:
        for key, line in tqdm(zip(keys, lines, strict=True), desc="splitting", unit=" rows", total=len(keys), delay=5):
            if key > limit:
                file.write(line)
                counts["train"] += 1
                copied.update(index.copies_of(json.loads(line)["messages"]) if held else ())
    with held_out.open("w", encoding="utf-8") as file:
        for number, row in enumerate(held):
            if number in copied:
                drops.add(COPY, row["source"], row)
            else:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                counts["eval"] += 1
    return counts


def _source(row, config: RunConfig) -> str:
    """The row's own `source`, else the data set's name."""
    named = row.get("source") if isinstance(row, dict) else None
    name = named if isinstance(named, str) and named.strip() else Path(config.dataset_id).stem
    return name.encode("utf-8", "replace").decode()
