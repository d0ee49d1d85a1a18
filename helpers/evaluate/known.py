"""Forty questions with one known answer each, Korean and English, asked before and after: so a loss can be counted.

NLL on general text cannot see that "seven times eight" became wrong. The questions lie in
notebooks/data/known_answers.jsonl: facts, arithmetic, form of an answer, and nonsense that is to be turned down;
`accept` is a regular expression.
"""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from pathlib import Path

from helpers.evaluate.counts import change_of, changes, rows_of
from helpers.evaluate.generation import Reply
from helpers.evaluate.intervals import told_count
from helpers.fields import BadSetting
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT, local_path
from helpers.show.tables import Table
from helpers.show.words import N_, _

KNOWN = PROJECT_ROOT / "notebooks" / "data" / "known_answers.jsonl"
OWN = "own"  # the kind of a question of your own
KINDS = {"fact": N_("facts"), "arithmetic": N_("arithmetic"), "format": N_("form"), "nonsense": N_("nonsense")}


def known_rows(facts: str = "") -> list[dict]:
    """The questions; behind them those of your own file `facts`, which needs question and answer alone.

    Raises FileNotFoundError, and BadSetting for a file of other characters than UTF-8 and a row that cannot be asked.
    """
    path = local_path(facts) or Path(facts)
    try:
        own = read_jsonl(path) if facts else []
    except UnicodeDecodeError:
        raise BadSetting(_("{file} is no UTF-8: save it so.").format(file=path.name), "facts", facts) from None
    return read_jsonl(KNOWN) + [_own_row(path, number, row) for number, row in enumerate(own, 1)]


def _own_row(path: Path, number: int, row: dict) -> dict:
    """A row of somebody's own file; its answer is no part of a longer number: 5 is not in 1950."""
    texts = [row.get(name) for name in ("question", "answer")] if isinstance(row, dict) else [""]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        sentence = _(
            "{file}, row {number} cannot be asked: {row}. It needs two texts that are not empty, question and answer."
        )
        raise BadSetting(sentence.format(file=path.name, number=number, row=reprlib.repr(row)), "facts", str(path))
    answer = str(texts[1]).strip()
    accept = r"(?<!\d)" * answer[0].isdigit() + re.escape(answer) + r"(?!\d)" * answer[-1].isdigit()
    row = {"accept": accept, **row, "kind": OWN}
    try:
        re.compile(row["accept"])
    except (re.error, TypeError) as error:
        sentence = _("{file}, row {number}: accept={accept!r} is no regular expression ({error}).")
        values = {"file": path.name, "number": number, "accept": row["accept"], "error": error}
        raise BadSetting(sentence.format(**values), "facts", str(path)) from None
    return row


def known_questions(facts: str = "") -> list[list[dict]]:
    """The questions as messages."""
    return [[{"role": "user", "content": row["question"]}] for row in known_rows(facts)]


def is_known(row: dict, reply: str) -> bool:
    """Does the reply hold the answer of `row`? Upper and lower case are alike unless the question is about them."""
    return bool(re.search(row["accept"], reply.strip(), re.IGNORECASE))


def known_answers(replies: dict[str, list[Reply]], facts: str = "") -> dict:
    """Of every model the questions that it answered, by kind, and the `changes`, as evaluation.json holds it.

    What is asked of `facts` is counted apart, as `own`: it is what was to be learned, not what may be forgotten.
    """
    rows, passed, models = known_rows(facts), {}, {}
    of = sum(row["kind"] != OWN for row in rows)
    for name, given in replies.items():
        right = [is_known(row, reply.text) for row, reply in zip(rows, given, strict=True)]
        kinds = Counter(row["kind"] for row, known in zip(rows, right, strict=True) if known)
        passed[name] = right[:of]
        models[name] = {"passed": sum(right[:of]), "kinds": {kind: kinds[kind] for kind in KINDS}, OWN: kinds[OWN]}
    return {"of": of, OWN: len(rows) - of, "models": models, "changes": changes(passed, verdicts=2)}


def known_table(known: dict) -> Table:
    """Right answers of every model, in all and by kind."""
    rows = []
    for name, counted in known["models"].items():
        row = {"model": name, "right": told_count(counted["passed"], known["of"])}
        row |= {KINDS[kind]: count for kind, count in counted["kinds"].items()}
        if known.get(OWN):
            row[N_("your facts")] = told_count(counted[OWN], known[OWN])
        change = change_of(known["changes"], name)
        row |= {what: len(change[what]) if change else None for what in ("won", "lost")}
        rows.append(row | {"verdict": _(change.get("verdict", ""))})
    caption = _("{count} questions with one known answer; won and lost against the model above, with McNemar's test.")
    return Table(rows, caption=caption.format(count=known["of"]))


def changed_answers(known: dict, replies: dict[str, list[Reply]], model: str = "adapter") -> Table:
    """The questions that `model` won or lost, with both replies."""
    questions, rows, change = read_jsonl(KNOWN), [], change_of(known["changes"], model)
    for what, i in rows_of(change):
        row = {"question": questions[i]["question"], "known answer": questions[i]["answer"]}
        rows.append(row | {name: replies[name][i].shown for name in (change["against"], model)} | {"": what})
    return Table(rows, caption=_("Answers that changed"))
