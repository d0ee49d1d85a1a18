import copy

import numpy
import pytest
import torch
from datasets import Dataset

from helpers.evaluate.held_out import Scores, held_out_nll, rows_that_fit, surprises
from helpers.evaluate.intervals import FEWEST
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


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_nll_is_the_sum_over_the_answers_tokens_whatever_the_batch(model, batch_size):
    scores = held_out_nll(model, ROWS, batch_size)
    assert scores.tokens == [3, 5, 2]
    assert scores.nll == pytest.approx([by_hand(model, row) for row in ROWS], rel=1e-5)
    assert scores.nll_per_token == pytest.approx(sum(scores.nll) / 10)
    assert scores.perplexity == pytest.approx(numpy.exp(scores.nll_per_token))


def test_a_model_agrees_with_itself_and_not_with_another(model):
    reference = held_out_nll(model, ROWS, keep=len(ROWS)).logits
    same = held_out_nll(model, ROWS, reference=reference)
    assert same.kl_per_token == pytest.approx(0, abs=1e-6) and same.agreement == 1
    other = copy.deepcopy(model)
    torch.nn.init.normal_(other.lm_head.weight)
    far = held_out_nll(other, ROWS, reference=reference)
    wanted = reference[0].log_softmax(-1)
    mine = held_out_nll(other, ROWS, keep=len(ROWS)).logits[0].log_softmax(-1)
    assert far.kl[0] == pytest.approx((wanted.exp() * (wanted - mine)).sum().item(), rel=1e-4)
    assert far.kl_per_token > 0.1 and far.agreement < 1


def test_the_head_works_on_the_answers_tokens_alone(model):
    """And is left as it was; of the logits that a row keeps, no other row of its batch lives on."""
    seen = []
    with model.lm_head.register_forward_hook(lambda head, args, logits: seen.append(logits.shape[:-1].numel())):
        kept = held_out_nll(model, ROWS, batch_size=3, keep=1).logits[0]
    assert sum(seen) == 10 and not model.lm_head._forward_pre_hooks
    assert kept.untyped_storage().nbytes() == kept.nbytes


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


@pytest.mark.parametrize("spoiled", ["model.norm.weight", "lm_head.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_an_error(model, spoiled, value):
    """Comparisons with nan are False: such a merge was "green", and chosen."""
    reference, broken = held_out_nll(model, ROWS, keep=len(ROWS)).logits, copy.deepcopy(model)
    broken.get_parameter(spoiled).data[3] = value
    with pytest.raises(ValueError, match="NLL of held-out row . is (nan|inf): .* compute_dtype to bfloat16"):
        held_out_nll(broken, ROWS, reference=reference)
    reference[1][0, 0] = value
    with pytest.raises(ValueError, match="KL to the reference of held-out row 1 is"):
        held_out_nll(model, ROWS, reference=reference)


def test_a_reference_of_the_first_rows_is_enough(model):
    reference = held_out_nll(model, ROWS, keep=2).logits
    found = held_out_nll(model, ROWS, reference=reference)
    assert len(found.tokens) == 3 and len(found.kl) == len(found.agree) == 2
    assert found.kl_per_token == pytest.approx(0, abs=1e-6) and found.agreement == 1


def scores(nll, kl, rows=20):
    noise = numpy.linspace(-0.01, 0.01, rows)
    return Scores(list(nll * 10 + noise), [10] * rows, [kl * 10] * rows, [9] * rows)


def test_the_rule_takes_the_clearly_lower_nll_and_the_nearer_one_when_in_doubt():
    for low in ("16bit-base", "dequantised-base"):
        both = {m: scores(2.7, 0.2) if m == low else scores(2.8, 0.001) for m in ("16bit-base", "dequantised-base")}
        chosen, why = choose_merge(both)
        assert chosen == low and "lower by more than 0.02" in why
    even = scores(2.8, 0.2)
    wobbling = Scores([n + (-1) ** i for i, n in enumerate(even.nll)], even.tokens, [0.01] * 20, even.agree)
    chosen, why = choose_merge({"16bit-base": even, "dequantised-base": wobbling})
    assert chosen == "dequantised-base" and "unclear" in why
    assert choose_merge({"16bit-base": even})[0] == "16bit-base"


def test_the_three_colours_of_the_merge():
    adapter = scores(2.8, 0)

    def colour(other):
        return verdict(measured_row(other, adapter))

    assert colour(scores(4.4, 1.6))[0] == "red" and colour(scores(2.81, 0.01))[0] == "green"
    assert colour(scores(2.7, 0.2))[0] == "green"
    wobbling = Scores([n + 5.9 + 20 * (-1) ** i for i, n in enumerate(adapter.nll)], adapter.tokens)
    assert colour(wobbling)[0] == "unclear" and "More held-out" in colour(wobbling)[1]  # +0.59, "green" before
    few = scores(2.8, 0, rows=FEWEST - 1)
    found, why = verdict(measured_row(few, few))
    assert found == "unclear" and f"fewer than {FEWEST}" in why
    enough, one = scores(2.8, 0, rows=FEWEST), scores(2.8, 0, rows=1)
    assert verdict(measured_row(enough, enough))[0] == "green"
    assert measured_row(one, one)["nll_low"] is None and verdict(measured_row(one, one))[0] == "unclear"


def test_where_a_model_is_most_surprised(model):
    scores, found = held_out_nll(model, ROWS), surprises(model, ROWS, batch_size=2)
    assert [sum(row.nll) for row in found] == pytest.approx(scores.nll, rel=1e-5)
    with torch.inference_mode():
        chances = model(torch.tensor([ROWS[1]["input_ids"]])).logits[0].softmax(-1)
    row, learned = found[1], [1, 2, 5, 6, 7]
    worst = min(learned, key=lambda i: chances[i - 1, ROWS[1]["labels"][i]])
    assert (row.place, row.token) == (worst, ROWS[1]["labels"][worst])
    assert row.instead == chances[worst - 1].argmax()
