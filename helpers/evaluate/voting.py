"""Blind A/B: a person says which of two replies is better without knowing which model wrote which."""

from __future__ import annotations

import hashlib
import html
import json
import math
import random
from collections.abc import Callable

from helpers.evaluate.comparison import conversation
from helpers.files import read_jsonl, write_jsonl
from helpers.runs import RunDir
from helpers.show.notebook import is_interactive
from helpers.show.pictures import Playable
from helpers.show.tables import Table

CHOICES = ("A", "B", "same")
ORDER = ("base", "adapter", "merged")  # the later one's share is told


def blind_pairs(
    rows: list[dict], first: str = "base", second: str = "adapter", seed: int = 42, hide: Callable = str
) -> list[dict]:
    """From comparison rows: the conversation, reply A, reply B, and which model is A, drawn by lot.

    `hide` takes out of a reply what would give its model away, such as a format that only one of them has learned.
    Replies that are equal then are left out, and those without an answer, since they ended inside their thought.
    """
    draw, pairs = random.Random(seed), []
    for row in rows:
        names = draw.sample([first, second], 2)
        if any(row.get("in_thought", {}).get(name) for name in names):
            continue
        shown = [hide(row[name]) for name in names]
        if shown[0] != shown[1]:
            pair = {"messages": row["messages"], "A": shown[0], "B": shown[1], "models": names}
            pairs.append({**pair, "key": vote_key(row, first, second)})
    draw.shuffle(pairs)
    return pairs


def vote_key(row: dict, first: str, second: str) -> str:
    """What a vote is about: the whole conversation and both replies. Other replies need a new vote."""
    about = [row["messages"], *sorted((name, row[name]) for name in (first, second))]
    return hashlib.sha256(json.dumps(about, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def save_vote(run: RunDir, pair: dict, choice: str) -> None:
    """Append a vote ("A", "B" or "same") to votes.jsonl; a second vote on the same pair replaces the first.

    Raises ValueError for another choice.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice={choice!r} is no vote: use one of {', '.join(CHOICES)}.")
    winner = pair["models"][CHOICES.index(choice)] if choice != "same" else "same"
    line = {"key": pair["key"], "prompt": pair["messages"][-1]["content"]}
    if run.votes.exists() and not run.votes.read_bytes().endswith(
        b"\n"
    ):  # a vote that was cut off: behind it all were lost
        write_jsonl(run.votes, read_jsonl(run.votes))
    with run.votes.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "models": sorted(pair["models"]), "winner": winner}, ensure_ascii=False) + "\n")


def vote_summary(run: RunDir, first: str = "base", second: str = "adapter") -> dict:
    """Votes on the replies of comparisons.jsonl as they are now: for each model, `outdated` ones (on other replies, not
    counted), and the share for `second` among the decided ones as a 95 % interval `low`..`high`."""
    models = sorted([first, second])
    rows = read_jsonl(run.comparisons) if run.comparisons.exists() else []
    now = {vote_key(row, first, second) for row in rows if first in row and second in row}
    votes = [row for row in (read_jsonl(run.votes) if run.votes.exists() else []) if row["models"] == models]
    last = {row["key"]: row["winner"] for row in votes if row.get("key") in now}
    counts = {name: sum(winner == name for winner in last.values()) for name in (first, second, "same")}
    low, high = wilson_interval(counts[second], counts[first] + counts[second])
    return {**counts, "outdated": sum(row.get("key") not in now for row in votes), "low": low, "high": high}


def preference_pairs(run: RunDir, first: str = "base", second: str = "adapter") -> list[dict]:
    """The decided votes on the replies of now, as TRL's DPOTrainer reads them: prompt, chosen, rejected (lists of messages).

    Their prompts are held-out ones: whoever trains on them must judge on others.
    """
    models = sorted([first, second])
    rows = {vote_key(row, first, second): row for row in read_jsonl(run.comparisons) if first in row and second in row}
    votes = [row for row in (read_jsonl(run.votes) if run.votes.exists() else []) if row["models"] == models]
    last = {row["key"]: row["winner"] for row in votes if row.get("key") in rows}
    pairs = []
    for key, winner in last.items():
        if winner == "same":
            continue
        row, loser = rows[key], first if winner == second else second
        said = {
            name: [{"role": "assistant", "content": row[model]}]
            for name, model in (("chosen", winner), ("rejected", loser))
        }
        pairs.append({"prompt": row["messages"], **said})
    return pairs


def wilson_interval(wins: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927); (0, 1) when nothing was counted. Honest for few votes."""
    if total == 0:
        return 0.0, 1.0
    z, share = 1.96, wins / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def vote_table(run: RunDir, first: str = "base", second: str = "adapter") -> Table:
    """The votes so far, with the interval in words."""
    found = vote_summary(run, first, second)
    decided = found[first] + found[second]
    interval = f"95 % interval {found['low']:.0%} to {found['high']:.0%}"
    told = f"{second}: {found[second]} of {decided} decided votes, {interval}" if decided else "no decided vote yet"
    told += f"; {found['outdated']} vote(s) on other replies are not counted" if found["outdated"] else ""
    return Table([{"model": name, "votes": found[name]} for name in (first, second, "same")], caption=told)


def voting_page(run: RunDir, pairs: list[dict]) -> Table | Playable:
    """A page of buttons where a person is looking (ipywidgets), else the pairs as a table to read on paper."""
    asked = [{"no": i, "asked": conversation(pair["messages"])} for i, pair in enumerate(pairs)]
    paper = Table([{**row, "A": pair["A"], "B": pair["B"]} for row, pair in zip(asked, pairs, strict=True)])
    return Playable(voting_widget(run, pairs), paper) if is_interactive() and pairs else paper


def voting_widget(run: RunDir, pairs: list[dict]):
    """The ipywidgets page: one pair at a time, three buttons; every click is saved at once."""
    import ipywidgets

    place, models = {"at": 0}, sorted(pairs[0]["models"], key=ORDER.index)
    page = ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=text) for text in ("A is better", "B is better", "the same")]

    def show():
        done = place["at"] >= len(pairs)
        page.value = (
            vote_table(run, *models)._repr_html_() if done else _pair_html(pairs[place["at"]], place["at"], len(pairs))
        )
        for button in buttons:
            button.disabled = done

    def vote(choice):
        save_vote(run, pairs[place["at"]], choice)
        place["at"] += 1
        show()

    for button, choice in zip(buttons, CHOICES, strict=True):
        button.on_click(lambda _, choice=choice: vote(choice))
    show()
    return ipywidgets.VBox([page, ipywidgets.HBox(buttons)])


def _pair_html(pair: dict, number: int, total: int) -> str:
    style = "flex:1;min-width:0;overflow-wrap:anywhere;white-space:pre-wrap;border:1px solid #d1d9e0;border-radius:6px;padding:12px;line-height:1.6"
    boxes = "".join(f'<div style="{style}"><b>{name}</b>\n{html.escape(pair[name])}</div>' for name in ("A", "B"))
    asked = html.escape(conversation(pair["messages"]))
    return f"<p style='white-space:pre-wrap'>{number + 1} of {total}: <b>{asked}</b></p><div style='display:flex;gap:16px'>{boxes}</div>"
