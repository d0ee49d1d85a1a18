"""Every exercise on both sides: what is missing is said in words that name the next step, and what is solved is told as
such."""

import json
import re

import nbformat
import pytest

from helpers.data.split import split_pairs
from helpers.evaluate.checks import load_checks
from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.files import read_jsonl, write_json, write_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Answer
from helpers.train.best import HeldOut
from helpers.train.preferences import OWN, fingerprint, preference_run, read_pairs, ready
from helpers.workshop.exercises import EXERCISES, check
from proofs.proof_exercises import DONE
from tests.compare.made_runs import make_run
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path):
    """Makes runs of preset tiny in one folder: settings, and the files that lie there."""

    def make(name, report=None, losses=(), finished=False, sitting=1, **settings):
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        run.config_json.write_text(RunConfig.load("tiny", run_name=name, **settings).to_json())
        if report is not None:
            write_json(run.data_report, report)
        if losses:
            rows = [{"step": 10 * i, "eval_loss": loss, "sitting": sitting} for i, loss in enumerate(losses)]
            run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if finished:
            write_json(run.trained, {"step": 10 * (len(losses) - 1)})
        return run

    return make


def report(red=(), learned=50, read=10, dropped=0):
    verdicts = [{"check": name, "ok": False, "fix": f"mend {name}"} for name in red] + [{"check": "fine", "ok": True}]
    rows = {"read": read, "train": read - dropped, "eval": 0, "dropped": dropped}
    return {"verdicts": verdicts, "rows": rows, "numbers": {"tokens": 200, "tokens learned": learned}}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_nothing_done_yet_is_told_with_the_next_step(exercise, folder):
    told = check(exercise, folder("untouched"), answer="abc")
    assert not told.solved and len(told.sentence) > 40 and "Not yet." in repr(told)
    assert any(word in told.sentence.lower() for word in ("overrides", "set ", "write ", "stop ", "asked for", "fork "))


def test_a_question_of_ones_own_and_one_of_ours(folder):
    run = folder("asked")
    row = {"prompt": FIXED_PROMPTS[1]["question"], "adapter": "서울이에요."}
    run.comparisons.write_text(json.dumps(row))
    assert not check("06.2", run).solved and f"is still {row['prompt']!r}" in check("06.2", run).sentence
    run.comparisons.write_text(json.dumps({**row, "prompt": "김치는 왜 시어져요?"}))
    assert check("06.2", run).solved and "시어져요? The adapter says: 서울" in check("06.2", run).sentence


def test_merges_and_replies_as_the_exercises_ask(folder):
    run = folder("done")
    write_json(run.merge_report, {"chosen": "16bit-base", "chosen_because": "the rule"})
    assert not check("05.1", run).solved
    write_json(
        run.merge_report, {"chosen": "16bit-base", "chosen_because": "the setting merge_method='16bit-base' says so"}
    )
    assert check("05.1", run).solved
    run.merged.mkdir()
    assert not check("05.2", run, 0).solved
    for number in range(2):
        (run.merged / f"model-{number}.safetensors").write_bytes(b"")
    assert check("05.2", run, 2).solved and not check("05.2", run, 3).solved
    for temperature, rows, verdict in ((0, 12, "better"), (0.8, 7, "too few rows")):
        models = {"base": {"stops": 0.5}}
        paired = [{"number": "chrF, 0 to 100", "rows": rows, "verdict": verdict}]
        write_json(
            run.evaluation, {"temperature": temperature, "decoding": "greedy", "models": models, "paired": paired}
        )
        assert check("06.1", run).solved == check("06.3", run).solved == bool(temperature)


def test_an_exercise_that_does_not_exist(folder):
    with pytest.raises(ValueError, match="no task '99.9': use 00.1"):
        check("99.9", folder("untouched"))


def test_every_check_in_a_notebook_exists_and_every_exercise_is_in_one():
    asked = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        found = set(re.findall(r'check\(\\"([\w.]+)\\"', path.read_text(encoding="utf-8")))
        assert all(name.startswith(path.stem[:2]) for name in found), path.name  # 00f: the first look
        asked |= found
    assert asked == set(EXERCISES)


def test_the_share_that_is_learned(folder):
    run = folder("begun", answer_only_loss=False)
    assert "no data_report.json yet" in check("03.1", run).sentence
    write_json(run.data_report, {"rows": {}})
    assert "run 03 to its end" in check("03.1", run, 0.5).sentence
    write_json(run.data_report, report(learned=194))
    assert "answer=..." in check("03.1", run).sentence
    assert "'much' is not a number" in check("03.1", run, "much").sentence
    assert not check("03.1", run, 0.95).solved and check("03.1", run, 0.97).solved
    assert not check("03.1", run, "nan").solved, "what is no number is near to none"
    assert check("03.1", run, "97 %").solved


def test_red_verdicts_are_counted(folder):
    run = folder("short", report(red=("nothing to learn", "cut")), max_length=64)
    assert not check("03.2", run, 1).solved
    told = check("03.2", run, 2)
    assert told.solved and "nothing to learn (mend nothing to learn); cut" in told.sentence
    assert "Try 32" in check("03.2", folder("green", report(), max_length=64), 0).sentence


@pytest.mark.parametrize(
    ("rows", "solved", "words"),
    [
        ({"read": 9}, False, "has 9 rows; ten"),
        ({"read": 10}, True, "10 rows"),
        ({"read": 10, "dropped": 1}, False, "1 of 10"),
    ],
)
def test_rows_of_ones_own(folder, tmp_path, rows, solved, words):
    told = check("03.3", folder("mine", report(**rows), dataset_id=str(tmp_path / "mine.csv")))
    assert told.solved is solved and words in told.sentence


def test_a_resumed_training(folder):
    assert not check("04.1", folder("once", losses=(3.0, 2.0))).solved
    told = check("04.1", folder("twice", losses=(3.0, 2.0), sitting=2))
    assert told.solved and "twice was trained in 2 sittings" in told.sentence and "step 10" in told.sentence


def test_two_ranks_are_compared_only_when_nothing_else_differs(folder):
    small = folder("rank-2", losses=(3.0, 1.25), lora_r=2)
    assert "no trained.json yet" in check("04.2", small).sentence
    write_json(small.trained, {"step": 10})
    folder("other-rate", losses=(3.0, 1.1), finished=True, lora_r=16, learning_rate=0.5)
    assert "a run with a larger rank" in check("04.2", small, 0.05).sentence
    folder("rank-16", losses=(3.0, 1.2), finished=True, lora_r=16)
    assert check("04.2", small, 0.055).solved and not check("04.2", small, 0.057).solved
    told = check("04.2", small, 0.05)
    assert told.solved and "rank-2 (rank 2): 1.250" in told.sentence and "rank-16 (rank 16): 1.200" in told.sentence


def test_a_learning_rate_too_high(folder):
    assert not check("04.3", folder("mild", losses=(3.0, 2.0), learning_rate=0.09)).solved
    told = check("04.3", folder("hot", losses=(3.0, 9.5, 8.0), learning_rate=0.1))
    assert told.solved and "9.50 at its worst and 8.00" in told.sentence


def test_a_check_of_substance(folder):
    run = folder("any")
    asked, right = {"role": "user", "content": "?"}, {"role": "assistant", "content": '{"event": "tea", "day": null}'}
    run.eval_jsonl.parent.mkdir(exist_ok=True)
    run.eval_jsonl.write_text(json.dumps({"messages": [asked, right]}) + "\n")
    cheap = check("A5.1", run, lambda messages, reply, reference: reply.startswith("{"))
    assert not cheap.solved and "The cheat still passes" in cheap.sentence
    assert "KeyError" in check("A5.1", run, lambda *_: {}["x"]).sentence
    assert check("A5.1", run, lambda messages, reply, reference: reply == reference).solved
    assert "refuses a right answer" in check("A5.1", run, lambda *_: False).sentence
    assert not check("A5.1", run).solved


def test_lora_by_hand(folder):
    run = folder("any")
    assert check("A4.1", run, 2).solved and not check("A4.1", run, 4).solved
    assert check("A4.2", run, 0).solved and not check("A4.2", run, 0.96).solved


def test_a_class_written_by_the_reader(folder):
    import torch

    class Plain(torch.nn.Module):
        power = 1.0

        def __init__(self, base, r, alpha, dropout=0.0):
            super().__init__()
            self.base, self.scale = base, alpha / r**self.power
            self.A, self.B = torch.nn.Parameter(torch.zeros(r, 16)), torch.nn.Parameter(torch.zeros(8, r))

        def forward(self, x):
            return self.base(x) + self.scale * x @ self.A.T @ self.B.T

    class RsLora(Plain):
        power = 0.5

    class Broken(Plain):
        def forward(self, x):
            raise KeyError("scale")

    run = folder("any")
    assert check("A4.3", run, RsLora).solved
    assert "alpha / r**0.5" in check("A4.3", run, Plain).sentence
    assert "KeyError: 'scale'" in check("A4.3", run, Broken).sentence


def test_an_answer_is_one_coloured_sentence_and_escaped():
    page = Answer(False, "<b> is missing")._repr_html_()
    assert "Not yet." in page and "&lt;b&gt; is missing" in page and "#6e7781" in page
    assert "#1a7f37" in Answer(True, "yes")._repr_html_()


def test_an_answer_that_is_read_off_the_page(folder):
    run = folder("any")
    assert check("01.2", answer="the RTX 3090 24 GB").solved and not check("01.2", answer="A100").solved
    assert "answer=..." in check("00.2", run).sentence and check("00.2", run, 80).solved
    for part in ("adapter", "the gradients", "optimizer state", "어댑터", "그래디언트", "옵티마이저 상태"):
        assert check("A1.2", run, part).solved, part
    assert all(check("00.2", run, whole).solved for whole in ("80", "80 GB", "A100: 80.0", 80.0))
    assert not any(check("00.2", run, other).solved for other in ("180", "800", "8.0", "80.5", "1,80", 180))
    assert check("01.1", run, "41GB").solved and not check("01.1", run, 410).solved
    assert not check("A1.2", run, "the base").solved
    assert check("A3.1", run, (0.15, 0.07)).solved and not check("A3.1", run, (0.07, 0.15)).solved
    assert not check("00f.2", answer=(2e-3, 15)).solved and check("00f.2", answer=(1e-5, 0)).solved


def test_a_message_without_a_place():
    def told(message, reply):
        return check("00f.1", answer=(message, reply))

    assert told("Lunch at one", '{"event": "lunch", "place": null}').solved
    assert "made up Luna" in told("Lunch at one", '{"place": "Luna"}').sentence
    with_ann = "Dinner with Ann on Friday at noon"
    for reply in ('{"place": "noon"}', '{"day": "Friday", "place": "Friday"}', '{"with": "Ann", "place": "Ann"}'):
        assert told(with_ann, reply).solved and "is no place, the model copied it" in told(with_ann, reply).sentence
    assert not told("Dinner at noon at Luna", '{"time": "noon", "place": "noon at Luna"}').solved
    assert "place is empty" in told(with_ann, '{"place": ""}').sentence
    assert not told("Lunch at Luna", '{"place": "Luna"}').solved and not told("Lunch", '{"event": 1}').solved
    assert told("Lunch", "Enjoy!").solved, "tiny writes no entry, whatever is asked"
    assert not told("Lunch at Café Luna", "Enjoy!").solved, "the page's own message is nobody's own"


def test_runs_that_the_pages_of_08_and_the_appendices_ask_for(folder):
    def judged(name, loss, **settings):
        run = folder(name, losses=(3.0, loss), finished=True, **settings)
        rows = [f"row {i}" for i in range(40)]
        HeldOut(20, 40, "", rows, [loss + 0.01 * (i % 3) for i in range(40)], [1] * 40).write(run)
        return run

    large, small = judged("large", 1.0, lora_r=16), judged("small", 1.5, lora_r=2)
    assert check("08.1", large, "worse").solved and not check("08.1", small, "better").solved
    assert not check("08.2", large, 20).solved
    judged("hot", 2.0, learning_rate=0.1, lora_r=16)
    assert check("08.2", large, 20).solved and not check("08.2", large, 40).solved
    made = folder("made")
    write_json(made.preference, {"beta": 0.1, "reward": ["closed", "exact"]})
    assert not check("A2.1", made, "lower").solved and not check("A5.2", made).solved
    write_json(made.preference, {"beta": 0.5, "reward": ["closed"]})
    assert check("A2.1", made, "lower").solved and not check("A2.1", made, "higher").solved
    assert check("A5.2", made).solved and "closed only" in check("A5.2", made).sentence
    for name in ("twin", "twin-again"):  # as 04.2 and 08.1 make the same run twice
        judged(name, 0.5, lora_r=2)
    assert check("08.1", large, "no difference that matters").solved and not check("08.1", large, "better").solved


def test_files_and_questions_of_07(folder):
    run = folder("served")
    row = {"bytes": 105e6, "nll": 0.025}
    write_json(run.served, {"files": {"model-q4_k_m.gguf": row, "model-f16.gguf": row}, "merged": {"nll": 0.024}})
    told = check("07.2", run, "q4_k_m")
    assert told.solved and "105 MB, +0.001 nats" in told.sentence and not check("07.2", run, "model").solved
    assert check("07.1", run, ("Tea at five?", "{}")).solved
    assert not check("07.1", run, ("Dinner with Jonas, Thursday", "{}")).solved


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The run tiny in a folder of its own, which pages find too, with twenty held-out rows."""
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    rows = read_jsonl(ROOT / "notebooks/data/calendar_en.jsonl")[:40]
    run = make_run("tiny", [6.8] * 20)
    write_jsonl(run.train_jsonl, rows[20:])
    write_jsonl(run.eval_jsonl, rows[:20])
    write_json(run.data_report, {"rows": {"train": 20}})
    load_tokenizer(run.stored_config()).save_pretrained(run.adapter)
    return run


def test_how_many_runs_of_a_sweep_were_stopped(made):
    folder = runs_root() / ".sweeps" / "tiny"
    for rank, stopped in ((1, True), (4, True), (16, False), (64, False)):
        fork = make_run(f"tiny-lora_r-{rank}", None if stopped else [6.8] * 20, lora_r=rank)
        if stopped:
            write_jsonl(fork.metrics, [{"step": step, "max_steps": 40, "eval_loss": 9 - step} for step in (0, 20)])
    make_run("tiny-learning_rate-0.1", [6.8] * 20)
    write_json(folder / "queue.json", ["tiny-learning_rate-0.1"])
    assert "No sweep of tiny over lora_r" in check("08.3", made, 0).sentence, "that is another sweep"
    write_json(folder / "queue.json", [f"tiny-lora_r-{rank}" for rank in (1, 4, 16, 64)])
    assert not check("08.3", made).solved and not check("08.3", made, 1).solved
    assert check("08.3", made, 2).solved and "tiny-lora_r-1, tiny-lora_r-4" in check("08.3", made, 2).sentence


def test_a_curve_over_the_rows_needs_three_sizes(made):
    for count, part in ((10, 8), (20, 4), (40, 2)):
        assert not check("09.3", made).solved
        fork = make_run(f"tiny-1of{part}-same-epochs-seed-1", [6.8] * 20)
        write_json(fork.data_report, {"rows": {"train": count}})
    assert check("09.3", made).solved and "10, 20, 40 rows" in check("09.3", made).sentence


def preferred(made, name: str, swapped: bool = False, beta: float = 0.1, nll: float = 0):
    """The run that A2 makes of the project's own pairs, with its measured NLL where it was trained to the end."""
    config = made.stored_config()
    pairs = ready(read_pairs(OWN, config), load_tokenizer(config), config)
    if swapped:
        pairs = pairs.rename_columns({"chosen": "rejected", "rejected": "chosen"})
    pairs = split_pairs(pairs, 0.25, config.seed)["train"]
    how = {"data": OWN, "beta": beta, "sha256": fingerprint(pairs)}
    run = preference_run(made, config, name, how, read_jsonl(made.eval_jsonl), len(pairs))
    if nll:
        HeldOut(10, 10, "", ["a", "b"], [10 * nll, 10 * nll], [10, 10]).write(run)


def test_a_firmer_beta_is_a_run_of_its_own(made):
    preferred(made, "tiny-dpo")
    assert not check("A2.1", made, "lower").solved
    preferred(made, "tiny-firm", beta=0.5)
    assert check("A2.1", made, "lower").solved and not check("A2.1", made, "higher").solved


def test_wrong_values_are_learned_from_swapped_pairs_alone(made):
    """Two numbers that differ are none: the usual run of the page has them, too."""
    preferred(made, "tiny-dpo", nll=6.76)
    assert "No run here has swapped pairs" in check("A2.2", made, (6.77, 6.76)).sentence
    preferred(made, "tiny-swapped", swapped=True)
    assert "tiny-swapped is not saved yet" in check("A2.2", made, (6.77, 6.9)).sentence
    preferred(made, "tiny-swapped", swapped=True, nll=6.903)
    assert "Two numbers" in check("A2.2", made, 6.9).sentence
    assert not check("A2.2", made, (59, 79)).solved and "NLL" in check("A2.2", made, (6.77, 6.76)).sentence
    assert check("A2.2", made, (6.771, 6.903)).solved


def test_the_checks_of_form_are_cheated_and_the_page_s_answer_is_not(made):
    form = load_checks("notebooks/data/calendar_checks.py")[0]["valid_json"]
    assert "The cheat still passes" in check("A5.1", made, form).sentence
    assert check("A5.1", made, eval(DONE["A5.1"].answer, {"json": json})).solved


def test_a_reward_for_form_alone(made):
    for name, checks, solved in (
        ("tiny-reward", ["closed", "exact"], False),
        ("tiny-form", ["closed", "copied"], True),
    ):
        preference_run(made, made.stored_config(), name, {"reward": checks}, read_jsonl(made.eval_jsonl), 20)
        assert check("A5.2", made).solved is solved
    assert "closed, copied" in check("A5.2", made).sentence


@pytest.mark.parametrize("name", EXERCISES)
def test_the_proof_does_each_exercise_as_its_page_is_today(name):
    number = {"00f": "00_first", "00.": "00_plan"}.get(name[:3], name[:2])
    [page] = (ROOT / "notebooks").glob(f"{number}*.ipynb")
    cells = [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"]
    assert [line for line in DONE[name].edits if not any(line in code for code in cells)] == []
