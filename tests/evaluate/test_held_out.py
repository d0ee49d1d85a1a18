import numpy
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.evaluate.held_out import Scores, answer_logits, held_out_nll, rows_that_fit
from helpers.evaluate.intervals import bootstrap_interval, paired_difference
from helpers.evaluate.measured import measured_row
from helpers.merge.report import choose_merge, verdict


@pytest.fixture(scope="module")
def model(tiny_model):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def rows(*rows):
    return Dataset.from_list([{"input_ids": ids, "labels": labels} for ids, labels in rows])


# one answer, two answers with a question between them, and a label on the first token, which nothing predicts
ROWS = rows(
    ([5, 6, 7, 8, 9], [-100, -100, 7, 8, 9]),
    ([5, 6, 7, 8, 9, 10, 11, 12], [-100, 6, 7, -100, -100, 10, 11, 12]),
    ([20, 21, 22], [20, 21, 22]),
)


def by_hand(model, row):
    with torch.inference_mode():
        chances = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
    labels = row["labels"]
    return -sum(chances[i - 1, labels[i]].item() for i in range(1, len(labels)) if labels[i] != -100)


def test_nll_is_the_sum_over_the_answers_tokens(model):
    scores = held_out_nll(model, ROWS, batch_size=2)
    assert scores.tokens == [3, 5, 2]
    assert scores.nll == pytest.approx([by_hand(model, row) for row in ROWS], rel=1e-5)
    assert scores.nll_per_token == pytest.approx(sum(scores.nll) / 10)
    assert scores.perplexity == pytest.approx(numpy.exp(scores.nll_per_token))


def test_batches_change_nothing(model):
    assert held_out_nll(model, ROWS, batch_size=1).nll == pytest.approx(held_out_nll(model, ROWS, batch_size=3).nll)


def test_a_model_agrees_with_itself_and_not_with_another(model):
    import copy

    reference = answer_logits(model, ROWS)
    same = held_out_nll(model, ROWS, reference=reference)
    assert same.kl_per_token == pytest.approx(0, abs=1e-6) and same.agreement == 1
    other = copy.deepcopy(model)
    torch.nn.init.normal_(other.lm_head.weight)
    far = held_out_nll(other, ROWS, reference=reference)
    wanted = reference[0].log_softmax(-1)
    mine = answer_logits(other, ROWS)[0].log_softmax(-1)
    assert far.kl[0] == pytest.approx((wanted.exp() * (wanted - mine)).sum().item(), rel=1e-4)
    assert far.kl_per_token > 0.1 and far.agreement < 1


def test_rows_without_an_answer_are_refused(model):
    with pytest.raises(ValueError, match="no labelled token"):
        held_out_nll(model, rows(([5, 6], [-100, -100])))
    with pytest.raises(ValueError, match="no row"):
        held_out_nll(model, ROWS.select([]))


def test_as_many_rows_as_fit():
    assert rows_that_fit(ROWS, vocabulary=1000) == 3
    assert rows_that_fit(ROWS, vocabulary=1000, at_most=2) == 2
    assert rows_that_fit(ROWS, vocabulary=1000, budget=9000) == 1
    assert rows_that_fit(ROWS, vocabulary=10**9) == 1


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_an_interval_holds_the_mean_and_is_a_point_for_equal_rows(values, constant):
    low, high = bootstrap_interval([constant] * len(values), [1] * len(values))
    assert low == pytest.approx(constant) and high == pytest.approx(constant)
    low, high = bootstrap_interval(values, [1] * len(values), draws=200)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_about_95_of_100_intervals_hold_the_truth():
    numbers = numpy.random.default_rng(0)
    held = 0
    for trial in range(200):
        low, high = bootstrap_interval(numbers.normal(3, 1, 40), [1] * 40, draws=400, seed=trial)
        held += low <= 3 <= high
    assert 180 <= held <= 198


def test_rows_are_drawn_not_tokens():
    """A long row counts as one draw: few rows with many tokens give a wide interval."""
    few = bootstrap_interval([10, 40], [10, 10])
    many = bootstrap_interval([10, 40] * 50, [10, 10] * 50)
    assert few[1] - few[0] > 4 * (many[1] - many[0])


def test_paired_difference():
    gap = paired_difference([1.0, 2.0, 3.0], [0.5, 1.5, 2.5], [1, 1, 1])
    assert gap["difference"] == gap["low"] == gap["high"] == -0.5 and gap["below"] == 1


def scores(nll, kl, rows=20):
    noise = numpy.linspace(-0.01, 0.01, rows)
    return Scores(list(nll * 10 + noise), [10] * rows, [kl * 10] * rows, [9] * rows)


def test_the_rule_takes_the_clearly_lower_nll():
    chosen, why = choose_merge({"16bit-base": scores(2.7, 0.2), "dequantised-base": scores(2.8, 0.001)})
    assert chosen == "16bit-base" and "lower" in why and "excludes 0" in why


def test_the_rule_takes_the_nearer_one_when_in_doubt():
    even = scores(2.8, 0.2)
    wobbling = Scores([n + (-1) ** i for i, n in enumerate(even.nll)], even.tokens, [0.01] * 20, even.agree)
    chosen, why = choose_merge({"16bit-base": even, "dequantised-base": wobbling})
    assert chosen == "dequantised-base" and "cannot be told apart" in why
    assert choose_merge({"16bit-base": even})[0] == "16bit-base"


def test_red_only_when_clearly_worse_than_the_adapter():
    adapter = scores(2.8, 0)
    assert verdict(measured_row(scores(4.4, 1.6), adapter))[0] == "red"
    assert verdict(measured_row(scores(2.81, 0.01), adapter))[0] == "green"
    assert verdict(measured_row(scores(2.7, 0.2), adapter))[0] == "green"
