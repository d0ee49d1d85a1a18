"""A2 and A5: preference pairs for TRL's DPOTrainer, the run that either training writes, and what may judge it.

pairs = ready(preference_pairs(run) or read_pairs(OWN, config), tokenizer, config)      # votes of 06, or a data set
made = preference_run(run, config, "demo-dpo", settings, rows, pairs)                   # nothing of `run` is changed
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from helpers.data.formats import convert
from helpers.data.labels import encode
from helpers.data.reasons import Unusable
from helpers.data.sources import open_sources
from helpers.data.split import same_text
from helpers.files import read_json, write_atomic, write_json, write_jsonl
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.runs.forks import share
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.chat import fold_system

OWN = "notebooks/data/preferences_calendar.jsonl"  # written for this project
FEWEST = 8  # pairs: a quarter is held out


class NoPair(ValueError):
    """Two conversations that are no preference pair."""


def read_pairs(dataset_id: str, config: RunConfig) -> list[dict]:
    """The pairs of a data set with the columns chosen and rejected: `prompt`, `chosen`, `rejected` (lists of messages).

    What is left out is printed with its reason. Raises ValueError when there are no such columns.
    """
    plain = {"dataset_config": "", "dataset_split": "train", "dataset_revision": "", "dataset_format": "preference"}
    pairs, lost = [], Counter()
    for source in open_sources(replace(config, dataset_id=dataset_id, run_name=config.run_name, **plain)):
        *before, chosen, rejected = source.form.columns
        swapped = source.form._replace(columns=(*before, rejected, chosen))
        for row in source.rows:
            try:
                pairs.append(_pair(convert(row, source.form), convert(row, swapped)))
            except (Unusable, NoPair) as error:
                lost[str(error)] += 1
    _print_lost(lost)
    return pairs


def ready(pairs: list[dict], tokenizer, config: RunConfig):
    """The pairs that a training can use, as a `datasets.Dataset`; what is left out is printed with its reason.

    Raises ValueError when fewer than `FEWEST` are left.
    """
    from datasets import Dataset

    kept, lost = [], Counter()
    for pair in pairs:
        pair = {**pair, "prompt": fold_system(tokenizer, pair["prompt"])}
        try:
            _refuse_tools(pair.pop("tools", None))
            texts = [token_ids(pair, name, tokenizer, config) for name in ("chosen", "rejected")]
        except ValueError as error:  # the chat template refuses it, or it has tools
            lost[str(error)] += 1
            continue
        if max(map(len, texts)) > config.max_length:  # cut, it would teach not to stop
            lost[_("longer than max_length={length} tokens").format(length=config.max_length)] += 1
        else:
            kept.append(pair)
    _print_lost(lost)
    if len(kept) < FEWEST:
        why = "".join(_(" ({reason}: {count} left out)").format(reason=r, count=n) for r, n in lost.most_common(1))
        sentence = _(
            "{count} usable preference pairs{why} are too few to learn from and to hold some out: use at least "
            "{fewest}, by more votes in 06, another data set, or PAIRS = {own!r}."
        )
        raise ValueError(sentence.format(count=len(kept), why=why, fewest=FEWEST, own=OWN))
    return Dataset.from_list(kept)


def unvoted(rows: list[dict], pairs) -> list[dict]:
    """The held-out `rows` that no pair is about: a prompt that was trained on cannot judge.

    A pair is about a row when one of the two conversations begins as the other, system turns left out.
    """
    prompts = [_turns(prompt) for prompt in pairs["prompt"]]
    left = []
    for row in rows:
        turns = _turns(row["messages"])
        if not any(turns[: len(prompt)] == prompt[: len(turns)] for prompt in prompts):
            left.append(row)
    return left


def preference_run(run: RunDir, config: RunConfig, name: str, settings: dict, rows: list[dict], pairs: int) -> RunDir:
    """The run `name` for a training of `run`'s adapter on so many `pairs` or prompts, judged by `rows`.

    `settings`: data or reward, beta and the like, kept in preference.json, so that model card and notebooks know.
    Raises ValueError when no row is left, or when a run of that name is another one.
    """
    if not rows:
        sentence = _(
            "Every held-out conversation was voted on, so none is left to judge: hold out more (eval_fraction in 03), "
            "or use PAIRS = {own!r}."
        )
        raise ValueError(sentence.format(own=OWN))
    config = replace(config, run_name=name)
    made, kept = RunDir(runs_root() / config.run_name), {"from": run.path.name, **settings, "pairs": pairs}
    if made.path == run.path:
        sentence = _("NAME = {name!r} is the run whose adapter is trained further: take another NAME.")
        raise ValueError(sentence.format(name=name))
    # an older one has no hash
    if made.path.exists() and not (made.preference.exists() and read_json(made.preference).items() <= kept.items()):
        sentence = _("A run {name!r} with other settings is already there: take another NAME, or delete {folder}.")
        raise ValueError(sentence.format(name=name, folder=made.path))
    made.path.mkdir(exist_ok=True)
    write_json(made.preference, kept)
    share(run.train_jsonl, made.train_jsonl)
    write_jsonl(made.eval_jsonl, rows)
    write_json(made.data_report, read_json(run.data_report) | {"hashes": made.row_hashes()})
    write_atomic(made.config_json, config.to_json())
    return made


def fingerprint(pairs: Iterable[dict]) -> str:
    """SHA-256 over the texts of `pairs`, for `settings`: other pairs are another run."""
    return hashlib.sha256(json.dumps(list(pairs), sort_keys=True).encode()).hexdigest()


def token_ids(pair: dict, name: str, tokenizer, config: RunConfig) -> list[int]:
    """Token ids of the conversation with the answer `name`, in full length."""
    return encode(tokenizer, [*pair["prompt"], *pair[name]], 10**9, learn_thinking=config.learn_thinking)["input_ids"]


def _pair(better, worse) -> dict:
    """Two conversations as a pair. Raises NoPair, with the reason, when they are none."""
    (*prompt, chosen), (*same, rejected) = better.messages, worse.messages
    _refuse_tools(better.tools)
    if prompt != same or not prompt:
        raise NoPair(_("the two answers are not to the same conversation"))
    if chosen == rejected:
        raise NoPair(_("both answers are the same"))
    return {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}


def _refuse_tools(tools: list | tuple | None) -> None:
    if tools:
        raise NoPair(_("with tools, which this page does not train"))


def _turns(messages: list[dict]) -> list[tuple[str, str]]:
    """Roles and texts without system turns, as `same_text` reads them."""
    turns = [(turn["role"], turn.get("content")) for turn in messages if turn["role"] != "system"]
    return [(role, same_text(str(text or ""))) for role, text in turns]


def _print_lost(lost: Counter) -> None:
    for reason, count in lost.items():
        sentence = _("Left out: {count} pairs, {reason}.") if count > 1 else _("Left out: {count} pair, {reason}.")
        print(sentence.format(count=count, reason=reason))
