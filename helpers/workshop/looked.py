"""Exercises whose answer is read off the page: a word, a number, two numbers, or what a cell has made."""

from __future__ import annotations

import json
import operator
import re
from functools import partial

from helpers.runs import RunDir
from helpers.show.words import N_, _
from helpers.workshop.nearby import larger_rank, rates_beside, record, report, rows_of, run_with, runs_beside
from helpers.workshop.tasks import require, require_number, require_pair, require_word

# what is asked for, and the words of which one is enough
WORDS = {
    "00.1": (N_("the fullest phase, as the table names it"), ("measuring the merged", "병합한 모델")),
    "00.2": (N_("the size of that card in GB"), ("80",)),
    "01.1": (N_("what the disk row asks for, in GB"), ("41",)),
    "01.2": (N_("the card that the check names"), ("3090",)),
    "02.1": (N_("where the curves go without a key"), ("offline", "오프라인")),
    "02.2": (N_("the environment variable that pushing needs"), ("HF_TOKEN",)),
    "05.3": (N_("the first words of that line"), ("unfinished", "끊긴")),
    "A1.1": (N_("the largest part"), ("weights", "가중치")),
    "A1.2": (
        N_("a part that grows with the rank"),
        ("adapter", "optimizer", "gradient", "어댑터", "옵티마이저", "그래디언트"),
    ),
    "A2.1": (N_("higher or lower"), ("lower", "낮")),
}
# what is asked for as (first, second), and how the two must lie
PAIRS = {
    "00f.2": (N_("the learning rate, and how many were right"), lambda rate, right: rate <= 1e-5),
    "01.3": (N_("the speeds of size 256, and of 1024"), lambda a, b: abs(a - b) > 0.05 * b),
    "A3.1": (N_("the padding in batches of eight, and of two"), operator.gt),
    "A3.2": (N_("the loss behind one row, and behind three"), operator.ne),
}


NAMED = "Café Luna"  # the place in the message of the first look
# what a small model takes for a place, and is none
WHEN = "noon midnight today tomorrow morning afternoon evening 정오 자정 오늘 내일 모레 오전 오후 아침 점심 저녁"


def shortened(reply: str, most: int = 60) -> str:
    return reply if len(reply) <= most else f"{reply[:most]} …"


def word(exercise: str, run: RunDir | None, answer) -> str:
    """The answer names what the page shows."""
    asked, words = _(WORDS[exercise][0]), WORDS[exercise][1]
    require_word(answer, any(_names(str(answer), one) for one in words), asked)
    return _("{answer}: so it is. The answers below say why.").format(answer=answer)


def _names(answer: str, one: str) -> bool:
    """Whether `one` stands in the answer; a number as the whole of one: 80 and 80.0 GB, but neither 180 nor 80.5."""
    return bool(re.search(rf"(?<!\d)(?<!\d[.,]){re.escape(one)}(?:\.0+)?(?![.,]?\d)", answer, re.IGNORECASE))


def pair(exercise: str, run: RunDir | None, answer) -> str:
    """Two numbers that the reader has measured."""
    asked, lie = _(PAIRS[exercise][0]), PAIRS[exercise][1]
    require_pair(answer, asked)
    other = _("You measured {first:g} and {second:g}, which is not what the change does. Asked for is {asked}.")
    require(lie(*answer), other, first=answer[0], second=answer[1], asked=asked)
    return _("{first:g} and {second:g}: the answers below say why.").format(first=answer[0], second=answer[1])


def without_a_place(run: RunDir | None, answer) -> str:
    """First look 1: (message, reply) of a message that names no place."""
    asked = _("Give answer=(box.message, box.replies['after 20 steps']): asked for is a message without a place.")
    require(isinstance(answer, tuple) and len(answer) == 2, asked)
    message, reply = answer
    own = _("This is the page's own message, which names {place}: asked for is a message of yours without a place.")
    require(NAMED not in message, own, place=NAMED)
    if "{" not in reply:  # of tiny: it writes no entry at all, whatever is asked
        told = _("No entry, and so no place: {reply} Such a small model has not learned the form in twenty steps.")
        return told.format(reply=shortened(reply))
    try:
        entry = json.loads(reply)
    except ValueError:
        entry = {}
    require(
        "place" in entry,
        _("The reply is no entry with a place: {reply}. Write the message in other words."),
        reply=shortened(reply),
    )
    place = entry["place"]
    if place is None:
        return _("place is null: the rule is learned.")
    if not place:
        return _("place is empty, where the examples have null: no place is made up, the rule is nearly learned.")
    if str(place) in message:
        taken = _("The model takes {place}, words of your message, for a place: leave them out, or write others.")
        require(_is_no_place(str(place), entry), taken, place=place)
        told = _("{place} is no place, the model copied it: twenty steps do not teach it yet to leave a field empty.")
        return told.format(place=place)
    return _("The model made up {place}: twenty steps have not taught it yet to leave a field empty.").format(
        place=place
    )


def _is_no_place(words: str, entry: dict) -> bool:
    """Whether each of `words` is a time of day, or stands in the entry as day, time or person."""
    other = [str(entry.get(name)) for name in ("day", "time", "with")]
    known = re.findall(r"\w+", " ".join([WHEN, *other]).lower())
    return all(word in known for word in re.findall(r"\w+", words.lower()))


def own_message(run: RunDir, answer) -> str:
    """07.1: (question, reply) of a question of one's own."""
    asked = _("Write a QUESTION of your own into its cell, run it, and give answer=(QUESTION, reply).")
    require(isinstance(answer, tuple) and len(answer) == 2 and "Jonas" not in answer[0], asked)
    sentence = _("Asked: {question} The adapter says: {reply}")
    return sentence.format(question=answer[0], reply=answer[1])


def file_to_give(run: RunDir, answer) -> str:
    """07.2: one of the measured files."""
    served = report(run.served, "07")
    files = {name: row for name, row in served["files"].items() if answer and str(answer) in name}
    require(len(files) == 1, _("Write the name of one file as answer=...: {files}."), files=", ".join(served["files"]))
    [(name, row)] = files.items()
    more = row["nll"] - served["merged"]["nll"]
    sentence = _("{file}: {size:.0f} MB, {more:+.3f} nats more than the merged model. Could you tell the two apart?")
    return sentence.format(file=name, size=row["bytes"] / 1e6, more=more)


def foreign_prompt(run: RunDir, answer) -> str:
    """07.3: how many tokens the prompt has without the chat template."""
    from transformers import AutoTokenizer

    rows, none = rows_of(run.eval_jsonl), _("{run} has no merged model yet: set it up by running 03 to 05.")
    require(rows and run.merged.exists(), none, run=run.path.name)
    question = next(turn["content"] for turn in rows[0]["messages"] if turn["role"] == "user")
    right = len(
        AutoTokenizer.from_pretrained(run.merged)(f"User: {question}\nAssistant:", add_special_tokens=False).input_ids
    )
    hint = _("Run the loading cell with the new text, and print inputs.input_ids.shape[1].")
    require_number(answer, right, _("how many tokens that prompt has"), hint)
    return _("{tokens} tokens, and not one of them says whose turn it is.").format(tokens=right)


def rank_judged(run: RunDir, answer) -> str:
    """08.1: what the table of runs says of rank 2, where the other runs are those of the reader."""
    from helpers.compare.runs import read_runs
    from helpers.compare.table import runs_table

    small = run_with(run, "held_out.json", "04", lora_r=2)
    larger_rank(run, small)
    rows = runs_table(read_runs(run.path.parent)).rows
    verdict = next(row.get("verdict") for row in rows if row["run"] == small.path.name)
    asked = _("the verdict on the smaller rank, as the table of runs has it")
    require_word(answer or None, str(answer).lower() == str(verdict).lower(), asked)
    return _("The table says of {run}: {verdict}.").format(run=small.path.name, verdict=verdict)


def star(run: RunDir, answer) -> str:
    """08.2: the step whose adapter a run with ten times the usual learning rate uses."""
    hot = [other for other, rate, usual in rates_beside(run) if rate >= 9.9 * usual and other.held_out.exists()]
    none = _("No trained run here has ten times the learning rate of its preset: set CHANGES in 08, and run 04.")
    require(hot, none)
    found = record(hot[-1].held_out)
    hint = _("Look for the star in the chart of the curves, or at 'state' in the table of runs.")
    require_number(answer, found["step"], _("the step at which the star stands"), hint)
    return _("Step {step} of {last}.").format(step=found["step"], last=found["last"])


def stopped_early(run: RunDir, answer) -> str:
    """08.3: how many runs of the sweep did not go to the end."""
    from helpers.compare.sweep import standing

    rows = [row for row in standing(run.path.name) if row["run"].startswith(f"{run.path.name}-lora_r-")]
    require(rows, _("No sweep of {run} over lora_r is here: set CHOICES, and run its cell."), run=run.path.name)
    early = [row["run"] for row in rows if list(row.values())[-1] is None]
    hint = _("Run the cell of the sweep again: its last column is empty for those that were stopped.")
    require_number(answer, len(early), _("how many runs were stopped"), hint)
    return _("Stopped: {runs}.").format(runs=", ".join(early) or "-")


def firmer(run: RunDir, answer) -> str:
    """A2.1: a run of DPO with beta 0.5, and what its loss is."""
    made = [other for other, _settings in runs_beside(run) if record(other.preference).get("beta") == 0.5]
    require(made, _("No run here was trained with beta 0.5: set it and another NAME in A2, and run from there."))
    return word("A2.1", run, answer)


def form_alone(run: RunDir, answer) -> str:
    """A5.2: a run that was rewarded for form only."""
    rewards = [record(other.preference).get("reward") or ["exact"] for other, _settings in runs_beside(run)]
    made = [checks for checks in rewards if not {"exact", "event_right", "place_right"} & {*checks}]
    require(
        made,
        _("No run here was rewarded for form alone: set checks = FORM and another NAME in A5, and run all."),
    )
    return _("Rewarded for {checks} only. Read its replies: would you use them?").format(checks=", ".join(made[-1]))


EXERCISES = {
    **{name: partial(word, name) for name in WORDS if name != "A2.1"},
    **{name: partial(pair, name) for name in PAIRS},
    "00f.1": without_a_place,
    "07.1": own_message,
    "07.2": file_to_give,
    "07.3": foreign_prompt,
    "08.1": rank_judged,
    "08.2": star,
    "08.3": stopped_early,
    "A2.1": firmer,
    "A5.2": form_alone,
}
