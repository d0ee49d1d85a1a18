"""On a CPU the two halves of a batch are worked on at once: the same gradients, in whatever order they are ready."""

from dataclasses import replace

import pytest
import torch
from transformers import TrainerCallback

from helpers.train.arguments import QUIET
from helpers.train.trainer import LeanTrainer
from tests.small_training import CONFIG, build
from tests.train.test_training import new_run

PLAIN = replace(CONFIG, lora_dropout=0.0, compute_dtype="float32", max_steps=6, save_steps=3)
pytestmark = pytest.mark.usefixtures("two_cores")


class Parts(TrainerCallback):
    """Counts into how many parts the batches of a trainer go."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.counts, divide = set(), self.trainer._halves
        self.trainer._halves = lambda inputs: (parts := divide(inputs), self.counts.add(len(parts)))[0]


def trained(folder, config=PLAIN, checkpoint=None, **changes):
    trainer = build(new_run(folder), config, bf16=False, **changes)
    seen = Parts()
    seen.trainer = trainer
    trainer.add_callback(seen)
    trainer.train(resume_from_checkpoint=checkpoint)
    return {n: w.detach().clone() for n, w in trainer.model.named_parameters() if w.requires_grad}, seen.counts


def step(trainer, batch, whole):
    trainer.model.zero_grad()
    trainer._halves = (lambda inputs: [inputs]) if whole else type(trainer)._halves.__get__(trainer)
    count = (batch["labels"][:, 1:] != -100).sum()
    loss = trainer.training_step(trainer.model, dict(batch), count).item()
    return loss, torch.cat([w.grad.flatten() for w in trainer.model.parameters() if w.requires_grad])


def test_the_gradients_of_the_halves_are_those_of_the_whole(tmp_path):
    trainer = build(new_run(tmp_path / "run"), PLAIN, bf16=False, **QUIET)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(3)])  # halves of two rows and of one
    assert not trainer.undivided and len(trainer._halves(batch)) == 2
    loss, gradient = step(trainer, batch, whole=False)
    wanted, of_whole = step(trainer, batch, whole=True)
    assert loss == pytest.approx(wanted, abs=1e-5)
    assert (gradient - of_whole).norm() <= 1e-5 * of_whole.norm() and of_whole.norm() > 0.01
    assert torch.equal(step(trainer, batch, whole=False)[1], gradient), "the order of two threads shows"


def test_a_training_in_halves_repeats_and_resumes_to_the_bit(tmp_path):
    first, parts = trained(tmp_path / "a")
    second, _parts = trained(tmp_path / "b")
    assert parts == {2}
    checkpoint = str(tmp_path / "a" / "trainer" / "checkpoint-3")
    resumed, _parts = trained(tmp_path / "c", checkpoint=checkpoint)
    for name, weight in first.items():
        assert torch.equal(weight, second[name]) and torch.equal(weight, resumed[name]), name


WHOLE = {
    "dropout": {"lora_dropout": 0.1},
    "gradients are added over several batches": {"gradient_accumulation_steps": 2, "max_steps": 3},
    "one row": {"per_device_train_batch_size": 1},
}


@pytest.mark.parametrize("settings", WHOLE.values(), ids=WHOLE)
def test_where_the_order_would_count_a_batch_stays_whole(tmp_path, settings):
    _weights, parts = trained(tmp_path / "run", replace(PLAIN, **settings), eval_strategy="no")
    assert parts <= {1}


def test_a_model_may_get_a_second_trainer(tmp_path):
    """Both leave their hooks on it: the second cut what the first had cut already."""
    first = build(new_run(tmp_path / "run"), PLAIN, bf16=False, **QUIET)
    batch = first.data_collator([first.train_dataset[i] for i in range(3)])
    wanted = first.compute_loss(first.model, dict(batch)).item()
    rows = {"train_dataset": first.train_dataset, "processing_class": first.processing_class}
    second = LeanTrainer(model=first.model, args=first.args, **rows)
    assert second.compute_loss(second.model, dict(batch)).item() == wanted


def test_noise_of_any_kind_keeps_it_whole(tmp_path):
    trainer = build(new_run(tmp_path / "run"), PLAIN, bf16=False, **QUIET)
    for name in ("attention_dropout", "attn_pdrop", "router_jitter_noise"):
        vars(trainer).pop("undivided", None)
        setattr(trainer.model.config, name, 0.1)
        assert trainer.undivided, name
        setattr(trainer.model.config, name, 0.0)
    vars(trainer).pop("undivided", None)
    assert not trainer.undivided
