"""Forty questions with one known answer each, Korean and English, asked before and after: what was forgotten can be
counted.

NLL on general text cannot see that "seven times eight" became wrong. The questions lie in
notebooks/data/known_answers.jsonl: facts, arithmetic, form of an answer, and nonsense that is to be turned down;
`accept` is a regular expression.
"""

from __future__ import annotations

import re
from collections import Counter

from helpers.evaluate.counts import changes, told_count
from helpers.evaluate.generation import Reply
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.show.tables import Table
from helpers.show.words import N_, _

KNOWN = PROJECT_ROOT / "notebooks" / "data" / "known_answers.jsonl"
KINDS = {"fact": N_("facts"), "arithmetic": N_("arithmetic"), "format": N_("form"), "nonsense": N_("nonsense")}


def known_questions() -> list[list[dict]]:
    """The questions as messages."""
    return [[{"role": "user", "content": row["question"]}] for row in read_jsonl(KNOWN)]


def is_known(row: dict, reply: str) -> bool:
    """Does the reply hold the answer of `row`? Upper and lower case are alike unless the question is about them."""
    return bool(re.search(row["accept"], reply.strip(), re.IGNORECASE))


def known_answers(replies: dict[str, list[Reply]]) -> dict:
    """Of every model the questions that it answered, by kind, and the `changes`, as evaluation.json holds it."""
    rows = read_jsonl(KNOWN)
    passed = {
        name: [is_known(row, reply.text) for row, reply in zip(rows, given, strict=True)]
        for name, given in replies.items()
    }
    models = {}
    for name, right in passed.items():
        kinds = Counter(row["kind"] for row, good in zip(rows, right, strict=True) if good)
        models[name] = {"passed": sum(right), "kinds": {kind: kinds[kind] for kind in KINDS}}
    made = changes(passed, verdicts=2)
    return {"of": len(rows), "models": models, "changes": [change.to_json() for change in made]}


def known_table(known: dict) -> Table:
    """Right answers of every model, in all and by kind."""
    rows = []
    for name, found in known["models"].items():
        change = next((change for change in known["changes"] if change["model"] == name), None)
        won, lost = (len(change["won"]), len(change["lost"])) if change else (None, None)
        kinds = {KINDS[kind]: count for kind, count in found["kinds"].items()}
        verdict = _(change["verdict"]) if change else ""
        right = told_count(found["passed"], known["of"])
        rows.append({"model": name, "right": right, **kinds, "won": won, "lost": lost, "verdict": verdict})
    caption = _("{count} questions with one known answer; won and lost against the model above, with McNemar's test.")
    return Table(rows, caption=caption.format(count=known["of"]))


def changed_answers(known: dict, replies: dict[str, list[Reply]], model: str = "adapter") -> Table:
    """The questions that `model` won or lost, with both replies."""
    rows, shown = read_jsonl(KNOWN), []
    for change in (change for change in known["changes"] if change["model"] == model):
        for i in [*change["lost"], *change["won"]]:
            before, after = replies[change["against"]][i], replies[model][i]
            row = {"question": rows[i]["question"], "known answer": rows[i]["answer"]}
            kept = _("lost") if i in change["lost"] else _("won")
            shown.append({**row, change["against"]: before.shown, model: after.shown, "": kept})
    return Table(shown, caption=_("Answers that changed"))
