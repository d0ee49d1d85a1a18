"""Which learning rate? A range test on a throw-away adapter, and a rule of thumb.

rows = range_test(throwaway_trainer(run, config))     # or the trainer of 04: it is left as it was
display(probe_chart(rows)); print(suggestion(rows, config, hidden_size=...))

Source of the test: Smith, Cyclical Learning Rates for Training Neural Networks (2017), section 3.3: the rate grows at every
step, and the loss is watched. Of the rule: Schulman et al., LoRA Without Regret (2025), with the constants of
tinker-cookbook: 5e-5 x 10 x (2000 / hidden size)^p, p 0.781 for Llama and 0.0775 for Qwen, at alpha 32 and scale alpha / r.
"""

from __future__ import annotations

import math
import random

from helpers.runs import RunDir
from helpers.settings import PAD_TO, RunConfig

STEPS = 60
LOW, HIGH = 1e-6, 0.3  # learning rates
SMOOTH = 0.8  # of the running mean of the loss
BROKEN = 1.5  # times the lowest smoothed loss: the test ends
BREAKS = 1.25  # times the lowest smoothed loss: a step above it, and all after it, have broken down
BELOW = 10  # the suggestion is so much below the rate at which the loss breaks down
EXPONENTS = {"llama": 0.781, "qwen": 0.0775}


def throwaway_trainer(run: RunDir, config: RunConfig):
    """The trainer of 04 on the rows of `run`, with a fresh adapter; it measures and saves nothing."""
    import tempfile

    from transformers import set_seed
    from trl import SFTConfig

    from helpers.data.labels import encode_rows
    from helpers.files import read_jsonl
    from helpers.model.device import number_formats
    from helpers.model.load import load_base_model
    from helpers.model.lora import lora_config
    from helpers.model.tokenizer import load_tokenizer
    from helpers.train.packing import one_row_a_pass
    from helpers.train.settings import ARGUMENTS, require_arguments
    from helpers.train.trainer import LeanTrainer

    run.require(run.train_jsonl, produced_by="03_data_preview.ipynb")
    tokenizer, passes = load_tokenizer(config), one_row_a_pass(config)
    args = SFTConfig(
        output_dir=tempfile.gettempdir(),
        save_strategy="no",
        report_to="none",
        activation_checkpointing=config.activation_checkpointing,
        pad_to_multiple_of=PAD_TO,
        train_sampling_strategy="group_by_length" if config.sort_by_length and not config.packing else "random",
        **number_formats(config),
        **{name: getattr(passes, name) for name in ARGUMENTS},
    )
    require_arguments(args, passes)
    set_seed(config.seed)
    return LeanTrainer(
        model=load_base_model(config),
        args=args,
        train_dataset=encode_rows(read_jsonl(run.train_jsonl), tokenizer, config),
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )


def range_test(trainer, steps: int = STEPS, low: float = LOW, high: float = HIGH) -> list[dict]:
    """Train `steps` steps at learning rates from `low` to `high`; rows of learning_rate, loss and smooth (nats per token).

    Adapter, optimizer and random numbers of `trainer` are afterwards what they were before. Ends early when the loss breaks
    down. Raises ValueError for a range that is none.
    """
    import torch

    from helpers.show.progress import Progress

    if not (0 < low < high and steps >= 2):
        raise ValueError(
            f"low={low}, high={high}, steps={steps} is no range: use 0 < low < high, and at least 2 steps."
        )
    model, args = trainer.model, trainer.args
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before, training, rows, mean = [weight.detach().clone() for weight in weights], model.training, [], None
    cls, settings = trainer.get_optimizer_cls_and_kwargs(args, model)
    optimizer = cls(weights, **settings)
    batches = _batches(trainer)
    with torch.random.fork_rng():
        torch.manual_seed(args.seed)
        model.train()
        for step in Progress(range(steps), desc="range test"):
            rate = low * (high / low) ** (step / (steps - 1))
            loss = 0.0
            for _ in range(args.gradient_accumulation_steps):
                with trainer.compute_loss_context_manager():
                    part = trainer.compute_loss(model, next(batches)) / args.gradient_accumulation_steps
                part.backward()
                loss += part.item()
            torch.nn.utils.clip_grad_norm_(weights, args.max_grad_norm or math.inf)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
            if not math.isfinite(loss):
                rows.append({"learning_rate": rate, "loss": math.inf, "smooth": math.inf if mean is None else mean})
                break
            mean = loss if mean is None else SMOOTH * mean + (1 - SMOOTH) * loss
            rows.append({"learning_rate": rate, "loss": loss, "smooth": mean})
            if mean > BROKEN * min(row["smooth"] for row in rows):
                break
    with torch.no_grad():
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
            weight.grad = None
    model.train(training)
    return rows


def breaking_rate(rows: list[dict]) -> float | None:
    """The learning rate from which on every step's loss lay above `BREAKS` times the lowest mean; None if it never did so."""
    limit, found = BREAKS * min((row["smooth"] for row in rows), default=0.0), None
    for row in reversed(rows):
        if row["loss"] <= limit:
            break
        found = row["learning_rate"]
    return found


def suggested_rate(rows: list[dict]) -> float | None:
    """A tenth of the rate at which the loss breaks down, or of the highest one tried; None when it never fell clearly (2 %).

    Not of the rate of the lowest loss: that wanders with the noise of single batches, see proofs/bench_probe.py.
    """
    lowest = min(rows, key=lambda row: row["smooth"], default=None)
    if lowest is None or lowest["smooth"] > 0.98 * rows[0]["smooth"]:
        return None
    return float(f"{(breaking_rate(rows) or rows[-1]['learning_rate']) / BELOW:.1g}")


def rule_of_thumb(config: RunConfig, hidden_size: int) -> float:
    """The learning rate of LoRA Without Regret for a model of that width.

    It does not depend on the rank as long as the branch is scaled by alpha / r: that is what the scale is for. Other scales
    than 32 / r change the first steps in proportion, which the rule makes up for; with rsLoRA the scale is alpha / sqrt(r).
    """
    family = next((p for name, p in EXPONENTS.items() if name in config.model_id.lower()), EXPONENTS["llama"])
    scale = config.lora_alpha / (math.sqrt(config.lora_r) if config.use_rslora else config.lora_r)
    return 5e-5 * 10 * (2000 / hidden_size) ** family * (32 / config.lora_r) / scale


def suggestion(rows: list[dict], config: RunConfig, hidden_size: int) -> str:
    """What the test and the rule say, and why, in sentences."""
    found, rule = suggested_rate(rows), rule_of_thumb(config, hidden_size)
    told = f"Rule of thumb (LoRA Without Regret, 2025): {rule:.1e} for a width of {hidden_size:,}, whatever the rank."
    if found is None:
        return f"The loss did not fall clearly in {len(rows)} steps, so the test suggests nothing. {told}"
    breaks = breaking_rate(rows)
    highest = rows[-1]["learning_rate"]
    said = f"the loss did not break down up to {highest:.1e}; a tenth of that, {found:.0e}, is a careful guess"
    if breaks is not None:
        said = f"the loss broke down at {breaks:.1e}; a tenth of that, {found:.0e}, leaves room"
    return f"Range test: {said}. {told} config.json has {config.learning_rate:g}. To try it: fork with learning_rate={found:.0e}."


def probe_chart(rows: list[dict]):
    """Loss over the learning rate, with the suggestion, as a `Picture`."""
    from matplotlib.figure import Figure

    from helpers.show.pictures import Picture
    from helpers.show.tables import BLUE, GREY, ORANGE

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    rates = [row["learning_rate"] for row in rows]
    axes.plot(rates, [row["loss"] for row in rows], color=GREY, alpha=0.5, label="each step")
    axes.plot(rates, [row["smooth"] for row in rows], color=BLUE, label="running mean")
    if found := suggested_rate(rows):
        axes.axvline(found, color=ORANGE, linestyle="--", label=f"suggested: {found:.0e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (nats per token)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    lowest = min(rows, key=lambda row: row["smooth"])
    told = f"Range test from {rates[0]:.0e} to {rates[-1]:.0e}: the running mean of the loss is lowest, {lowest['smooth']:.2f}, at {lowest['learning_rate']:.0e}"
    return Picture(figure, told)


def _batches(trainer):
    """Endless batches on the model's device, in an order of their own."""
    order, rows = random.Random(trainer.args.seed), trainer.train_dataset
    size = trainer.args.per_device_train_batch_size
    while True:
        places = order.sample(range(len(rows)), min(size, len(rows)))
        batch = trainer.data_collator([rows[place] for place in places])
        yield {name: values.to(trainer.model.device) for name, values in batch.items()}
