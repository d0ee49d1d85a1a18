"""The gate: what stops a model, what lets it pass, and what would decide."""

import math
import re
from dataclasses import replace

import numpy
import pytest

from helpers.evaluate import facts
from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.facts import SHIP, STOP, UNDECIDED, rival, verdict_of
from helpers.evaluate.gate import decide, main
from helpers.evaluate.intervals import CHRF, NLL, UNCLEAR, WORSE, judged_difference, paired_difference, wilson_interval
from helpers.evaluate.numbers import CUT
from helpers.evaluate.power import at_level, seen
from helpers.evaluate.rivals import against, difference, seeds_of
from helpers.evaluate.served import Served
from helpers.files import write_json
from helpers.paths import runs_root
from helpers.runs import RunDir
from tests.compare.made_runs import make_run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))


def evaluated(name: str, shift: float = -0.5, spread: float = 0.05, rows: int = 48, **more) -> RunDir:
    """A run whose adapter differs from the base by `shift` nats a token, and row by row by `spread`."""
    draw = numpy.random.default_rng(len(name))
    base = (2 + draw.normal(0, 0.3, rows)).tolist()
    mine = [x + shift + y for x, y in zip(base, draw.normal(0, spread, rows), strict=True)]
    run, tokens = make_run(name, mine, **more), [10] * rows
    gap = judged_difference([10 * x for x in base], [10 * x for x in mine], tokens, 4)
    nll = {"base": {"nll": sum(base) / rows}, "adapter": {"nll": sum(mine) / rows}}
    Evaluation.of(run.stored_config(), nll, [{"number": NLL, "model": "adapter", "against": "base", **gap}]).write(run)
    write_json(run.merge_report, {"verdict": "green"})
    return run


def test_a_gain_has_to_be_proven_and_says_what_would_prove_it(place):
    code, reasons = decide(evaluated("good"))
    assert code == SHIP and "One seed" in reasons[1].sentence and "would have been seen" in reasons[1].sentence
    code, reasons = decide(evaluated("unclear", shift=-0.06, spread=0.3))
    assert code == UNDECIDED and re.search(r"About \d+ rows would tell", reasons[1].sentence)
    needed = int(re.search(r"About (\d+) rows", reasons[1].sentence)[1])
    assert 100 < needed < 5000 and decide(evaluated("longer", shift=-0.06, spread=0.3, rows=needed * 2))[0] == SHIP
    assert "No number of rows" in decide(evaluated("none", shift=-0.01, spread=0.3))[1][1].sentence
    assert decide(evaluated("bad", shift=0.4))[0] == STOP


@pytest.mark.parametrize(("shifts", "code"), [((-0.5, -0.51, -0.49), SHIP), ((-0.5, -0.02, -0.9), UNDECIDED)])
def test_seeds_have_to_prove_the_gain_as_well(place, shifts, code):
    for seed, shift in enumerate(shifts):
        run = evaluated(f"seed{seed}", shift, training_seed=seed)
    evaluated("other", -0.1, training_seed=9, lora_r=2)
    evaluated("fewer", 0.3, training_seed=8)
    write_json(runs_root() / "fewer" / "data_report.json", {"hashes": {"train.jsonl": "others"}})
    found, reasons = decide(run)
    assert found == code and len(seeds_of(run)) == 3
    assert ("So do 3 seeds say" if code == SHIP else "But 3 seeds do not prove it") in reasons[1].sentence


def test_more_facts_make_each_of_them_harder_to_prove():
    gap = paired_difference([0.0] * 40, (0.04 + 0.05 * numpy.random.default_rng(1).normal(size=40)).tolist(), [1] * 40)
    assert verdict_of(gap, NLL, 1) == WORSE and verdict_of(gap, NLL, 5000) == UNCLEAR
    one, seven = (paired_difference([0.0] * 40, [x * 0.1 for x in range(40)], [1] * 40, n) for n in (1, 7))
    assert at_level(one, 7)["low"] == pytest.approx(seven["low"], rel=0.02)
    assert wilson_interval(40, 48, 5)[0] < wilson_interval(40, 48)[0]
    assert verdict_of({"verdict": WORSE}, NLL, 9) == WORSE  # of an older file


def test_a_served_file_that_lost_quality_stops(place):
    run = evaluated("run")
    good, tokens = [20.0 + i % 5 for i in range(24)], [10] * 24
    rows = {"merged": good, "a.gguf": [x + 0.01 * (i % 2) for i, x in enumerate(good)], "b.gguf": [x + 1 for x in good]}
    checks = {"exact": {"passed": 23, "of": 24}}
    found = {name: {"checks": checks, "by_row": {"nll": nll, "tokens": tokens}} for name, nll in rows.items()}
    merged = found.pop("merged")
    Served(found, merged, 24, 240, 24).write(run)
    code, reasons = decide(run)
    stopped = [reason.sentence for reason in reasons if reason.code == STOP]
    assert code == STOP and stopped == ["b.gguf against the merged model: worse."]
    Served({"a.gguf": found["a.gguf"]}, merged, 24, 240, 24).write(run)
    assert decide(run)[0] == SHIP
    code, reasons = decide(run, "exact >= 0.99")
    assert code == UNDECIDED and any("a.gguf: exact >= 0.99" in r.sentence for r in reasons)


def test_checks_that_nobody_required_are_told(place):
    run = evaluated("run")
    checks = {"easy": {"of": 48, "adapter": 48, "baseline": 48}, "exact": {"of": 48, "adapter": 3, "baseline": 16}}
    replace(Evaluation.read(run), checks=checks).write(run)
    code, reasons = decide(run)
    assert code == SHIP and "exact of 48: adapter 3, baseline 16" in reasons[-1].sentence
    code, reasons = decide(run, "exact >= 0.5")
    assert code == STOP and not any("No check" in reason.sentence for reason in reasons)


@pytest.mark.parametrize("changed", ["adapter", "merge"])
def test_numbers_of_another_adapter_or_merge_decide_nothing(place, changed):
    run = evaluated("run")
    run.adapter.mkdir(exist_ok=True)
    weights = run.adapter / "adapter_model.safetensors"

    def made(adapter: bytes, merge: str) -> None:
        weights.write_bytes(adapter)
        write_json(run.merge_report, {"verdict": "green", "files": {"model.safetensors": merge}})

    made(b"one", "one")
    Evaluation.read(run).write(run)
    assert decide(run)[0] == SHIP
    made(b"two" if changed == "adapter" else b"one", "two")
    code, [reason] = decide(run)
    assert code == UNDECIDED and changed in reason.sentence
    Evaluation.read(run).write(run)
    assert decide(run)[0] == SHIP


def test_another_run_beside_it_with_the_luck_of_both(place):
    base = [2 + i % 7 / 10 for i in range(48)]
    for seed in range(3):
        make_run(f"a{seed}", [x + 0.06 * seed for x in base], training_seed=seed)
        make_run(f"b{seed}", [x + 0.07 + 0.06 * seed for x in base], training_seed=seed, lora_r=2)
    one, two = (RunDir(runs_root() / name) for name in ("a0", "b0"))
    gap = against(two, one, 1)
    assert gap["seeds"] == 3 and gap["difference"] == pytest.approx(0.07) and verdict_of(gap, NLL, 1) == UNCLEAR
    for seed in (1, 2):
        for name in ("a", "b"):
            (runs_root() / f"{name}{seed}" / "held_out.json").unlink()
    assert against(two, one, 1)["seeds"] == 1 and verdict_of(against(two, one, 1), NLL, 1) == WORSE


@pytest.mark.parametrize(("luck", "shift", "code", "told"), [
    (0.002, 0.07, STOP, r"worse. An effect of 0.0\d would have been seen \(48 rows and 3 seeds\)"),
    (0.002, -0.07, SHIP, "better"),
    (0.05, 0.07, UNDECIDED, r"About 48 rows and (\d+) seeds of each run would tell"),
    (0.05, 0.022, UNDECIDED, "No hundred seeds"),
])  # fmt: skip
def test_a_rival_with_seeds_is_decided_and_without_them_it_is_not(luck, shift, code, told):
    tokens, rows = [10] * 48, [2 + i % 7 / 10 for i in range(48)]
    level = {0: -luck, 1: 0.0, 2: luck}
    sides = [[{str(i): (10 * (x + by + level[k]), 10) for i, x in enumerate(rows)} for k in level] for by in (0, shift)]
    sides[1] = [{i: (nats + (int(i) % 3 - 1) * 0.1, n) for i, (nats, n) in run.items()} for run in sides[1]]

    def judged(ones, twos):
        seeds = [[sum(nats for nats, _n in run.values()) / sum(tokens) for run in side] for side in (ones, twos)]
        return rival(difference(ones, twos, seeds, 18), difference(ones, twos, seeds, 1), "a - b", 18)

    reason = judged(*sides)
    found = re.search(told, reason.sentence)
    assert reason.code == code and found, reason.sentence
    if found.groups():  # as many seeds do prove it
        factor = int(found[1]) // 3 + 1
        assert judged(*(side * factor for side in sides)).code == STOP
    alone = judged(*(side[:1] for side in sides))
    assert alone.code == UNDECIDED and "may be luck" in alone.sentence


def test_what_was_asked_for_has_half_of_the_five_per_cent_and_a_gain_has_to_be_proven_at_its_own(place, monkeypatch):
    shares = []
    for name in ("harm", "gain", "required"):
        real = getattr(facts, name)
        monkeypatch.setattr(facts, name, lambda *given, real=real, **more: shares.append(given) or real(*given, **more))
    run = evaluated("run")
    decide(run)
    decide(run, "exact >= 0.5")
    assert [given[-1] for given in shares] == [2, 4, 2]  # the merge and the gain share 5 %, then one half of it
    gap = paired_difference([0.0] * 40, (-0.05 + 0.05 * numpy.random.default_rng(1).normal(size=40)).tolist(), [1] * 40)
    assert verdict_of(gap, NLL, 5000) == UNCLEAR and facts.gain(gap, "", 5000, []).code == SHIP


@pytest.mark.parametrize("rows", [14, 30, 200])
def test_an_effect_of_the_size_that_is_printed_is_found_four_times_in_five(rows):
    draw, found = numpy.random.default_rng(rows), 0
    for _ in range(400):
        one, two = draw.normal(0, 0.1, (2, rows))
        effect = seen(paired_difference([0.0] * rows, one.tolist(), [1] * rows, 4), NLL, 4)
        gap = paired_difference([0.0] * rows, (two + effect).tolist(), [1] * rows, 4)
        found += facts.harm(gap, "", NLL, 4).code == STOP
    assert 0.68 <= found / 400 <= 0.9


@pytest.mark.parametrize(("sign", "share", "passes"), [(">=", 1.0, 1), ("<=", 0.0, 0)])
def test_a_threshold_at_the_end_of_the_scale_is_never_missed_by_a_rounding_error(sign, share, passes):
    for rows in range(1, 200):
        counted = {"exact": {"adapter": passes * rows, "of": rows}}
        found = [facts.required(counted, "adapter", ("exact", sign, share), level) for level in (1, 2, 8)]
        assert all(one.code == UNDECIDED and "no number of rows" in one.sentence for one in found)


def test_no_fewer_rows_are_advised_than_a_verdict_needs(place):
    _code, reasons = decide(evaluated("short", rows=3))
    assert "About 12 rows would tell" in reasons[1].sentence


@pytest.mark.parametrize("broken", ["half written", "other rows", "not trained", "one row", "a seed that broke down"])
def test_what_cannot_be_judged_ends_with_2_and_not_with_the_1_of_a_proven_fault(place, monkeypatch, capsys, broken):
    run, rival = evaluated("run", training_seed=0), ["--against", "other"]
    if broken == "half written":
        run.evaluation.write_text('{"models": {')
        rival = []
    elif broken == "a seed that broke down":
        make_run("other", [math.nan] * 48, training_seed=1)
        rival = []
    else:
        rows = {"other rows": [f"other-{i}" for i in range(48)], "one row": ["row-0"]}.get(broken)
        make_run("other", [2.0] * len(rows) if rows else None, rows, lora_r=2)
    monkeypatch.setattr("sys.argv", ["gate", "run", *rival])
    assert main() == UNDECIDED and "Not decidable." in capsys.readouterr().out


def test_without_a_comparison_with_the_base_nothing_is_green(place):
    run = evaluated("run")
    replace(Evaluation.read(run), paired=[]).write(run)
    code, reasons = decide(run)
    assert code == UNDECIDED and any("not compared with the base" in reason.sentence for reason in reasons)


def test_settings_that_cannot_be_read_are_a_command_that_cannot(place, monkeypatch):
    evaluated("run").config_json.write_text("{")
    monkeypatch.setattr("sys.argv", ["gate", "run"])
    with pytest.raises(SystemExit, match="64"):
        main()


def test_replies_that_were_cut_inside_their_thoughts_prove_nothing(place):
    run = evaluated("run")
    gap = judged_difference([50] * 48, [20 + i % 3 for i in range(48)], [1] * 48, 4, CHRF) | {"verdict": CUT}
    cut = {"number": CHRF, "model": "adapter", "against": "base", **gap}
    replace(Evaluation.read(run), paired=[*Evaluation.read(run).paired, cut]).write(run)
    code, reasons = decide(run)
    assert code == UNDECIDED and any("raise max_new_tokens" in reason.sentence for reason in reasons)
