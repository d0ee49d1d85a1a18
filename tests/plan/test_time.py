"""Tokens, hours, costs; what others measured; and the rehearsal, which measures here."""

import json
import re
import statistics
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest

from helpers.model.shapes import SHAPES
from helpers.plan import rehearsal
from helpers.plan.cards import gpu
from helpers.plan.need import CONTEXT, with_allowances
from helpers.plan.published import MODELS, PROGRAMS, PUBLISHED, allowed, comparison, off, planned
from helpers.plan.shape import Shape
from helpers.plan.time import (
    SPEEDS,
    Speed,
    conversation_lengths,
    duration,
    measured,
    speed,
    training_tokens,
    used_share,
)
from helpers.plan.view import run_table, time_table
from helpers.runs import RunDir
from helpers.settings import RunConfig
from tests.plan.configs import LLAMA, SMALL


def test_training_tokens_count_padding_and_packing():
    config = RunConfig.load("demo", per_device_train_batch_size=2, max_length=100, num_train_epochs=1)
    lengths = [10, 90, 20, 300]
    # sorted: (10, 20), (90, 300 cut to 100), each pair padded to a multiple of 8
    assert training_tokens(config, lengths) == 2 * 24 + 2 * 104
    assert training_tokens(replace(config, packing=True), lengths) == 220  # laid end to end: nothing is padded
    three = replace(config, max_steps=3, packing=True)
    assert training_tokens(three, lengths) == 3 * 2 * 220 // 3  # three rows hold them
    assert training_tokens(config, lengths, padded=False) == 10 + 90 + 20 + 100
    wide = replace(config, per_device_train_batch_size=64, max_steps=3)  # of four rows no step has more
    assert training_tokens(wide, lengths, padded=False) == 3 * (10 + 90 + 20 + 100)


def test_own_speed_comes_from_the_runs_metrics_without_the_warm_up(tmp_path):
    run = RunDir(tmp_path)
    assert measured(run) is None
    rows = [{"step": i, "tokens_per_second": pace} for i, pace in enumerate((10.0, 90.0, 110.0, 100.0))]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    assert measured(run) is None  # one log beside the warm-up tells no range
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (measured(run).low, measured(run).high, measured(run).padded) == (90, 110, False)
    facts = {"step": 3, "tokens": 8000, "elapsed_s": 100.0, "device": "a card"}  # evaluations and saves count too
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in [*rows, facts]))
    assert measured(run).low == 80 and "a card" in measured(run).basis


def test_lengths_are_a_guess_until_03_has_counted(trained_run, tmp_path):
    config = RunConfig.load("tiny")
    for unknown, why in (("someone/somewhere", ""), (__file__, "cannot be counted yet: ")):
        elsewhere = replace(config, dataset_id=unknown)
        lengths, basis = conversation_lengths(elsewhere, RunDir(tmp_path), 3, 1000)
        assert lengths == [config.max_length] * 3 and basis.startswith("a guess") and why in basis
    at_once, _basis = conversation_lengths(config, RunDir(tmp_path), 3, 1000)  # local data needs no 03
    lengths, basis = conversation_lengths(config, trained_run, 3, 1000)
    assert at_once == lengths and not list(tmp_path.iterdir())
    report = json.loads(trained_run.data_report.read_text())
    assert len(lengths) == report["rows"]["train"] and basis.startswith("counted")
    assert max(lengths) <= config.max_length and min(lengths) >= report["lengths"]["shortest"]


def test_time_is_a_range_with_its_basis(recipe):
    shape = Shape.of(LLAMA)
    own, estimate = speed(gpu("A100 80 GB"), recipe, shape), speed(gpu("L40S 48 GB"), recipe, shape)
    assert own.basis.endswith("this card: 3") and own.low < 2415 < own.high
    assert estimate.basis.endswith("this card: none") and estimate.high / estimate.low > own.high / own.low
    short = speed(gpu("A100 80 GB"), replace(recipe, per_device_train_batch_size=1, max_length=512), shape)
    assert short.low < own.low  # numbers of small passes count only there
    assert duration(36_000_000, own) == f"{1e4 / own.high:.1f} to {1e4 / own.low:.1f} h"
    assert speed(gpu("A100 80 GB"), recipe, Shape.of(SMALL)) is None


@pytest.mark.parametrize("cards", [0, 1, 4])
def test_every_cost_is_that_of_all_cards(cards, recipe):
    """A price is of one card and hour; a pod of four costs four times as much."""
    config = replace(recipe, prices="A100 80 GB: 2", gpu="T4 16 GB", price_per_hour=1.0, gpus=cards)
    own = Speed(1000, 1000, "measured", padded=False)
    rows = {row["card"]: row for row in time_table(config, Shape.of(LLAMA), [360] * 10_000, own).rows}
    hours = 3.6e6 * config.num_train_epochs / 1000 / 3600
    assert rows["measured"]["together"] == f"{max(cards, 1) * hours:.2f} to {max(cards, 1) * hours:.2f}"
    prices = [rows[card]["an hour"] for card in ("T4 16 GB", "A100 80 GB")]
    assert prices == [f"{max(cards, 1)}.00", f"{2 * max(cards, 1)}.00"]
    assert rows["L4 24 GB"]["together"] == ""
    done = rehearsal.Rehearsal([], 1000.0, 0.0, 36.0, 0, [360] * 10, [])
    costs = {row["part"]: row["cost"] for row in run_table(done, config).rows}
    assert costs["merge"] == pytest.approx(max(cards, 1) * 2 * 36 / 3600)


def test_no_published_row_is_planned_more_than_5_percent_too_low():
    assert len(PUBLISHED) == 62 and {row.program for row in PUBLISHED} == set(PROGRAMS)
    assert {row.model for row in PUBLISHED} == set(MODELS)
    assert min(map(off, PUBLISHED)) > -0.05
    assert statistics.median(abs(off(row)) for row in PUBLISHED) <= 0.10
    assert statistics.median(abs(planned(row) / row.bytes - 1) for row in PUBLISHED) < 0.1
    # torch counts no driver: without it beside litgpt's, torchtune's, Answer.AI's and peft's rows, with it beside the
    # others
    for row in PUBLISHED:
        counted = with_allowances(planned(row)) - allowed(row)
        assert counted == (CONTEXT if re.match("litgpt|torchtune|Answer|peft", PROGRAMS[row.program].source) else 0)
    shown = [int(row["off"].rstrip("%")) for row in comparison()]
    assert shown == sorted(shown)
    assert all(0.05 < used_share(row) < 0.75 and row.model in SHAPES for row in SPEEDS)


def test_published_numbers_do_not_depend_on_the_environment(monkeypatch):
    before = comparison(), [used_share(row) for row in SPEEDS]
    monkeypatch.setenv("QLORA_DOUBLE_QUANT", "false")
    monkeypatch.setenv("QLORA_LORA_TARGET_MODULES", "q_proj")
    assert (comparison(), [used_share(row) for row in SPEEDS]) == before


@pytest.mark.parametrize("packing", [False, True])
def test_the_rehearsal_counts_the_tokens_that_pass_the_model(monkeypatch, tmp_path, packing):
    """Not the tokens that fit: a packed row may be half empty."""
    from helpers.train.packing import one_row_a_pass
    from helpers.train.trainer import LeanTrainer

    seen, begin, seconds = [], LeanTrainer.training_step, count()

    def watched(self, model, inputs, *rest):
        seen.append(inputs["input_ids"].numel())
        return begin(self, model, inputs, *rest)

    monkeypatch.setattr(LeanTrainer, "training_step", watched)
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))  # a second a step
    config = RunConfig.load("tiny", packing=packing, per_device_train_batch_size=2, max_rows=24, max_length=256)
    tokenizer, rows, held_out = rehearsal._data(config, RunDir(tmp_path))
    pace = rehearsal._train(config, RunDir(tmp_path), tokenizer, rows, held_out)[1]
    passes = one_row_a_pass(config).gradient_accumulation_steps  # of the first step: packed rows go one by one
    assert pace == sum(seen[passes:]) / (rehearsal.STEPS - 1) < 2 * config.max_length


@pytest.mark.slow
def test_rehearsal_goes_through_the_whole_series():
    config = RunConfig.load("tiny")
    found = rehearsal.rehearse(config)
    assert [row["step"] for row in found.done] == "data train evaluate save reload answer merge".split()
    hours = found.hours(config)
    assert list(hours) == ["training", "evaluation", "merge"] and min(hours.values()) > 0
    # 40 steps with an evaluation every 20, one before and one after: four times the held-out part
    assert hours["evaluation"] * 3600 == pytest.approx(4 * sum(found.eval_lengths) / found.eval_speed)
