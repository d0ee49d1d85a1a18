"""The exercises ("Try it") of the notebooks: `check` looks at what lies on the disk, or at an answer, and says one sentence.

An exercise is a function of the run and the answer. It returns the sentence of a solved one, or raises `Missing` with what
is still to be done. It looks at all runs in the folder of the given one, since many exercises begin a run of their own.
"""

from __future__ import annotations

import copy

from helpers.files import read_json, read_jsonl
from helpers.runs import RunDir
from helpers.settings import PRESETS, SAMPLE_DATA, RunConfig
from helpers.show.tables import Answer


class Missing(Exception):
    """What an exercise still lacks, as a sentence that says how to go on."""


def check(exercise: str, run: RunDir, answer=None) -> Answer:
    """Is the exercise solved? `exercise` is notebook and number, such as "03.1"; `answer` what its question asks for.

    Raises ValueError only for an exercise that does not exist; an unsolved one is an `Answer` that says what is missing.
    """
    return answered(EXERCISES, "exercise", exercise, run, answer)


def answered(tasks: dict, kind: str, name: str, run: RunDir, answer, **seen) -> Answer:
    """What the task `name` of `tasks` says to `answer`. Raises ValueError that lists the known ones for another name."""
    if name not in tasks:
        raise ValueError(f"There is no {kind} {name!r}: use {', '.join(tasks)}.")
    try:
        return Answer(True, tasks[name](run, answer, **seen))
    except Missing as still:
        return Answer(False, str(still))


def questions_learned_too(run: RunDir, answer) -> str:
    """03.1: a run that learns the whole text; the answer is the share of tokens that are green."""
    there = _run_with(run, "data_report.json", "03 from the top", answer_only_loss=False)
    numbers = read_json(there.data_report).get("numbers")
    if not numbers:
        raise Missing(f"{there.path.name} has no verdicts yet: run 03 to its end.")
    share = numbers["tokens learned"] / max(numbers["tokens"], 1)
    said = _number(answer, "the share of tokens that are learned, between 0 and 1, from the tables under 'The verdict'")
    if abs(said - share) > 0.01:
        raise Missing(f"You say {said:g}; {there.path.name} has another share. Divide 'tokens learned' by 'tokens'.")
    return f"In {there.path.name}, {share:.0%} of the tokens are learned: the questions and the template too."


def rows_cut(run: RunDir, answer) -> str:
    """03.2: a run with a max_length that is too small; the answer is how many verdicts are red."""
    there = _run_with(run, "data_report.json", "03 from the top", max_length=64)
    report = read_json(there.data_report)
    red = [verdict for verdict in report.get("verdicts", []) if not verdict["ok"]]
    if not red:
        raise Missing(f"With max_length 64 no verdict is red in {there.path.name}: your rows are short. Try 32.")
    said = _number(answer, "how many verdicts are red, from the table of the verdicts")
    if said != len(red):
        raise Missing(f"You say {said:g}; {there.path.name} has another number of red verdicts. Count the red rows.")
    told = "; ".join(f"{verdict['check']} ({verdict['fix']})" for verdict in red)
    return f"Red are: {told}. Notebook 04 refuses this run."


def own_rows(run: RunDir, answer) -> str:
    """03.3: a run on a file of one's own with at least ten conversations, none of them dropped."""
    found = [
        (other, settings) for other, settings in _runs(run)
        if settings["dataset_id"] != SAMPLE_DATA and other.data_report.exists()
    ]  # fmt: skip
    if not found:
        raise Missing(
            "No run here has read a file of your own: write the CSV file, set dataset_id and a run_name in OVERRIDES, and run 03."
        )
    other, settings = found[-1]
    rows = read_json(other.data_report)["rows"]
    if rows["read"] < 10:
        raise Missing(f"{settings['dataset_id']} has {rows['read']} rows; ten were asked for.")
    if rows["dropped"]:
        raise Missing(
            f"{rows['dropped']} of {rows['read']} rows of {settings['dataset_id']} were dropped: the table of 03 says why."
        )
    return f"{rows['read']} rows of {settings['dataset_id']} were read, {rows['train']} to train on, {rows['eval']} held out."


def resumed(run: RunDir, answer) -> str:
    """04.1: a training that was stopped and went on: metrics.jsonl holds the rows of two sittings or more."""
    rows = {other.path.name: read_jsonl(other.metrics) for other, _ in _runs(run) if other.metrics.exists()}
    sittings = {name: max((row.get("sitting", 1) for row in found), default=1) for name, found in rows.items()}
    stopped = [name for name, count in sittings.items() if count > 1]
    if not stopped:
        raise Missing(
            "Every training here ran in one sitting: stop the training cell after its first checkpoint, and run it again."
        )
    last = max(row["step"] for row in rows[stopped[-1]])
    return f"{stopped[-1]} was trained in {sittings[stopped[-1]]} sittings, and its record goes on up to step {last}."


def smaller_rank(run: RunDir, answer) -> str:
    """04.2: a finished run of rank 2 beside one of a larger rank; the answer is the difference of their held-out losses."""
    small = _run_with(run, "trained.json", "04", lora_r=2)
    settings = read_json(small.config_json)
    same = ("model_id", "dataset_id", "seed", "num_train_epochs", "max_steps", "learning_rate")
    larger = [
        other for other, s in _runs(run)
        if s["lora_r"] > 2 and other.trained.exists() and all(s[name] == settings[name] for name in same)
    ]  # fmt: skip
    if not larger:
        raise Missing(
            f"{small.path.name} is trained. Next comes a run with a larger rank and otherwise the same settings, to compare with."
        )
    larger.sort(key=lambda other: other.path != run.path)  # the run of this page first
    difference = held_out_loss(small) - held_out_loss(larger[0])
    said = _number(answer, f"the held-out loss of {small.path.name} less that of {larger[0].path.name}")
    if abs(said - difference) > 0.006:
        raise Missing(
            f"You say {said:g}; the last held-out losses of the two runs differ by another number. See 'training facts'."
        )
    return (
        f"{small.path.name} (rank 2): {held_out_loss(small):.3f} nats per token; {larger[0].path.name} "
        f"(rank {read_json(larger[0].config_json)['lora_r']}): {held_out_loss(larger[0]):.3f}."
    )


def too_hot(run: RunDir, answer) -> str:
    """04.3: a run with ten times the learning rate of its preset or more; what its held-out loss did is told."""
    hot = [
        (other, s) for other, s in _runs(run)
        if s["learning_rate"] >= 10 * PRESETS[s["preset"]].get("learning_rate", RunConfig.learning_rate)
        and other.metrics.exists()
    ]  # fmt: skip
    if not hot:
        raise Missing(
            "No run here was trained with ten times the learning rate of its preset: fork a run with learning_rate=0.5 (python -m helpers.runs fork), and run 04."
        )
    other, settings = hot[-1]
    losses = [row["eval_loss"] for row in read_jsonl(other.metrics) if "eval_loss" in row]
    if not losses:
        raise Missing(f"{other.path.name} has no held-out loss yet: let it train for a while.")
    return (
        f"{other.path.name}, learning rate {settings['learning_rate']:g}: the held-out loss began at {losses[0]:.2f}, "
        f"was {max(losses):.2f} at its worst and {losses[-1]:.2f} in the end."
    )


def rank_of_the_change(run: RunDir, answer) -> str:
    """A4.1: the smallest rank that learns a change of rank 2."""
    if _number(answer, "the smallest rank whose loss falls to about 0") != 2:
        raise Missing(
            f"You say {answer}. Set `change` to rank 2 (64 x 2 times 2 x 64), run the cells below it, and look at the bars."
        )
    return "A branch can write down any change up to its own rank: 2 is enough for 2."


def both_start_at_zero(run: RunDir, answer) -> str:
    """A4.2: with A and B both zero nothing is learned, so the loss falls by 0."""
    if abs(_number(answer, "the first loss less the last one")) > 1e-6:
        raise Missing(
            f"You say {answer}. Is `A` zero, and does `learn` get the new layer? Print losses[0] - losses[-1]."
        )
    return "Each matrix's gradient is a product with the other one, so two zeros never begin to learn."


def rslora(run: RunDir, answer) -> str:
    """A4.3: a class of a LoRA layer, scaled by alpha / sqrt(r); compared with peft's layer with use_rslora."""
    import torch
    from peft import LoraConfig, get_peft_model

    if not isinstance(answer, type):
        raise Missing(
            "Write the class RsLora and give it itself, not an object of it: answer=RsLora. It should begin with class RsLora(LoraLinear):"
        )
    x, base = torch.randn(4, 16), torch.nn.Linear(16, 8)
    theirs = get_peft_model(
        torch.nn.Sequential(copy.deepcopy(base)),
        LoraConfig(r=9, lora_alpha=6, target_modules=["0"], use_rslora=True, init_lora_weights=False),
    )
    branch = theirs.base_model.model[0]
    try:
        mine = answer(base, r=9, alpha=6)
        mine.A.data, mine.B.data = branch.lora_A["default"].weight.data, branch.lora_B["default"].weight.data
        off = (mine(x) - theirs(x)).abs().max().item()
    except Exception as error:  # the participant's own code: whatever it raises is the answer
        raise Missing(
            f"Your class raises {type(error).__name__}: {error}. It should be made by {answer.__name__}(base, r=9, alpha=6)."
        ) from None
    if not off < 1e-5:
        raise Missing(
            f"Its answers differ from those of peft's rsLoRA by up to {off:.2g}. The scale should be alpha / r**0.5: set self.scale."
        )
    return "It answers as peft's layer with use_rslora=True does."


def merge_by_setting(run: RunDir, answer) -> str:
    """05.1: a merge report whose choice was made by the setting."""
    report = _report(run, run.merge_report, "05")
    if "merge_method" not in report["chosen_because"]:
        raise Missing(
            f"{report['chosen']} was chosen by the rule: set merge_method in OVERRIDES and run 05 from the top."
        )
    return f"{report['chosen']} was chosen because {report['chosen_because']}."


def files_of_the_merge(run: RunDir, answer) -> str:
    """05.2: the answer is how many weight files merged/ has."""
    files = sorted(run.merged.glob("*.safetensors"))
    if not files:
        raise Missing(f"{run.path.name} has no merged/ yet: run 05 from the top.")
    if _number(answer, "how many .safetensors files merged/ has") != len(files):
        raise Missing(f"You say {answer}; count the .safetensors files in {run.merged} again.")
    return f"{len(files)} weight files, the largest has {max(path.stat().st_size for path in files):,} bytes."


def sampled(run: RunDir, answer) -> str:
    """06.1: an evaluation whose replies were sampled."""
    found = _report(run, run.evaluation, "06")
    if not found["temperature"]:
        raise Missing(f"The replies were decoded so: {found['decoding']}. Set temperature in OVERRIDES and run 06.")
    counts = ", ".join(f"{name} {row['stops']:.0%}" for name, row in found["models"].items())
    return f"Sampled with temperature {found['temperature']}. Replies that stop: {counts}."


def own_question(run: RunDir, answer) -> str:
    """06.2: a comparison that begins with a question of one's own."""
    from helpers.evaluate.prompts import FIXED_PROMPTS

    if not run.comparisons.exists():
        raise Missing(f"{run.path.name} has no comparisons yet: write your question into prompts[0] and run 06.")
    first = read_jsonl(run.comparisons)[0]
    if first["prompt"] in {row["question"] for row in FIXED_PROMPTS}:
        raise Missing(f"The first question is still {first['prompt']!r}: change it and run from there.")
    return f"Asked: {first['prompt']} The adapter says: {first.get('adapter') or '(nothing)'}"


def too_few(run: RunDir, answer) -> str:
    """06.3: an evaluation with so few replies that chrF gets no verdict."""
    from helpers.evaluate.intervals import TOO_FEW

    chrf = [row for row in _report(run, run.evaluation, "06")["paired"] if row["number"].startswith("chrF")]
    if not all(row["verdict"] == TOO_FEW for row in chrf):
        raise Missing(
            f"chrF was measured on {chrf[0]['rows']} replies and has a verdict: set count=4 and run from there."
        )
    return f"On {chrf[0]['rows']} replies the verdict is {TOO_FEW!r}: a number alone would have looked like an answer."


def _report(run: RunDir, path, number: str) -> dict:
    if not path.exists():
        raise Missing(
            f"{run.path.name} has no {path.name} yet: set what the exercise asks for, and run {number} from the top."
        )
    return read_json(path)


def held_out_loss(run: RunDir) -> float:
    """The last held-out loss of a training, nats per learned token."""
    return [row["eval_loss"] for row in read_jsonl(run.metrics) if "eval_loss" in row][-1]


def _runs(run: RunDir) -> list[tuple[RunDir, dict]]:
    """All runs in the folder of `run` with their settings, oldest first."""
    found = sorted(run.path.parent.glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    read = [(RunDir(path.parent), read_json(path)) for path in found]
    return [
        (run, settings) for run, settings in read if "run_name" in settings
    ]  # a model's folder has a config.json too


def _run_with(run: RunDir, file: str, how: str, **settings) -> RunDir:
    """The newest run whose config.json has `settings` and where `file` lies; raises Missing when there is none."""
    told = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    found = [other for other, has in _runs(run) if all(has.get(name) == value for name, value in settings.items())]
    if not found:
        raise Missing(
            f"No run in {run.path.parent} has {told}: set it in OVERRIDES with a run_name (or fork a run: python -m helpers.runs fork), and run {how}."
        )
    if not (done := [other for other in found if (other.path / file).exists()]):
        raise Missing(f"{found[-1].path.name} has {told}, but no {file} yet: run {how}.")
    return done[-1]


def _number(answer, what: str) -> float:
    """`answer` as a number, "12 %" as 0.12; raises Missing that asks for it when it is none."""
    if answer is None:
        raise Missing(f"Still missing is the answer: {what}. Write it into the cell as answer=...")
    text = str(answer).strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise Missing(f"answer={answer!r} is not a number. Asked for is {what}.") from None


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
