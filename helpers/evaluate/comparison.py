"""Base, adapter and merged model side by side: the rows of comparisons.jsonl."""

from __future__ import annotations

import json

from helpers.evaluate.generation import Reply, shown
from helpers.evaluate.prompts import FIXED_PROMPTS, fixed_prompts
from helpers.files import read_jsonl, write_jsonl
from helpers.runs import RunDir
from helpers.show.pages import render_page
from helpers.show.tables import Table, as_written
from helpers.show.words import _

MODELS = ("base", "adapter", "merged")


class OtherQuestions(ValueError):
    """Replies of `model` that were given to other prompts than the ones at hand."""

    def __init__(self, model: str):
        self.model = model
        sentence = _("The replies of {model} are to other questions than these: run the cells that ask again.")
        super().__init__(sentence.format(model=model))


def comparison_rows(prompts: list[list[dict]], references: list[str], replies: dict[str, list[Reply]]) -> list[dict]:
    """One row per prompt. The first prompts are the fixed set, the others held-out ones with a reference answer.

    Raises OtherQuestions.
    """
    questions = [messages[-1]["content"] for messages in prompts]
    for name, given in replies.items():
        if len(given) != len(prompts) or any(
            r.question not in ("", asked) for r, asked in zip(given, questions, strict=True)
        ):
            raise OtherQuestions(name)
    # where a reader has put another question in the place of a fixed one, its answer is not known
    fixed = zip(prompts, fixed_prompts(), FIXED_PROMPTS, strict=False)
    answers = [row["known"] if messages == question else "" for messages, question, row in fixed] + references
    rows = []
    for i, messages in enumerate(prompts):
        kind = "fixed" if i < len(FIXED_PROMPTS) else "held-out"
        rows.append({"kind": kind, **_row(messages, answers[i], {name: given[i] for name, given in replies.items()})})
    return rows


def _row(messages: list[dict], answer: str, given: dict[str, Reply]) -> dict:
    """What was asked, the reference `answer`, and what each model wrote."""
    row = {"prompt": messages[-1]["content"], "messages": list(messages), "reference": answer}
    row |= {name: reply.text for name, reply in given.items()}
    row["stopped"] = {name: reply.stopped for name, reply in given.items()}
    row["in_thought"] = {name: reply.in_thought for name, reply in given.items()}
    if thoughts := {name: reply.thought for name, reply in given.items() if reply.thought}:
        row["thoughts"] = thoughts
    if tools := getattr(messages, "tools", None):
        row["tools"] = tools
    return row


def write_comparisons(run: RunDir, rows: list[dict]) -> None:
    write_jsonl(run.comparisons, rows)


def comparison_table(rows: list[dict]) -> Table:
    """Side by side, answers only; one that was cut at max_new_tokens ends with an ellipsis."""
    order = common_order(rows)
    return Table([side_by_side(row, order) for row in rows], caption=order_told(order))


def common_order(rows: list[dict]) -> str:
    """The system line that all these conversations begin with: it is shown once, above them. "" where there is none."""
    firsts = {(row["messages"][0]["role"], row["messages"][0]["content"]) for row in rows if len(row["messages"]) > 1}
    alike = len(firsts) == 1 and all(len(row["messages"]) > 1 for row in rows)
    return next((content for role, content in firsts if alike and role == "system" and content), "")


def order_told(order: str) -> str:
    return _("Above each question stands: {order}").format(order=order) if order else ""


def side_by_side(row: dict, order: str = "") -> dict[str, str]:
    """A row of comparisons.jsonl as a reader sees it; `order` as in `conversation`."""
    inside = row.get("in_thought", {})  # rows of before 2026-11-25 have none
    names = [name for name in MODELS if name in row]
    answers = {name: shown(row[name], row["stopped"][name], inside.get(name, False)) for name in names}
    return {"asked": conversation(row["messages"], order), **answers, "reference answer": row["reference"]}


def conversation(messages: list[dict], order: str = "") -> str:
    """All turns up to the reply; a single question without its role. A turn without text shows its tool calls.

    `order`: the first turn, where it is told elsewhere (`common_order`); it is left out.
    """
    messages = messages[1:] if order else messages
    if len(messages) == 1:
        return messages[0]["content"]
    texts = [(m["role"], m["content"] or json.dumps(m.get("tool_calls") or "", ensure_ascii=False)) for m in messages]
    return "\n".join(f"{role}: {text}" for role, text in texts)


def one_by_one(rows: list[dict]):
    """The same rows to read one at a time: a click on a question opens its replies. Works without a running kernel."""
    from IPython.display import HTML

    order = common_order(rows)
    shown = [(side_by_side(row, order), row.get("thoughts", {})) for row in rows]
    return HTML(as_written(render_page("one_by_one.html.j2", rows=shown, order=order_told(order))))


def sample_strip(run: RunDir) -> Table:
    """What the model wrote to one question while it learned (samples.jsonl), the question above; empty without."""
    rows = read_jsonl(run.samples) if run.samples.exists() else []
    asked = rows[0]["question"] if rows else ""
    return Table([{"step": row["step"], "reply": row["reply"]} for row in rows], caption=asked)
