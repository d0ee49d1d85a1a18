"""Batches side by side: the results are those of one after the other, in their order, and nothing is left changed."""

import threading
import time

import pytest
import torch

from helpers.evaluate import generation
from helpers.evaluate.decoding import answering, decoder, generate_ids
from helpers.evaluate.generation import EACH, generate_replies
from helpers.evaluate.held_out import held_out_nll
from helpers.model.cores import longest_first, side_by_side, workers
from helpers.model.load import load_base_model
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("two_cores")


@pytest.fixture(scope="module")
def tiny():
    config = RunConfig.load("tiny", compute_dtype="float32")
    return load_base_model(config).eval(), load_tokenizer(config)


def test_results_come_in_order_and_each_thread_has_its_share_of_the_cores():
    met = threading.Barrier(2, timeout=60)  # both must be at work at the same time

    def work(part):
        met.wait()
        return part, torch.get_num_threads(), threading.current_thread().name

    found = list(side_by_side(work, range(6), CPU))
    assert [part for part, _threads, _name in found] == list(range(6))
    assert {threads for _part, threads, _name in found} == {1}
    assert len({name for _part, _threads, name in found}) == 2
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("parts", "cores", "at_most"), [(1, 2, 64), (4, 1, 64), (4, 2, 1)])
def test_what_cannot_be_shared_stays_in_this_thread(parts, cores, at_most):
    torch.set_num_threads(cores)
    found = list(side_by_side(lambda part: threading.get_ident(), range(parts), CPU, at_most))
    assert found == [threading.get_ident()] * parts and torch.get_num_threads() == cores


def test_on_a_gpu_one_batch_comes_after_the_other():
    assert workers(torch.device("cuda")) == 1 and workers(CPU) == 2


def test_a_fault_ends_it_and_the_threads_come_back():
    begun = []

    def work(part):
        begun.append(part)
        if part == 0:
            raise ValueError("a bad row")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="a bad row"):
        list(side_by_side(work, range(100), CPU))
    assert len(begun) < 100, "the rest was still worked through"
    assert torch.get_num_threads() == 2


def test_replies_and_scores_are_those_of_one_core(tiny):
    from datasets import Dataset

    model, tokenizer = tiny
    prompts = [[{"role": "user", "content": "안녕 " * (count % 7 + 1)}] for count in range(2 * EACH + 3)]
    ids = [list(range(5, 30 + count)) for count in range(9)]
    rows = Dataset.from_dict({"input_ids": ids, "labels": [[-100] * 9 + row[9:] for row in ids]})
    two = generate_replies(model, tokenizer, prompts, 8), held_out_nll(model, rows, batch_size=2)
    torch.set_num_threads(1)
    one = generate_replies(model, tokenizer, prompts, 8), held_out_nll(model, rows, batch_size=2)
    assert [reply.token_ids for reply in two[0]] == [reply.token_ids for reply in one[0]]
    assert two[1].nll == pytest.approx(one[1].nll, rel=1e-5) and two[1].tokens == one[1].tokens


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (2 * EACH - 1, 1), (2 * EACH, 2), (2 * EACH + 5, 2)])
def test_a_few_replies_are_written_together_by_both_cores(tiny, monkeypatch, count, groups):
    model, tokenizer = tiny
    written, write = [], generation.generate_ids
    monkeypatch.setattr(
        generation, "generate_ids", lambda model, ids, *rest: written.append(ids) or write(model, ids, *rest)
    )
    generate_replies(model, tokenizer, [[{"role": "user", "content": "hi " * (i % 3 + 1)}] for i in range(count)], 2)
    assert len(written) == groups and sum(map(len, written)) == count


def test_the_longest_texts_come_first_in_full_batches():
    assert longest_first([[1], [1, 2, 3], [1, 2], [4], [5, 6]], 2) == [[1, 2], [4, 0], [3]]


def test_the_head_never_multiplies_a_slice(tiny):
    """torch takes a slice of (rows, tokens, width) for a batch of products, and copies the head for each row."""
    model, tokenizer = tiny
    seen, own = [], model.generation_config
    hook = model.lm_head.register_forward_hook(lambda module, args, output: seen.append(args[0].is_contiguous()))
    with answering(model):
        generate_ids(model, [[5, 6, 7], [8, 9, 10]], decoder(model, tokenizer, 3))
    hook.remove()
    assert len(seen) >= 1 and all(seen)
    assert model.generation_config is own and not model.lm_head._forward_pre_hooks
