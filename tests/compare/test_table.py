"""Runs beside each other: the order, the paired tests, what is refused, and fifty of them."""

import math
import re
import time

import pytest

from helpers.compare.proven import proven
from helpers.compare.runs import differing, read_runs
from helpers.compare.seeds import repeated, seed_gap, seeds_table
from helpers.compare.table import against_best, best_first, curves_chart, paired, runs_table
from helpers.evaluate.intervals import FEWEST
from helpers.files import read_json, write_json
from helpers.paths import runs_root
from tests.compare.made_runs import make_run

BASE = [2.0 + 0.1 * (i % 7) for i in range(24)]


def noisy(shift: float) -> list[float]:
    return [x + shift + 0.004 * (-1) ** i for i, x in enumerate(BASE)]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))


def by_name(trials):
    return {trial.name: trial for trial in trials}


def test_best_first_with_the_settings_that_differ_and_one_verdict_each():
    make_run("tiny", noisy(0.0), lora_r=8)
    make_run("worse", noisy(0.05), lora_r=2)
    make_run("same", noisy(0.002), lora_r=4, price_per_hour=0.5)
    make_run("unsure", [x + 0.03 + 0.5 * (-1) ** i for i, x in enumerate(BASE)], lora_r=16)
    make_run("later", None, lora_r=32)
    trials = read_runs()
    assert differing(trials) == ["lora_r"]
    table = runs_table(trials)
    assert [row["run"] for row in table.rows] == ["tiny", "same", "unsure", "worse", "later"]
    assert [row["verdict"] for row in table.rows] == ["the best", "no difference that matters", "unclear", "worse", ""]
    assert [row["lora_r"] for row in table.rows] == ["8", "4", "16", "2", "32"]
    assert table.rows[-1]["state"] == "not trained"
    assert table.rows[1]["cost"] == pytest.approx(0.5 * 61 / 3600) and table.rows[0]["memory"] == "900 MB"
    assert "stops" not in table.rows[0]  # nobody has measured it
    gap = against_best(trials)["worse"]
    assert gap["difference"] == pytest.approx(0.05) and gap["level"] == pytest.approx(1 - 0.05 / 3)
    told = " ".join(proven(trials))
    assert "Proven: tiny is better than worse." in told and "as good as tiny, within the margin: same." in told
    assert "neither better nor worse than tiny: unsure" in told and "Not compared: later" in told


def test_the_margin_decides_on_both_sides():
    make_run("a", BASE)
    make_run("beyond", [x + 0.0205 for x in BASE])
    make_run("within", [x + 0.0195 for x in BASE])
    verdicts = {name: gap["verdict"] for name, gap in against_best(read_runs()).items()}
    assert verdicts == {"beyond": "worse", "within": "no difference that matters"}


def test_runs_that_held_out_other_rows_are_refused_in_a_sentence():
    make_run("a", BASE)
    make_run("b", noisy(0.1))
    make_run("other", [1.0] * 24, rows=[f"other-{i}" for i in range(24)], max_length=64)
    trials = read_runs()
    assert [trial.name for trial in best_first(trials)] == ["a", "b", "other"]  # 1.0 is of other rows: not the best
    told = against_best(trials)["other"]["refused"]
    assert told == "no test: 0 of 24 rows held out by both, since these differ: max_length"
    assert "Not compared: other" in " ".join(proven(trials))


@pytest.mark.parametrize(
    ("shared", "tokens", "tested"), [(FEWEST - 1, 10, False), (FEWEST, 10, True), (24, 11, False), (24, 10, True)]
)
def test_rows_that_both_held_out_by_the_same_tokens_are_tested_from_the_fewest_on(shared, tokens, tested):
    make_run("a", BASE)
    rows = [f"row-{i}" if i < shared else f"other-{i}" for i in range(24)]
    make_run("b", [x + 0.1 for x in BASE], rows=rows, tokens=tokens)
    found = by_name(read_runs())
    gap = paired(found["a"], found["b"])
    assert ("refused" not in gap) is tested and gap.get("rows", shared) == shared


def test_what_06_measured_is_shown_and_what_cannot_be_read_is_said(capsys):
    make_run("a", BASE)
    old = make_run("old", BASE)
    old.held_out.unlink()
    adapter = {"nll": 2.5, "nll_low": 2.4, "nll_high": 2.6, "stops": 0.5, "replies": 12}
    lost = {"adapter": {"difference": 0.25, "low": 0.2, "high": 0.3}}
    write_json(old.evaluation, {"models": {"adapter": adapter}, "forgetting": lost})
    (runs_root() / "broken").mkdir()
    (runs_root() / "broken" / "config.json").write_text('{"lora_rank": 3}')
    table = runs_table(read_runs())
    row = next(row for row in table.rows if row["run"] == "old")
    assert (row["NLL"], row["stops"], row["forgotten"]) == ("2.500", "6 of 12", "+0.250 (+0.200 to +0.300)")
    assert "without single rows" in row["against the best"]
    assert re.search("broken cannot be read, and is left out: .*lora_rank is no setting", capsys.readouterr().out)


@pytest.mark.parametrize(("file", "text"), [("held_out", "[]"), ("evaluation", "null"), ("data_report", "[1]")])
def test_a_file_of_another_kind_takes_one_run_out_and_not_the_page(capsys, file, text):
    make_run("sound", BASE)
    getattr(make_run("broken", BASE), file).write_text(text)
    assert [trial.name for trial in read_runs()] == ["sound"]
    assert "broken cannot be read, and is left out" in capsys.readouterr().out


def test_stops_say_how_they_were_asked_for_where_that_differs():
    decodings = {"a": "greedy, at most 48 new tokens", "b": "greedy, at most 48 new tokens", "c": "drawn"}
    for name, decoding in decodings.items():
        adapter = {"nll": 2.5, "nll_low": 2.4, "nll_high": 2.6, "stops": 0.5, "replies": 12}
        write_json(make_run(name, BASE).evaluation, {"decoding": decoding, "models": {"adapter": adapter}})
    found = by_name(read_runs())
    alike = runs_table([found["a"], found["b"]]).rows
    assert {row["stops"] for row in alike} == {"6 of 12"}
    apart = {row["run"]: row["stops"] for row in runs_table([found["a"], found["c"]]).rows}
    assert apart == {"a": "6 of 12; greedy, at most 48 new tokens", "c": "6 of 12; drawn"}


def test_nothing_there_is_no_error():
    assert runs_table(read_runs()).rows == [] and "nothing to compare" in proven(read_runs())[0]
    assert "no run yet" in curves_chart(read_runs()).alt and seeds_table(read_runs()).rows == []


def test_fifty_runs_open_in_seconds():
    for i in range(50):
        make_run(f"run-{i:02}", noisy(i / 100), lora_r=1 + i, learning_rate=1e-4 * (1 + i % 5))
    start = time.process_time()
    trials = read_runs()
    table, (axes,) = runs_table(trials), curves_chart(trials).figure.axes
    assert time.process_time() - start < 5
    assert [row["run"] for row in table.rows][:2] == ["run-00", "run-01"] and len(table.rows) == 50
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"run-{i:02}" for i in range(10)]
    assert table.rows[1]["against the best"].startswith("+0.010 (") and table.rows[49]["verdict"] == "worse"


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_what_is_no_number_never_reaches_a_verdict(bad):
    make_run("good", BASE)
    broken = make_run("broken", BASE)
    found = read_json(broken.held_out)
    write_json(broken.held_out, {**found, "nll": [bad, *found["nll"][1:]]})
    trials = read_runs()
    table, told = runs_table(trials), " ".join(proven(trials))
    assert [row["run"] for row in table.rows] == ["good", "broken"] and "Not compared: broken" in told
    assert "nan" not in f"{table!r}{told}".lower() and "broke down" in by_name(trials)["broken"].summary


SEEDS = (1, 2, 3)


def seeded(name: str, shifts, **settings) -> None:
    for seed, shift in zip(SEEDS, shifts, strict=True):
        make_run(f"{name}-{seed}", [x + shift for x in BASE], training_seed=seed, **settings)


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [
        ((0.20, 0.21, 0.20), "worse"),
        ((0.02, 0.40, 0.20), "unclear"),  # the rows alone would prove it; the seeds do not agree
        ((0.001, 0.0, 0.001), "no difference that matters"),
    ],
)
def test_a_setting_with_seeds_needs_rows_and_seeds(shifts, verdict):
    seeded("a", (0.0, 0.001, 0.0), lora_r=4)
    seeded("b", shifts, lora_r=8)
    trials = read_runs()
    best, other = repeated(trials)
    gap = seed_gap(best, other)
    assert gap["verdict"] == verdict and gap["seeds"] == 3 and {t.config.lora_r for t in best} == {4}
    first, second = seeds_table(trials).rows
    assert first["seeds"] == 3 and second["verdict"] == verdict and second["lora_r"] == 8
    told = " ".join(proven(trials))
    assert "over rows and over seeds" in told or verdict == "unclear" and "do not both prove" in told
    assert "Each was trained once" not in told


def test_one_seed_each_is_said_to_be_luck():
    make_run("a", BASE, training_seed=1)
    make_run("b", noisy(0.1), training_seed=1, lora_r=2)
    assert repeated(read_runs()) == [] and "Each was trained once" in proven(read_runs())[-1]
    make_run("c", noisy(0.1), training_seed=2, lora_r=2)
    assert "spread" in proven(read_runs())[-1] and len(seeds_table(read_runs()).rows) == 1


def test_checks_are_columns():
    run = make_run("a", BASE)
    write_json(run.evaluation, {"models": {"base": {}}, "checks": {"<exact>": {"base": 0, "adapter": 38, "of": 48}}})
    (row,) = runs_table(read_runs()).rows
    assert row["<exact>"] == "79% of 48" and "<exact>" not in runs_table(read_runs())._repr_html_()


def test_runs_and_checks_with_the_names_of_our_words_stay_as_they_are(monkeypatch):
    """In Korean "no", "merged" and "text" are words of the catalogue; a check may be called as a column is."""
    monkeypatch.setenv("QLORA_LANG", "ko")
    for name, shift in (("merged", 0.0), ("no", 0.05), ("text", 0.002)):
        run = make_run(name, noisy(shift), optim="adamw_torch" if shift else "sgd")
        counts = {"of": 9, "base": 0, "adapter": 5, "merged": 5}
        old = {"models": {"adapter": {"stops": 1.0, "replies": 9}}, "checks": {"time": counts, "no": counts}}
        write_json(run.evaluation, old)
    table = runs_table(read_runs())
    assert [row["run"] for row in table.rows] == ["merged", "text", "no"]
    first = table.rows[0]
    assert {"time()", "no", "optim", "time"} <= first.keys() and first["time"] != first["time()"]
    heads = repr(table).splitlines()[1]
    assert "time()" in heads and " no " in heads and "optim" in heads
    told = " ".join([repr(table), *proven(read_runs()), curves_chart(read_runs()).alt, *read_runs()[0].summary])
    assert "아니요" not in told and "병합한" not in told and all(name in told for name in ("merged", "no", "text"))
