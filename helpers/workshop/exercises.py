"""The exercises ("Try it") of the notebooks: `check` looks at what lies on the disk, or at an answer.

It looks at all runs in the folder of the given one, since many exercises begin a run of their own; a run that cannot be
read is none.
"""

from __future__ import annotations

from helpers.runs import RunDir
from helpers.show.tables import Answer
from helpers.show.words import _
from helpers.workshop import by_hand, looked
from helpers.workshop.nearby import (
    held_out,
    larger_rank,
    rates_beside,
    record,
    report,
    rows_of,
    run_with,
    runs_beside,
)  # fmt: skip
from helpers.workshop.tasks import Missing, answered, require, require_number


def check(exercise: str, run: RunDir | None = None, answer=None) -> Answer:
    """Is the exercise ("03.1") solved? `answer` is what its question asks for; a page without a run gives none.

    Raises ValueError for an unknown exercise.
    """
    return answered(EXERCISES, exercise, run, answer)


def questions_learned_too(run: RunDir, answer) -> str:
    """03.1: a run that learns the whole text; the answer is the share of tokens that are green."""
    other = run_with(run, "data_report.json", "03", answer_only_loss=False)
    name, numbers = other.path.name, record(other.data_report).get("numbers") or {}
    require(numbers, _("{run} has no verdicts yet: run 03 to its end."), run=name)
    share = numbers["tokens learned"] / max(numbers["tokens"], 1)
    asked = _("the share of tokens that are learned, between 0 and 1, from the tables under 'The verdict'")
    require_number(answer, share, asked, _("Divide 'tokens learned' of {run} by 'tokens'.").format(run=name), 0.01)
    sentence = _("In {run}, {share:.0%} of the tokens are learned: the questions and the template too.")
    return sentence.format(run=name, share=share)


def rows_cut(run: RunDir, answer) -> str:
    """03.2: a run with a max_length that is too small; the answer is how many verdicts are red."""
    other = run_with(run, "data_report.json", "03", max_length=64)
    name, verdicts = other.path.name, record(other.data_report).get("verdicts", [])
    red = [f"{verdict['check']} ({verdict['fix']})" for verdict in verdicts if not verdict["ok"]]
    require(red, _("With max_length 64 no verdict is red in {run}: your rows are short. Try 32."), run=name)
    asked = _("how many verdicts are red, from the table of the verdicts")
    require_number(answer, len(red), asked, _("Count the red rows of {run}.").format(run=name))
    return _("Red are: {verdicts}. Notebook 04 refuses this run.").format(verdicts="; ".join(red))


def own_rows(run: RunDir, answer) -> str:
    """03.3: a run on a file of one's own with at least ten conversations, none of them dropped."""
    own = [(other, settings["dataset_id"]) for other, settings in runs_beside(run) if other.data_report.exists()]
    own = [(other, file) for other, file in own if not file.startswith("notebooks/data/")]
    none = _("No run here has read a file of your own: write it, set dataset_id and run_name in OVERRIDES, run 03.")
    require(own, none)
    other, file = own[-1]
    rows = {"read": 0, "dropped": 0, "train": 0, "eval": 0} | record(other.data_report).get("rows", {})
    seen = {**rows, "file": file}
    require(rows["read"] >= 10, _("{file} has {read} rows; ten were asked for."), **seen)
    dropped = _("{dropped} of {read} rows of {file} were dropped: the table of 03 says why, set it right.")
    require(not rows["dropped"], dropped, **seen)
    return _("{read} rows of {file} were read, {train} to train on, {eval} held out.").format(**seen)


def resumed(run: RunDir, answer) -> str:
    """04.1: a training that was stopped and went on: metrics.jsonl holds the rows of two sittings or more."""
    for other, _settings in reversed(runs_beside(run)):
        rows = rows_of(other.metrics)
        sittings = max((row.get("sitting", 1) for row in rows), default=1)
        if sittings > 1:
            sentence = _("{run} was trained in {sittings} sittings, and its record goes on up to step {step}.")
            return sentence.format(run=other.path.name, sittings=sittings, step=max(row["step"] for row in rows))
    raise Missing(_("Every training here ran in one sitting: stop the cell after its first checkpoint, run it again."))


def smaller_rank(run: RunDir, answer) -> str:
    """04.2: a finished run of rank 2 beside one of a larger rank; the answer: how their held-out losses differ."""
    small = run_with(run, "trained.json", "04", lora_r=2)
    name, (other, rank) = small.path.name, larger_rank(run, small)
    losses = [held_out(rows_of(each.metrics))[-1] for each in (small, other)]
    asked = _("the held-out loss of {run} less that of {other}").format(run=name, other=other.path.name)
    hint = _("See the last held-out losses of the two runs under 'training facts'.")
    require_number(answer, losses[0] - losses[1], asked, hint, 0.006)
    sentence = _("{run} (rank 2): {loss:.3f} nats per token; {other} (rank {rank}): {other_loss:.3f}.")
    return sentence.format(run=name, loss=losses[0], other=other.path.name, rank=rank, other_loss=losses[1])


def too_hot(run: RunDir, answer) -> str:
    """04.3: a run with ten times the learning rate of its preset or more; what its held-out loss did is told."""
    for other, rate, usual in reversed(rates_beside(run)):
        losses = held_out(rows_of(other.metrics))
        if losses and rate >= 9.9 * usual:
            sentence = _(
                "{run}, learning rate {rate:g}: held-out loss {first:.2f} at first, {worst:.2f} at its worst and "
                "{last:.2f} in the end."
            )
            seen = {"first": losses[0], "worst": max(losses), "last": losses[-1]}
            return sentence.format(run=other.path.name, rate=rate, **seen)
    raise Missing(_("No run here has a held-out loss at ten times the learning rate of its preset: fork a run with "
                    "learning_rate=0.5 (.venv/bin/python -m helpers.runs fork), and run 04."))  # fmt: skip


def merge_by_setting(run: RunDir, answer) -> str:
    """05.1: a merge report whose choice was made by the setting."""
    merged = report(run.merge_report, "05")
    seen = {"method": merged.get("chosen"), "reason": merged.get("chosen_because", "")}
    by_rule = _("{method} was chosen by the rule: set merge_method in OVERRIDES and run 05 from the top.")
    require("merge_method" in seen["reason"], by_rule, **seen)
    return _("{method} was chosen because {reason}.").format(**seen)


def files_of_the_merge(run: RunDir, answer) -> str:
    """05.2: the answer is how many weight files merged/ has, more than one."""
    sizes = [path.stat().st_size for path in run.merged.glob("*.safetensors")]
    few = _("merged/ has {count} weight files, several are asked for: run 05 from the top.")
    require(len(sizes) > 1, few, count=len(sizes))
    again = _("Count the .safetensors files in {folder} again.").format(folder=run.merged)
    require_number(answer, len(sizes), _("how many .safetensors files merged/ has"), again)
    return _("{count} weight files, the largest has {bytes:,} bytes.").format(count=len(sizes), bytes=max(sizes))


def sampled(run: RunDir, answer) -> str:
    """06.1: an evaluation whose replies were sampled."""
    evaluation = report(run.evaluation, "06")
    greedy = _("The replies were decoded so: {decoding}. Set temperature in OVERRIDES and run 06.")
    require(evaluation.get("temperature"), greedy, decoding=evaluation.get("decoding"))
    counts = ", ".join(f"{name} {row['stops']:.0%}" for name, row in evaluation["models"].items())
    sentence = _("Sampled with temperature {temperature}. Replies that stop: {counts}.")
    return sentence.format(temperature=evaluation["temperature"], counts=counts)


def own_question(run: RunDir, answer) -> str:
    """06.2: a comparison that begins with a question of one's own."""
    from helpers.evaluate.prompts import FIXED_PROMPTS

    rows = rows_of(run.comparisons)
    none = _("{run} has no comparisons yet: write your question into prompts[0] and run 06.")
    require(rows, none, run=run.path.name)
    seen = {"question": rows[0]["prompt"], "reply": rows[0].get("adapter") or _("(nothing)")}
    ours = seen["question"] in {row["question"] for row in FIXED_PROMPTS}
    require(not ours, _("The first question is still {question!r}: change it and run from there."), **seen)
    return _("Asked: {question} The adapter says: {reply}").format(**seen)


def too_few(run: RunDir, answer) -> str:
    """06.3: an evaluation with so few replies that chrF gets no verdict."""
    from helpers.evaluate.intervals import TOO_FEW

    chrf = [row for row in report(run.evaluation, "06")["paired"] if row["number"].startswith("chrF")]
    many = _("chrF was measured on {rows} replies and has a verdict: set count=4 and run from there.")
    require(all(row["verdict"] == TOO_FEW for row in chrf), many, rows=chrf[0]["rows"])
    sentence = _("On {rows} replies the verdict is {verdict!r}: a number alone would have looked like an answer.")
    return sentence.format(rows=chrf[0]["rows"], verdict=_(TOO_FEW))


EXERCISES = {
    **looked.EXERCISES,
    "03.1": questions_learned_too, "03.2": rows_cut, "03.3": own_rows,
    "04.1": resumed, "04.2": smaller_rank, "04.3": too_hot,
    "05.1": merge_by_setting, "05.2": files_of_the_merge,
    "06.1": sampled, "06.2": own_question, "06.3": too_few,
    "09.1": by_hand.rows_taken_out, "09.2": by_hand.exit_code, "09.3": by_hand.sizes_measured,
    "A2.2": by_hand.wrong_values, "A5.1": by_hand.check_of_substance,
    "A4.1": by_hand.rank_of_the_change, "A4.2": by_hand.both_start_at_zero, "A4.3": by_hand.rslora,
}  # fmt: skip
