"""Rows that are unlike the others, forks without them, how much is enough, and luck."""

import math

import numpy
import pytest

from helpers.compare.curve import TooFewSizes, curve_chart, fit_curve, least_squares, worth
from helpers.compare.enough import by_size, subsets
from helpers.compare.luck import luck, luck_table, luck_told
from helpers.compare.runs import read_runs
from helpers.compare.seeds import repeated
from helpers.compare.suspects import RowLoss, TooFewHeldOut, mark_limit, suspects_table
from helpers.compare.take_out import _widget, gained, next_step, tick_page, without
from helpers.data.reasons import Reason
from helpers.data.split import left_out, row_hash
from helpers.data.verdicts import prepare_again
from helpers.evaluate.held_out import Surprise
from helpers.files import read_json, read_jsonl, write_json
from helpers.paths import runs_root
from helpers.runs import RunDir, fork
from helpers.settings import RunConfig
from tests.compare.made_runs import make_run


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))


@pytest.fixture
def run():
    """A run after 03, of 60 calendar messages."""
    config = RunConfig.load("tiny", run_name="old", max_rows=60)
    run = RunDir.open(config)
    run.save_config(config)
    prepare_again(run)
    return run


# --- rows


@pytest.mark.parametrize("held_out", [19, 20, 60, 200])
def test_sound_rows_are_marked_as_rarely_as_it_says(held_out):
    """Whatever the shape of the losses: the limit is a place in the order."""
    draw, shares = numpy.random.default_rng(0), []
    for _ in range(2000):
        losses = draw.pareto(2, held_out + 100)
        shares.append((losses[held_out:] > mark_limit(losses[:held_out].tolist())).mean())
    assert 0.03 < numpy.mean(shares) <= 0.052, numpy.mean(shares)


def test_too_few_held_out_rows_mark_nothing():
    with pytest.raises(TooFewHeldOut) as refused:
        mark_limit([1.0] * 18)
    assert refused.value.rows == 18 and "19 are needed" in str(refused.value)


@pytest.mark.slow
def test_a_row_that_was_taken_out_is_counted_and_stays_out_of_every_fork(run):
    rows, held = read_jsonl(run.train_jsonl), run.eval_jsonl.read_text()
    fewer = without("old", rows[:3])
    assert without("old", rows[2::-1]).path == fewer.path and without("old", rows[:2]).path != fewer.path
    assert read_jsonl(fewer.train_jsonl) == rows[3:] and fewer.eval_jsonl.read_text() == held
    report = read_json(fewer.data_report)
    (drop,) = (drop for drop in report["drops"] if drop["code"] == Reason.LEFT_OUT.name)
    assert drop["rows"] == 3 and report["rows"]["train"] == len(rows) - 3 and report["lost"]["ok"]
    assert report["rows"]["read"] == sum(report["rows"][part] for part in ("train", "eval", "dropped"))
    assert left_out(fork(fewer.path.name, "later", chosen=False, max_length=128)).keys() == set(map(row_hash, rows[:3]))
    assert left_out(run) == {} and fewer.path.name in next_step(fewer)


def test_a_click_makes_the_fork(run):
    surprise, rows = Surprise([0.1, 4.0], 5, 1, 2), read_jsonl(run.train_jsonl)[:2]
    *boxes, button, told = _widget("old", [RowLoss(row, surprise, surprise, "", "a", "b") for row in rows]).children
    button.click()
    assert told.value == "No row is ticked."
    boxes[1].value = True
    button.click()
    (fork,) = (path for path in runs_root().iterdir() if "without" in path.name)
    assert left_out(RunDir(fork)).keys() == {row_hash(rows[1])} and fork.name in told.value


def test_whether_it_became_better():
    make_run("old", [1.0 + i % 5 / 10 for i in range(24)])
    make_run("new", [0.8 + i % 5 / 10 for i in range(24)])
    assert "-0.200" in gained("old", "new") and gained("old", "new").endswith("better.")
    make_run("other", [1.0] * 24, rows=[str(i) for i in range(24)])
    assert "no test" in gained("old", "other")


def test_the_table_shows_text_of_strangers_as_text():
    surprise = Surprise([0.1, 4.0], 5, 1, 2)
    row = {"messages": [{"role": "user", "content": "<b>when?</b>"}, {"role": "assistant", "content": "x"}]}
    found = [RowLoss(row, surprise, surprise, '"time": "', "<i>", "<u>", marked=True)]
    shown = suspects_table(found)
    assert shown.rows[0]["loss"] == "2.05" and "1 of 1 rows" in shown.caption
    assert not tick_page("old", found).rows, "on paper the table above is not shown twice"
    assert "<b>" not in shown._repr_html_() and "<i>" not in shown._repr_html_()


# --- how much


def test_subsets_hold_out_the_same_rows_and_are_of_one_draw(run):
    forks = subsets("old", seeds=[1])
    sizes = [len(read_jsonl(fork.train_jsonl)) for fork in forks]
    every = len(read_jsonl(run.train_jsonl))
    assert sizes == [round(every / 8), round(every / 4), round(every / 2), every]
    assert {fork.eval_jsonl.read_text() for fork in forks} == {run.eval_jsonl.read_text()}
    assert {fork.stored_config().max_steps for fork in forks} == {40}
    texts = [{row_hash(row) for row in read_jsonl(fork.train_jsonl)} for fork in forks]
    assert texts[0] < texts[1] < texts[2] < texts[3]
    assert [f.stored_config().max_steps for f in subsets("old", [1], "epochs")] == [5, 10, 20, 40]


def measured(power=0.5, seeds=(1, 2), sizes=(50, 100, 200, 400)):
    """Runs as `subsets` makes them, whose loss is 1 + 10 n^-power, with rows and seeds that differ."""
    draw = numpy.random.default_rng(0)
    easy = draw.normal(0, 0.3, 40)
    for part, size in zip((8, 4, 2, 1), sizes, strict=True):
        for seed in seeds:
            shift = 1 + 10 * size**-power + draw.normal(0, 0.01)
            name = f"old-1of{part}-same-steps-seed-{seed}"
            run = make_run(name, (shift + easy + draw.normal(0, 0.05, 40)).tolist(), training_seed=seed)
            write_json(run.data_report, {"rows": {"train": size}})


def test_the_curve_holds_the_truth_and_tells_what_more_rows_are_worth():
    measured()
    curve = fit_curve(by_size("old"))
    middle, low, high = curve.doubled(400)
    truth = 10 * (400**-0.5 - 800**-0.5)
    assert low <= truth <= high and high - low < 0.3 and low <= middle <= high
    assert worth(curve) == f"Twice your 400 rows is worth {middle:.2f} nats less ({low:.2f} to {high:.2f})."
    assert worth(curve) in curve_chart({"steps": curve}).alt
    assert 0.003 < curve.spread < 0.06 and curve.expected(400)[2] - curve.expected(400)[1] > 2 * curve.spread


def test_a_curve_needs_three_sizes():
    measured()
    with pytest.raises(TooFewSizes):
        fit_curve(dict(list(by_size("old").items())[:2]))
    assert by_size("none") == {}


@pytest.mark.parametrize("common", [0, 1])
def test_a_curve_through_runs_on_other_rows_or_hardly_any_is_refused(common):
    for part, size in ((8, 50), (4, 100), (2, 200)):
        rows = [f"row-{i}" if i < common else f"{part}-{i}" for i in range(20)]
        run = make_run(f"old-1of{part}-same-steps-seed-1", [3 - size / 400] * 20, rows)
        write_json(run.data_report, {"rows": {"train": size}})
    with pytest.raises(TooFewSizes, match=f"{common} held-out rows are the same"):
        fit_curve(by_size("old"))


def test_the_fit_gives_back_what_the_curve_was_made_of():
    sizes = numpy.array([50.0, 100, 200, 400])
    for a, b, c in ((0.5, 8.0, 0.5), (0.0, 3.0, 0.3), (1.0, 0.0, 0.5)):
        found = least_squares(sizes, (a + b * sizes**-c)[None])[0]
        assert found[0] + found[1] * 900 ** -found[2] == pytest.approx(a + b * 900**-c, abs=0.02)
    rising = least_squares(sizes, numpy.array([[1.0, 1.1, 1.2, 1.3]]))[0]
    assert rising[1] == 0 and rising[0] == pytest.approx(1.15)  # more rows never do harm in this form


# --- luck


@pytest.mark.parametrize(("rows", "seeds", "larger"), [(1.0, 0.01, "rows"), (0.01, 0.3, "seeds")])
def test_which_luck_is_the_larger(rows, seeds, larger):
    for seed in range(4):
        make_run(f"s{seed}", [2 + rows * (-1) ** i + seeds * (-1) ** seed for i in range(40)], training_seed=seed)
    (group,) = repeated(read_runs())
    found = luck(group)
    assert found.larger == larger and larger in luck_told(found) and "rough guess" in luck_told(found)
    assert found.over_seeds == pytest.approx(seeds / math.sqrt(3), rel=0.01)
    assert found.over_rows == pytest.approx(rows / math.sqrt(39), rel=0.05)
    assert found.error(rows=4, seeds=4) == pytest.approx(found.error() / 2)
    assert luck_table([group]).rows[0]["seeds"] == 4


def test_of_one_held_out_row_the_luck_of_the_rows_is_not_known():
    for seed in range(2):
        make_run(f"s{seed}", [2.0 + seed], training_seed=seed)
    (group,) = repeated(read_runs())
    assert luck(group).over_rows == math.inf and luck_table([group]).rows[0]["held-out rows"] == 1
    assert "hold out more of them" in luck_told(luck(group))
