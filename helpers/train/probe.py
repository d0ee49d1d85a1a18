"""Which learning rate? A range test on a throw-away adapter: the rate grows at every step, and the loss is watched.

Source: Smith, Cyclical Learning Rates for Training Neural Networks (2017), section 3.3. What it says is in rate.py.
"""

from __future__ import annotations

import contextlib
import math
import random
import tempfile
from typing import TYPE_CHECKING

from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from helpers.train.trainer import LeanTrainer

STEPS = 60
LOW, HIGH = 1e-6, 0.3  # learning rates
SMOOTH = 0.8  # of the running mean of the loss
BROKEN = 1.5  # times the lowest smoothed loss: the test ends
FEW = 10  # steps: with rows for fewer, the test learns them by heart


def throwaway_trainer(run: RunDir, config: RunConfig) -> LeanTrainer:
    """The trainer of 04 on the rows of `run`, with an adapter as it begins there; it measures and saves nothing."""
    from transformers import set_seed
    from trl import SFTConfig

    from helpers.data.labels import encode_rows
    from helpers.files import read_jsonl
    from helpers.model.load import load_base_model
    from helpers.model.lora import lora_config
    from helpers.model.tokenizer import load_tokenizer
    from helpers.train.arguments import QUIET, sft_arguments
    from helpers.train.start import begin_from
    from helpers.train.trainer import LeanTrainer

    run.require(run.train_jsonl, produced_by="03_data_preview.ipynb")
    tokenizer = load_tokenizer(config)
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(tempfile.gettempdir(), **(sft_arguments(config) | QUIET)),
        train_dataset=encode_rows(read_jsonl(run.train_jsonl), tokenizer, config),
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    begin_from(trainer, run, config)
    return trainer


def range_test(trainer: LeanTrainer, steps: int = STEPS, low: float = LOW, high: float = HIGH) -> list[dict]:
    """Train `steps` steps at learning rates from `low` to `high`; rows of learning_rate, loss, smooth (nats).

    Ends early when the loss breaks down. `trainer` is afterwards as it was, its random numbers too. Raises ValueError
    for a range that is none.
    """
    import torch

    from helpers.show.progress import Progress

    if not (0 < low < high and steps >= 2):
        sentence = _("low={low}, high={high}, steps={steps} is no range: use 0 < low < high, and at least 2 steps.")
        raise ValueError(sentence.format(low=low, high=high, steps=steps))
    args, count = trainer.args, len(trainer.train_dataset)
    if count < FEW * args.per_device_train_batch_size * args.gradient_accumulation_steps:
        sentence = _("{rows} rows are few and soon learned by heart: no rate seems too high, so do not trust the test.")
        print(sentence.format(rows=count))
    rows, weights = [], [weight for weight in trainer.model.parameters() if weight.requires_grad]
    kind, settings = trainer.get_optimizer_cls_and_kwargs(args, trainer.model)
    optimizer, batches = kind(weights, **settings), _batches(trainer)
    with torch.random.fork_rng(), _as_it_was(trainer.model, weights):
        torch.manual_seed(args.seed)
        for step in Progress(range(steps), desc=_("range test")):
            rate = low * (high / low) ** (step / (steps - 1))
            loss = _step(trainer, optimizer, batches, rate)
            mean = rows[-1]["smooth"] if rows else loss
            if loss < math.inf:
                mean = SMOOTH * mean + (1 - SMOOTH) * loss
            rows.append({"learning_rate": rate, "loss": loss, "smooth": mean})
            if loss == math.inf or mean > BROKEN * min(row["smooth"] for row in rows):
                break
    return rows


def _step(trainer: LeanTrainer, optimizer, batches, rate: float) -> float:
    """One optimizer step at `rate`; its loss, infinite when it is no number."""
    import torch

    loss, passes = 0.0, trainer.args.gradient_accumulation_steps
    for _pass in range(passes):
        with trainer.compute_loss_context_manager():
            part = trainer.compute_loss(trainer.model, next(batches)) / passes
        part.backward()
        loss += part.item()
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], trainer.args.max_grad_norm or math.inf)
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return loss if math.isfinite(loss) else math.inf


@contextlib.contextmanager
def _as_it_was(model, weights: list):
    """Train inside; afterwards the weights, their gradients and the model's mode are those of before."""
    import torch

    before, training = [weight.detach().clone() for weight in weights], model.training
    model.train()
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
                weight.grad = None
        model.train(training)


def _batches(trainer: LeanTrainer):
    """Endless batches on the model's device, in an order of their own."""
    order, rows = random.Random(trainer.args.seed), trainer.train_dataset
    size = trainer.args.per_device_train_batch_size
    while True:
        places = order.sample(range(len(rows)), min(size, len(rows)))
        batch = trainer.data_collator([rows[place] for place in places])
        yield {name: values.to(trainer.model.device) for name, values in batch.items()}
