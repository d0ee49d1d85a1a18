"""Blind A/B: a person says which of two replies is better without knowing which model wrote which."""

from __future__ import annotations

import hashlib
import json
import random

from helpers.evaluate.comparison import common_order, conversation, order_told
from helpers.evaluate.intervals import wilson_interval
from helpers.files import read_jsonl, write_jsonl
from helpers.runs import RunDir
from helpers.show.clicks import telling
from helpers.show.notebook import is_interactive
from helpers.show.pages import render_page
from helpers.show.pictures import Playable
from helpers.show.tables import Table, as_written
from helpers.show.words import N_, _

CHOICES = ("A", "B", "same")
BUTTONS = (N_("A is better"), N_("B is better"), N_("the same"))
ON_PAPER = 6  # pairs that a page without buttons shows
ORDER = ("base", "adapter", "merged")  # the later one's share is shown
VOTES = "votes of 06"  # what A2 calls the pairs of its data, where they are no data set


class NoVote(ValueError):
    """`choice` is none of CHOICES."""

    def __init__(self, choice: str):
        self.choice = choice
        told = _("choice={choice!r} is no vote: use one of {choices}.")
        super().__init__(told.format(choice=choice, choices=", ".join(CHOICES)))


def blind_pairs(rows: list[dict], first: str = "base", second: str = "adapter", seed: int = 42) -> list[dict]:
    """From comparison rows: the conversation, reply A, reply B, and which model is A, drawn by lot.

    Replies that are equal are left out, and those without an answer, since they ended inside their thought.
    """
    draw, pairs = random.Random(seed), []
    for row in rows:
        names = draw.sample([first, second], 2)
        a, b = (row[name] for name in names)
        if a != b and not any(row.get("in_thought", {}).get(name) for name in names):
            key = vote_key(row, first, second)
            pairs.append({"messages": row["messages"], "A": a, "B": b, "models": names, "key": key})
    draw.shuffle(pairs)
    return pairs


def vote_key(row: dict, first: str, second: str) -> str:
    """What a vote is about: the whole conversation and both replies. Other replies need a new vote."""
    about = [row["messages"], *sorted((name, row[name]) for name in (first, second))]
    return hashlib.sha256(json.dumps(about, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def save_vote(run: RunDir, pair: dict, choice: str) -> None:
    """Append a vote ("A", "B" or "same") to votes.jsonl; a second vote on the same pair replaces the first.

    Raises NoVote.
    """
    if choice not in CHOICES:
        raise NoVote(choice)
    line = {"key": pair["key"], "prompt": pair["messages"][-1]["content"], "models": sorted(pair["models"])}
    line["winner"] = dict(zip(CHOICES, [*pair["models"], "same"], strict=True))[choice]
    if run.votes.exists() and not run.votes.read_bytes().endswith(b"\n"):
        write_jsonl(run.votes, read_jsonl(run.votes))  # a vote that was not written to its end: behind it all were lost
    with run.votes.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _votes(run: RunDir, first: str, second: str) -> tuple[dict[str, dict], dict[str, str], int]:
    """The rows of comparisons.jsonl by key, the last vote on each, and how many votes are on other replies."""
    rows = read_jsonl(run.comparisons) if run.comparisons.exists() else []
    by_key = {vote_key(row, first, second): row for row in rows if first in row and second in row}
    votes = read_jsonl(run.votes) if run.votes.exists() else []
    votes = [vote for vote in votes if vote["models"] == sorted([first, second])]
    winners = {vote["key"]: vote["winner"] for vote in votes if vote.get("key") in by_key}
    return by_key, winners, sum(vote.get("key") not in by_key for vote in votes)


def vote_summary(run: RunDir, first: str = "base", second: str = "adapter") -> dict:
    """Votes on the replies of now: for each model, `outdated` ones (on other replies, not counted), and the share for
    `second` among the decided ones as a 95 % interval `low`..`high`."""
    _rows, winners, outdated = _votes(run, first, second)
    counts = {name: list(winners.values()).count(name) for name in (first, second, "same")}
    low, high = wilson_interval(counts[second], counts[first] + counts[second])
    return {**counts, "outdated": outdated, "low": low, "high": high}


def preference_pairs(run: RunDir, first: str = "base", second: str = "adapter") -> list[dict]:
    """The decided votes on the replies of now, as TRL's DPOTrainer reads them: messages as prompt, chosen, rejected.

    Their prompts are held-out ones: whoever trains on them must judge on others.
    """
    rows, winners, _outdated = _votes(run, first, second)
    pairs = []
    for key, winner in winners.items():
        if winner != "same":
            loser = first if winner == second else second
            replies = {"chosen": rows[key][winner], "rejected": rows[key][loser]}
            turns = {name: [{"role": "assistant", "content": text}] for name, text in replies.items()}
            tools = {"tools": rows[key]["tools"]} if rows[key].get("tools") else {}
            pairs.append({"prompt": rows[key]["messages"], **turns, **tools})
    return pairs


def vote_table(run: RunDir, first: str = "base", second: str = "adapter") -> Table:
    """The votes so far, with the interval in words."""
    votes = vote_summary(run, first, second)
    told = _("no decided vote yet")
    if decided := votes[first] + votes[second]:
        told = _("{model}: {won} of {decided} decided votes, 95 % interval {low:.0%} to {high:.0%}")
        told = told.format(model=second, won=votes[second], decided=decided, **votes)
    if votes["outdated"]:
        told += _("; {count} vote(s) on other replies are not counted").format(count=votes["outdated"])
    names = {first: first, second: second, "same": _("the same")}
    return Table([{"model": name, "votes": votes[key]} for key, name in names.items()], caption=told)


def voting_page(run: RunDir, pairs: list[dict]) -> Table | Playable:
    """A page of buttons where a person is looking (ipywidgets), else the first ON_PAPER pairs as a table."""
    shown = pairs[:ON_PAPER]
    order = common_order(shown)
    rows = [
        {"no": number, "asked": conversation(pair["messages"], order), "A": pair["A"], "B": pair["B"]}
        for number, pair in enumerate(shown, 1)
    ]
    told = _("{shown} of {pairs} pairs; in JupyterLab you vote on all of them, with buttons.")
    caption = " ".join(filter(None, [told.format(shown=len(shown), pairs=len(pairs)), order_told(order)]))
    table = Table(rows, caption=caption)
    return Playable(voting_widget(run, pairs), table) if is_interactive() and pairs else table


def voting_widget(run: RunDir, pairs: list[dict]):
    """The ipywidgets page: one pair at a time, three buttons; every click is saved at once."""
    import ipywidgets

    left, models = list(enumerate(pairs, 1)), sorted(pairs[0]["models"], key=ORDER.index)
    page, told = ipywidgets.HTML(), ipywidgets.Label()
    buttons = [ipywidgets.Button(description=_(text)) for text in BUTTONS]

    def show():
        for button in buttons:
            button.disabled = not left
        if not left:
            page.value = vote_table(run, *models)._repr_html_()
            return
        number, pair = left[0]
        values = {"asked": conversation(pair["messages"]), "left": pair["A"], "right": pair["B"]}
        page.value = as_written(render_page("vote.html.j2", number=number, total=len(pairs), **values))

    def vote(choice):
        save_vote(run, left[0][1], choice)
        del left[0]
        show()

    for button, choice in zip(buttons, CHOICES, strict=True):
        button.on_click(telling(told, lambda _button, choice=choice: vote(choice)))
    show()
    return ipywidgets.VBox([page, ipywidgets.HBox(buttons), told])
