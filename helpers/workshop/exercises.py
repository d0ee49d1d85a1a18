"""The exercises ("Try it") of the notebooks: `check` looks at what lies on the disk, or at an answer, and says one sentence.

An exercise is a function of the run and the answer. It looks at all runs in the folder of the given one, since many exercises
begin a run of their own; a run that cannot be read is none.
"""

from __future__ import annotations

import copy
from pathlib import Path

from helpers.files import read_json, read_jsonl
from helpers.runs import RunDir
from helpers.settings import PRESETS, RunConfig
from helpers.show.tables import Answer
from helpers.show.words import _
from helpers.workshop.fence import Fence
from helpers.workshop.tasks import Missing, answered

SAME = (
    "model_id",
    "dataset_id",
    "seed",
    "num_train_epochs",
    "max_steps",
    "learning_rate",
)  # of two ranks that are compared


def check(exercise: str, run: RunDir, answer=None) -> Answer:
    """Is the exercise solved? `exercise` is notebook and number, such as "03.1"; `answer` what its question asks for.

    Raises ValueError only for an exercise that does not exist; an unsolved one is an `Answer` that says what is missing.
    """
    return answered(EXERCISES, exercise, run, answer)


def questions_learned_too(run: RunDir, answer) -> str:
    """03.1: a run that learns the whole text; the answer is the share of tokens that are green."""
    there = _run_with(run, "data_report.json", "03", answer_only_loss=False)
    numbers = _record(there.data_report).get("numbers")
    if not numbers:
        raise Missing(_("{run} has no verdicts yet: run 03 to its end.").format(run=there.path.name))
    share = numbers["tokens learned"] / max(numbers["tokens"], 1)
    what = _("the share of tokens that are learned, between 0 and 1, from the tables under 'The verdict'")
    if abs(_number(answer, what) - share) > 0.01:
        raise _other(answer, _("Divide 'tokens learned' of {run} by 'tokens'.").format(run=there.path.name))
    told = _("In {run}, {share:.0%} of the tokens are learned: the questions and the template too.")
    return told.format(run=there.path.name, share=share)


def rows_cut(run: RunDir, answer) -> str:
    """03.2: a run with a max_length that is too small; the answer is how many verdicts are red."""
    there = _run_with(run, "data_report.json", "03", max_length=64)
    red = [verdict for verdict in _record(there.data_report).get("verdicts", []) if not verdict["ok"]]
    if not red:
        told = _("With max_length 64 no verdict is red in {run}: your rows are short. Try 32.")
        raise Missing(told.format(run=there.path.name))
    if _number(answer, _("how many verdicts are red, from the table of the verdicts")) != len(red):
        raise _other(answer, _("Count the red rows of {run}.").format(run=there.path.name))
    listed = "; ".join(f"{verdict['check']} ({verdict['fix']})" for verdict in red)
    return _("Red are: {verdicts}. Notebook 04 refuses this run.").format(verdicts=listed)


def _is_ours(dataset_id: str) -> bool:
    return dataset_id.startswith("notebooks/data/")


def own_rows(run: RunDir, answer) -> str:
    """03.3: a run on a file of one's own with at least ten conversations, none of them dropped."""
    own = [(other, s) for other, s in _runs(run) if other.data_report.exists() and not _is_ours(s["dataset_id"])]
    if not own:
        raise Missing(_("No run here has read a file of your own: write the CSV file, set dataset_id and a run_name in OVERRIDES, "
                        "and run 03."))  # fmt: skip
    other, settings = own[-1]
    rows = {"read": 0, "dropped": 0, "train": 0, "eval": 0} | _record(other.data_report).get("rows", {})
    seen = {**rows, "file": settings["dataset_id"]}
    if rows["read"] < 10:
        raise Missing(_("{file} has {read} rows; ten were asked for.").format(**seen))
    if rows["dropped"]:
        raise Missing(
            _("{dropped} of {read} rows of {file} were dropped: the table of 03 says why, set it right.").format(**seen)
        )
    return _("{read} rows of {file} were read, {train} to train on, {eval} held out.").format(**seen)


def resumed(run: RunDir, answer) -> str:
    """04.1: a training that was stopped and went on: metrics.jsonl holds the rows of two sittings or more."""
    for other, _settings in reversed(_runs(run)):
        rows = _rows(other.metrics)
        sittings = max((row.get("sitting", 1) for row in rows), default=1)
        if sittings > 1:
            told = _("{run} was trained in {sittings} sittings, and its record goes on up to step {step}.")
            return told.format(run=other.path.name, sittings=sittings, step=max(row["step"] for row in rows))
    raise Missing(
        _(
            "Every training here ran in one sitting: stop the training cell after its first checkpoint, and run it again."
        )
    )


def smaller_rank(run: RunDir, answer) -> str:
    """04.2: a finished run of rank 2 beside one of a larger rank; the answer is the difference of their held-out losses."""
    small = _run_with(run, "trained.json", "04", lora_r=2)
    settings = _record(small.config_json)
    larger = [
        (other.path != run.path, other.path.name, s["lora_r"], other) for other, s in _runs(run)
        if s["lora_r"] > 2 and other.trained.exists() and all(s[name] == settings[name] for name in SAME)
    ]  # fmt: skip
    if not larger:
        raise Missing(_("{run} is trained. Set up a run with a larger rank and otherwise the same settings, to compare with.").format(run=small.path.name))  # fmt: skip
    _elsewhere, name, rank, other = min(larger)  # the run of this page first
    mine, theirs = held_out_loss(small), held_out_loss(other)
    what = _("the held-out loss of {run} less that of {other}").format(run=small.path.name, other=name)
    if abs(_number(answer, what) - (mine - theirs)) > 0.006:
        raise _other(answer, _("See the last held-out losses of the two runs under 'training facts'."))
    told = _("{run} (rank 2): {loss:.3f} nats per token; {other} (rank {rank}): {other_loss:.3f}.")
    return told.format(run=small.path.name, loss=mine, other=name, rank=rank, other_loss=theirs)


def too_hot(run: RunDir, answer) -> str:
    """04.3: a run with ten times the learning rate of its preset or more; what its held-out loss did is told."""
    for other, settings in reversed(_runs(run)):
        usual = PRESETS.get(settings["preset"], {}).get("learning_rate", RunConfig.learning_rate)
        losses = [row["eval_loss"] for row in _rows(other.metrics) if "eval_loss" in row]
        if settings["learning_rate"] >= 10 * usual and losses:
            told = _("{run}, learning rate {rate:g}: the held-out loss began at {first:.2f}, was {worst:.2f} at its worst and "
                     "{last:.2f} in the end.")  # fmt: skip
            seen = {"first": losses[0], "worst": max(losses), "last": losses[-1], "rate": settings["learning_rate"]}
            return told.format(run=other.path.name, **seen)
    raise Missing(_("No run here was trained with ten times the learning rate of its preset and has a held-out loss: fork a run with "
                    "learning_rate=0.5 (python -m helpers.runs fork), and run 04."))  # fmt: skip


def rank_of_the_change(run: RunDir, answer) -> str:
    """A4.1: the smallest rank that learns a change of rank 2."""
    if _number(answer, _("the smallest rank whose loss falls to about 0")) != 2:
        raise _other(
            answer, _("Set `change` to rank 2 (64 x 2 times 2 x 64), run the cells below it, and look at the bars.")
        )
    return _("A branch can write down any change up to its own rank: 2 is enough for 2.")


def both_start_at_zero(run: RunDir, answer) -> str:
    """A4.2: with A and B both zero nothing is learned, so the loss falls by 0."""
    if abs(_number(answer, _("the first loss less the last one"))) > 1e-6:
        raise _other(answer, _("Is `A` zero, and does `learn` get the new layer? Print losses[0] - losses[-1]."))
    return _("Each matrix's gradient is a product with the other one, so two zeros never begin to learn.")


def rslora(run: RunDir, answer) -> str:
    """A4.3: a class of a LoRA layer, scaled by alpha / sqrt(r); compared with peft's layer with use_rslora."""
    import torch
    from peft import LoraConfig, get_peft_model

    if not isinstance(answer, type):
        raise Missing(_("Write the class RsLora and give it itself, not an object of it: answer=RsLora. It should begin with class "
                        "RsLora(LoraLinear):"))  # fmt: skip
    x, base = torch.randn(4, 16), torch.nn.Linear(16, 8)
    scaled = LoraConfig(r=9, lora_alpha=6, target_modules=["0"], use_rslora=True, init_lora_weights=False)
    theirs = get_peft_model(torch.nn.Sequential(copy.deepcopy(base)), scaled)
    branch = theirs.base_model.model[0]
    try:
        mine = answer(base, r=9, alpha=6)
        mine.A.data, mine.B.data = branch.lora_A["default"].weight.data, branch.lora_B["default"].weight.data
        off = (mine(x) - theirs(x)).abs().max().item()
    except Exception as error:  # the participant's own code: whatever it raises is the answer
        told = _("Your class raises {error}: {text}. It should be made by {name}(base, r=9, alpha=6).")
        raise Missing(told.format(error=type(error).__name__, text=error, name=answer.__name__)) from None
    if not off < 1e-5:
        told = _(
            "Its answers differ from those of peft's rsLoRA by up to {off:.2g}. The scale should be alpha / r**0.5: set self.scale."
        )
        raise Missing(told.format(off=off))
    return _("It answers as peft's layer with use_rslora=True does.")


def merge_by_setting(run: RunDir, answer) -> str:
    """05.1: a merge report whose choice was made by the setting."""
    report = _report(run.merge_report, "05")
    seen = {"method": report.get("chosen"), "reason": report.get("chosen_because", "")}
    if "merge_method" not in seen["reason"]:
        raise Missing(
            _("{method} was chosen by the rule: set merge_method in OVERRIDES and run 05 from the top.").format(**seen)
        )
    return _("{method} was chosen because {reason}.").format(**seen)


def files_of_the_merge(run: RunDir, answer) -> str:
    """05.2: the answer is how many weight files merged/ has, more than one."""
    files = sorted(run.merged.glob("*.safetensors"))
    if len(files) < 2:
        told = _(
            "merged/ has {count} weight files: set merge_shard_gb to a smaller number in OVERRIDES, and run 05 from the top."
        )
        raise Missing(told.format(count=len(files)))
    if _number(answer, _("how many .safetensors files merged/ has")) != len(files):
        raise _other(answer, _("Count the .safetensors files in {folder} again.").format(folder=run.merged))
    largest = max(path.stat().st_size for path in files)
    return _("{count} weight files, the largest has {bytes:,} bytes.").format(count=len(files), bytes=largest)


def sampled(run: RunDir, answer) -> str:
    """06.1: an evaluation whose replies were sampled."""
    found = _report(run.evaluation, "06")
    if not found.get("temperature"):
        told = _("The replies were decoded so: {decoding}. Set temperature in OVERRIDES and run 06.")
        raise Missing(told.format(decoding=found.get("decoding")))
    counts = ", ".join(f"{name} {row['stops']:.0%}" for name, row in found["models"].items())
    told = _("Sampled with temperature {temperature}. Replies that stop: {counts}.")
    return told.format(temperature=found["temperature"], counts=counts)


def own_question(run: RunDir, answer) -> str:
    """06.2: a comparison that begins with a question of one's own."""
    from helpers.evaluate.prompts import FIXED_PROMPTS

    rows = _rows(run.comparisons)
    if not rows:
        told = _("{run} has no comparisons yet: write your question into prompts[0] and run 06.")
        raise Missing(told.format(run=run.path.name))
    seen = {"question": rows[0]["prompt"], "reply": rows[0].get("adapter") or _("(nothing)")}
    if seen["question"] in {row["question"] for row in FIXED_PROMPTS}:
        raise Missing(_("The first question is still {question!r}: change it and run from there.").format(**seen))
    return _("Asked: {question} The adapter says: {reply}").format(**seen)


def too_few(run: RunDir, answer) -> str:
    """06.3: an evaluation with so few replies that chrF gets no verdict."""
    from helpers.evaluate.intervals import TOO_FEW

    chrf = [row for row in _report(run.evaluation, "06")["paired"] if row["number"].startswith("chrF")]
    seen = {"rows": chrf[0]["rows"], "verdict": _(TOO_FEW)}
    if not all(row["verdict"] == TOO_FEW for row in chrf):
        raise Missing(
            _("chrF was measured on {rows} replies and has a verdict: set count=4 and run from there.").format(**seen)
        )
    return _("On {rows} replies the verdict is {verdict!r}: a number alone would have looked like an answer.").format(
        **seen
    )


def held_out_loss(run: RunDir) -> float:
    """The last held-out loss of a training, nats per learned token."""
    return [row["eval_loss"] for row in read_jsonl(run.metrics) if "eval_loss" in row][-1]


def _record(path: Path) -> dict:
    """The JSON object in a file; empty where there is none, or one that cannot be read."""
    return Fence(path.parent, {}).record(path.name)


def _rows(path: Path) -> list[dict]:
    """The rows of a JSON-lines file; none where it cannot be read."""
    try:
        rows = read_jsonl(path)
    except (OSError, ValueError, RecursionError):
        return []
    return rows if all(isinstance(row, dict) for row in rows) else []


def _report(path: Path, number: str) -> dict:
    if not path.exists():
        told = _("{run} has no {file} yet: set what the exercise asks for, and run {number} from the top.")
        raise Missing(told.format(run=path.parent.name, file=path.name, number=number))
    return read_json(path)


def _runs(run: RunDir) -> list[tuple[RunDir, dict]]:
    """All runs in the folder of `run` with their settings, oldest first; a folder without settings of ours is none."""
    folders = [folder for folder in Fence(run.path.parent, {}).folders() if "config.json" in folder.files]
    folders.sort(key=lambda folder: folder.time("config.json"))
    read = [(RunDir(folder.path), folder.record("config.json")) for folder in folders]
    needed = ("run_name", "preset", "learning_rate", "lora_r", "dataset_id", *SAME)
    return [(run, settings) for run, settings in read if all(name in settings for name in needed)]


def _run_with(run: RunDir, file: str, notebook: str, **settings) -> RunDir:
    """The newest run whose config.json has `settings` and where `file` lies; raises Missing when there is none."""
    seen = {"settings": ", ".join(f"{name}={value!r}" for name, value in settings.items()), "notebook": notebook}
    found = [other for other, has in _runs(run) if all(has.get(name) == value for name, value in settings.items())]
    if not found:
        told = _("No run in {folder} has {settings}: set it in OVERRIDES with a run_name (or fork a run: python -m helpers.runs fork), "
                 "and run {notebook} from the top.")  # fmt: skip
        raise Missing(told.format(folder=run.path.parent, **seen))
    for other in reversed(found):
        if (other.path / file).exists():
            return other
    told = _("{run} has {settings}, but no {file} yet: run {notebook} from the top.")
    raise Missing(told.format(run=found[-1].path.name, file=file, **seen))


def _number(answer, what: str) -> float:
    """`answer` as a number, "12 %" as 0.12; raises Missing that asks for it when it is none."""
    if answer is None:
        raise Missing(_("Still missing is the answer: {what}. Write it into the cell as answer=...").format(what=what))
    text = str(answer).strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise Missing(
            _("answer={answer!r} is not a number. Asked for is {what}.").format(answer=answer, what=what)
        ) from None


def _other(answer, hint: str) -> Missing:
    return Missing(_("You say {answer}; it is another number. {hint}").format(answer=answer, hint=hint))


EXERCISES = {
    "03.1": questions_learned_too,
    "03.2": rows_cut,
    "03.3": own_rows,
    "04.1": resumed,
    "04.2": smaller_rank,
    "04.3": too_hot,
    "05.1": merge_by_setting,
    "05.2": files_of_the_merge,
    "06.1": sampled,
    "06.2": own_question,
    "06.3": too_few,
    "A4.1": rank_of_the_change,
    "A4.2": both_start_at_zero,
    "A4.3": rslora,
}
