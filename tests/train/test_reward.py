"""A5: the reward is the checks, it has something to tell apart or says what to do, and the adapter begins and resumes exactly."""

import json
import re
import shutil

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import set_seed
from trl import GRPOTrainer

from helpers.data.labels import encode_rows
from helpers.data.readers import parquet_rows
from helpers.data.rehearsal import own_conversations
from helpers.evaluate.checks import Checked
from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.template.chat import prompt_ids, stop_ids
from helpers.train.best import HeldOut
from helpers.train.callbacks import CheckpointKeeper
from helpers.train.checkpoints import newest_complete
from helpers.train.further import save_further, train_further
from helpers.train.guards import LossGuard
from helpers.train.preferences import read_pairs
from helpers.train.reward import (
    REHEARSED,
    Group,
    NoSignal,
    RewardTrainer,
    pairs_by_checks,
    require_signal,
    reward_chart,
    reward_functions,
    reward_prompts,
    told_reward,
)
from helpers.train.start import row_key
from tests.small_training import CONFIG
from tests.train.test_preferences import adapter_on_disk, said


def even(messages, reply, reference):
    """An even sum of characters: about half of all replies."""
    return sum(map(ord, reply)) % 2 == 0


def ended(messages, reply, reference):
    """It ended by itself."""
    return reply.stopped


def raises(messages, reply, reference):
    """A check with a fault."""
    raise KeyError("x")


CHECKS = {"even": even, "ended": ended}
ROWS = [{"messages": [said(f"{i}번 친구는 뭐 해요?", "user"), said("자요.")]} for i in range(8)]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(CONFIG)


@pytest.fixture(scope="module")
def prompts(tokenizer):
    return reward_prompts(ROWS, tokenizer)


def group(*rewards, stopped=True):
    replies = [Reply(f"reply {i}", (), stopped, 3) for i in range(len(rewards))]
    return Group([said("왜요?", "user")], replies, list(rewards))


@pytest.mark.parametrize(
    ("rewards", "told"),
    [
        ([(0, 0, 0)] * 8, "No reply passes any check"),
        ([(2, 2, 2)] * 8, "Every reply passes every check"),
        ([(0, 0), (2, 2), (1, 1)], "worth the same, so there is nothing to prefer"),
    ],
)
def test_a_reward_that_tells_nothing_apart_is_said_before_the_training(rewards, told):
    with pytest.raises(NoSignal, match=told):
        require_signal([group(*worth) for worth in rewards], 2)


def test_one_prompt_with_different_replies_is_enough_to_begin():
    told = require_signal([group(0, 0), group(0, 2)], 2)
    assert told.startswith("1 of 2 prompts have replies of different worth (0 to 2)")


def test_the_best_and_the_worst_reply_are_a_pair_that_A2_can_read(tmp_path):
    pairs = pairs_by_checks([group(0, 2, 1), group(1, 1, 1), group(0, 2, stopped=False)])
    assert [pair["chosen"][0]["content"] for pair in pairs] == ["reply 1"]
    assert pairs[0]["rejected"][0]["content"] == "reply 0"
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pairs[0], ensure_ascii=False) + "\n")
    assert read_pairs(str(tmp_path / "pairs.jsonl"), CONFIG) == pairs


def test_a_reward_is_the_check_itself_and_a_fault_is_worth_nothing(tokenizer, prompts):
    stop = stop_ids(tokenizer)[0]
    cut, whole = (tokenizer(text, add_special_tokens=False).input_ids for text in ("네네", "응"))
    ids = [cut, [*whole, stop]]
    columns = {name: prompts[name][:2] for name in ("asked", "reference")}
    found = {
        reward.__name__: reward(prompts=prompts["prompt"][:2], completion_ids=ids, completions=[], **columns)
        for reward in reward_functions(CHECKS | {"raises": raises}, tokenizer)
    }
    assert found == {"even": [1.0, 0.0], "ended": [0.0, 1.0], "raises": [0.0, 0.0]}


def test_the_verdict_is_that_of_the_whole_reward():
    low, high = [False] * 30 + [True] * 10, [True] * 25 + [False] * 5 + [True] * 10
    mixed = [True] + [False] * 30 + [True] * 9
    better, worse = (low, high, r"\+31.2% .+better"), (high, low, "-31.2% .+worse")
    for before, after, told in (better, worse, (low, mixed, "unclear"), (low, low, "no difference that matters")):
        passed = {"a": {"before": before, "after": after}, "b": {"before": [True] * 40, "after": [True] * 40}}
        assert re.search(told, told_reward(Checked(passed)))
    few = Checked({"a": {"before": [False] * 7, "after": [True] * 7}})
    assert "too few rows" in told_reward(few)


def small(folder, adapter, prompts, tokenizer, **changes) -> RewardTrainer:
    """Two steps on the adapter of `adapter`, with checkpoints in `folder`."""
    from peft import PeftModel
    from trl import GRPOConfig

    from helpers.model.load import load_base_model

    sizes = {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 8, "max_steps": 2}
    more = {"log_completions": True, "num_completions_to_print": 0, "logging_steps": 1, "save_steps": 1}
    steps = {"use_cpu": True, "bf16": False, "learning_rate": 1e-2, "report_to": "none", "disable_tqdm": True}
    args = GRPOConfig(str(folder), disable_dropout=True, **(sizes | more | steps | changes))
    set_seed(1)
    policy = PeftModel.from_pretrained(load_base_model(CONFIG), str(adapter), is_trainable=True)
    data = {"train_dataset": prompts, "processing_class": tokenizer}
    data |= {"reward_funcs": reward_functions(CHECKS, tokenizer), "callbacks": [CheckpointKeeper(3), LossGuard(False)]}
    rehearsal = encode_rows(own_conversations()[:6], tokenizer, CONFIG)
    return RewardTrainer(model=policy, args=args, rehearsal=rehearsal, **data)


def test_it_begins_at_the_adapter_learns_and_resumes_exactly(tmp_path, tokenizer, prompts):
    adapter = adapter_on_disk(tmp_path / "adapter")
    trainer = small(tmp_path / "whole", adapter, prompts, tokenizer)
    start, now = load_file(adapter / "adapter_model.safetensors"), get_peft_model_state_dict(trainer.model)
    assert all(torch.equal(start[name].float(), now[name]) and now[name].dtype == torch.float32 for name in start)
    trainer.train()
    trained = {name: weight.clone() for name, weight in get_peft_model_state_dict(trainer.model).items()}
    assert any(not torch.equal(start[name], trained[name]) for name in start), trainer.state.log_history
    history = trainer.state.log_history
    assert [row["step"] for row in history if "rewards/even/mean" in row] == [1, 2]
    assert "of 2 checks at first" in reward_chart(history, list(CHECKS)).alt
    drawn = [next(parquet_rows(file, [])) for file in sorted((tmp_path / "whole" / "completions").glob("*.parquet"))]
    assert [row["step"] for row in drawn] == [1, 2] and {"prompt", "completion", *CHECKS} <= drawn[0].keys()

    shutil.copytree(tmp_path / "whole" / "checkpoint-1", tmp_path / "killed" / "checkpoint-1")
    again = small(tmp_path / "killed", adapter, prompts, tokenizer)
    again.train(resume_from_checkpoint=str(newest_complete(tmp_path / "killed")))
    resumed = get_peft_model_state_dict(again.model)
    assert again.state.global_step == 2 and all(torch.equal(resumed[name], trained[name]) for name in trained)


def test_each_step_rehearses_the_next_general_conversations(tmp_path, tokenizer, prompts, monkeypatch):
    trainer = small(tmp_path / "made", adapter_on_disk(tmp_path / "adapter"), prompts, tokenizer)
    monkeypatch.setattr(GRPOTrainer, "compute_loss", lambda *args: torch.zeros(()))
    trainer.current_gradient_accumulation_steps, model = 2, trainer.model.train()
    nll = held_out_nll(model, trainer.rehearsal)
    for step, places in ((0, [0, 1, 2, 3]), (1, [4, 5, 0, 1])):
        trainer.state.global_step = step
        wanted = sum(nll.nll[i] for i in places) / sum(nll.tokens[i] for i in places)
        assert trainer.compute_loss(model, {}).item() == pytest.approx(REHEARSED * wanted / 2, rel=1e-3)
    assert trainer.compute_loss(model.eval(), {}).item() == 0, "an evaluation is the reward's alone"


def test_a_finished_training_is_loaded_and_its_adapter_saved_as_it_was_trained(tmp_path, tokenizer, prompts):
    made, adapter = RunDir(tmp_path / "made"), adapter_on_disk(tmp_path / "adapter")
    trainer = small(made.trainer, adapter, prompts, tokenizer)
    last, history = train_further(trainer, made, "a test")
    trained = get_peft_model_state_dict(trainer.model)
    assert last == 2 and [row["step"] for row in history if "reward" in row] == [1, 2]

    again = small(made.trainer, adapter, prompts, tokenizer)
    assert train_further(again, made, "a test") == (last, history) and again.state.global_step == 0
    rows, scores = [{"input_ids": [1, 2], "labels": [-100, 2]}], Scores([0.5], [1])
    assert save_further(again, made, "two steps", rows, scores) == len(trained)
    saved = load_file(made.adapter / "adapter_model.safetensors")
    assert all(torch.equal(saved[name], trained[name]) for name in trained)
    held = HeldOut.read(made)
    assert (held.step, held.last, held.summary, held.nll, held.rows) == (2, 2, "two steps", [0.5], [row_key(rows[0])])
    assert made.trained.exists()


@pytest.mark.slow
def test_it_learns_what_is_rewarded(tmp_path, tokenizer, prompts, monkeypatch):
    monkeypatch.setitem(CHECKS, "even", lambda messages, reply, reference: "\ufffd" not in reply and len(reply) < 12)
    size = {"per_device_train_batch_size": 16, "max_steps": 16, "save_steps": 100, "learning_rate": 5e-3}
    trainer = small(tmp_path / "long", adapter_on_disk(tmp_path / "adapter"), prompts, tokenizer, **size)
    trainer.train()
    rewards = [row["rewards/even/mean"] for row in trainer.state.log_history if "reward" in row]
    assert sum(rewards[-4:]) > sum(rewards[:4]) + 0.4, rewards


def test_a_prompt_that_TRL_writes_otherwise_is_refused(tmp_path, tokenizer, prompts, monkeypatch):
    adapter = adapter_on_disk(tmp_path / "adapter")
    monkeypatch.setattr("helpers.train.reward.prompt_ids", lambda *asked: prompt_ids(*asked)[1:])
    with pytest.raises(ValueError, match="but 04 trained on"):
        small(tmp_path / "other", adapter, prompts, tokenizer)
