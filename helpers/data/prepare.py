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
from pathlib import Path

from helpers.data.copies import SAMPLE, CopyIndex, conversation_key
from helpers.data.formats import convert, fields_read
from helpers.data.rehearsal import SOURCE, append_rehearsal, rehearsal_config, rehearsal_rows
from helpers.data.sources import Source, data_revision, open_sources
from helpers.data.tally import AGAIN, COPY, LIGHT, Tally, rows_lost, shorter
from helpers.model.source import model_revision
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.template.spans import refusal


def prepare(config: RunConfig, run: RunDir, tokenizer=None) -> dict:
    """Read config.dataset_id, write data/train.jsonl and data/eval.jsonl, return the counts for data_report.json.

    Each line is {"messages": [...], "source": str}, with "tools" where the row has some. The counts add up:
    read + repeated (by a weight above 1) = train + eval + dropped. With config.rehearsal_fraction, `rehearsal` general
    conversations more are in data/train.jsonl; one that the data set holds itself is not.
    With a `tokenizer`, a conversation that its chat template refuses or rewrites is dropped with the template's reason.
    Raises ValueError for an unknown format, or when no conversation is left to train on.
    """
    run.train_jsonl.parent.mkdir(parents=True, exist_ok=True)
    read, kept, drops, repairs = Counter(), Counter(), Tally(), Tally()
    with tempfile.TemporaryDirectory(dir=run.train_jsonl.parent, prefix=".preparing-") as folder:
        everything, train, held_out = (Path(folder) / name for name in ("all", "train", "eval"))
        sources = open_sources(config)
        fields, keys, seen = [], array("Q"), set()
        with everything.open("w", encoding="utf-8") as file:
            for source in sources:
                name = source.name if len(sources) > 1 else ""
                found = _conversations(source, name, config, tokenizer, seen, read, drops, repairs)
                for key, line in found:
                    keys.append(key)
                    file.write(line)
                fields.append(
                    {
                        "data": source.name,
                        "format": source.form.name,
                        "columns": source.form.columns,
                        "notes": source.notes,
                    }
                )
                fields[-1]["fields"] = source.fields
        weights = {source.name: source.weight for source in sources}
        counts = _write_parts(everything, train, held_out, keys, _held_out_limit(keys, config), drops, kept, weights)
        notes = [note for source in sources for note in source.notes]
        if not counts["train"]:
            told = "; ".join([f"{row['reason']}: {row['rows']:,}" for row in drops.rows()] + notes)
            raise ValueError(
                f"dataset_id={config.dataset_id!r} leaves no conversation to train on, of {read.total():,} rows "
                f"read ({told or 'the data set is empty'})."
            )
        if not counts["eval"] and config.eval_fraction > 0:
            raise ValueError(
                f"dataset_id={config.dataset_id!r} leaves nothing to hold out: it has one conversation only, or all are "
                f"nearly the same. Raise eval_fraction={config.eval_fraction:g}, or use more varied data."
            )
        if config.rehearsal_fraction:
            counts[SOURCE] = rehearsal_rows(config, counts["train"])
            general, tallies = rehearsal_config(config, counts[SOURCE]), (Counter(), Tally(), Tally())
            found = (_conversations(s, SOURCE, general, tokenizer, seen, *tallies) for s in open_sources(general))
            lines = [line for conversations in found for _, line in conversations]
            append_rehearsal(train, lines, config, counts[SOURCE])
        os.replace(train, run.train_jsonl)
        os.replace(held_out, run.eval_jsonl)
    dropped = {name: sum(drops.counts[why].get(name, 0) for why in drops.counts) for name in read}
    rows = [{"source": s, "read": n, "dropped": dropped[s], "kept": kept[s]} for s, n in read.most_common()]
    return {
        "dataset": {"id": config.dataset_id, "revision": config.dataset_revision, **sources[0].form._asdict()},
        "rows": {"read": read.total(), **counts, "dropped": drops.total()},
        "sources": sorted(shorter(rows), key=lambda row: row["source"]),
        "data": fields,
        "drops": drops.rows(),
        "repairs": repairs.rows(),
        "lost": rows_lost(read.total(), drops),
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


def _conversations(
    source: Source, name: str, config: RunConfig, tokenizer, seen: set, read, drops, repairs
) -> Iterator:
    """(key, line of JSON) of every usable conversation of one data set, each once; counts as it goes."""
    from helpers.show.progress import Progress

    columns, of_turns, listed = Counter(), Counter(), source.form.columns[0]
    for row in Progress(source.rows, desc="reading", unit=" rows"):
        told = name or _source(row, source.name)
        read[told] += 1
        if isinstance(row, dict):
            columns.update(row.keys())
            if isinstance(row.get(listed), list):
                for turn in row[listed]:
                    of_turns.update(turn.keys() if isinstance(turn, dict) else ())
        done = convert(row, source.form)
        why = done.dropped
        if not why and tokenizer is not None:
            why = refusal(tokenizer, done.messages, done.tools, config.learn_thinking)
        key = 0 if why else conversation_key(done.messages, config.seed)
        if why or key in seen:
            drops.add(why or AGAIN, told, row)
            continue
        seen.add(key)
        for repair in done.repairs:
            repairs.add(repair, told, row)
        written = {"messages": done.messages, **({"tools": done.tools} if done.tools else {}), "source": told}
        yield key, json.dumps(written, ensure_ascii=False) + "\n"
    source.fields = fields_read(source.form, columns, of_turns)


def _held_out_limit(keys: array, config: RunConfig) -> int:
    """Conversations whose key is at most this are held out: a seeded draw that does not depend on the rows' order."""
    wanted = min(round(len(keys) * config.eval_fraction), config.max_eval_rows)
    if config.eval_fraction > 0 and len(keys) > 1:
        wanted = max(wanted, 1)
    return heapq.nsmallest(wanted, keys)[-1] if wanted else -1


def _write_parts(
    everything: Path, train: Path, held_out: Path, keys: array, limit: int, drops, kept, weights
) -> dict[str, int]:
    """Split the lines of `everything` by their keys; a held-out one that is nearly a training one is dropped."""
    from helpers.show.progress import Progress

    with everything.open(encoding="utf-8") as lines:
        drawn, step, sample = [], max(1, len(keys) // SAMPLE), []
        for number, (key, line) in enumerate(zip(keys, lines, strict=True)):
            if key <= limit:
                drawn.append((key, line))
            elif number % step == 0 and len(sample) < SAMPLE:
                sample.append(json.loads(line)["messages"])
    held = [
        json.loads(line) for _, line in sorted(drawn)
    ]  # in the order of the draw: the first rows are a sample of all
    index, copied, counts = CopyIndex([row["messages"] for row in held], sample), set(), {"train": 0, "eval": 0}
    weighted, repeated = any(weight != 1 for weight in weights.values()), 0
    with everything.open(encoding="utf-8") as lines, train.open("w", encoding="utf-8") as file:
        for key, line in Progress(zip(keys, lines, strict=True), desc="splitting", unit=" rows", total=len(keys)):
            if key <= limit:
                continue
            row = json.loads(line)
            times = _times(weights.get(row["source"], 1.0), key) if weighted else 1
            if not times:
                drops.add(LIGHT, row["source"], row)
                continue
            file.write(line * times)
            counts["train"] += times
            kept[row["source"]] += 1
            repeated += times - 1
            copied.update(index.copies_of(row["messages"]) if held else ())
    with held_out.open("w", encoding="utf-8") as file:
        for number, row in enumerate(held):
            if number in copied:
                drops.add(COPY, row["source"], row)
            else:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                counts["eval"] += 1
                kept[row["source"]] += 1
    return {**counts, "repeated": repeated} if weighted else counts


def _times(weight: float, key: int) -> int:
    """How often a conversation is trained on: a weight of 2.5 is 2 or 3, drawn by its key."""
    whole = int(weight)
    return whole + ((key * 0x9E3779B97F4A7C15 & 0xFFFFFFFF) < (weight - whole) * 2**32)


def _source(row, data: str) -> str:
    """The row's own `source`, else the data set's name."""
    named = row.get("source") if isinstance(row, dict) else None
    name = named if isinstance(named, str) and named.strip() else Path(data).stem
    return name.encode("utf-8", "replace").decode()
