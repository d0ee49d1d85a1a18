"""A2: `DPOTrainer` that begins exactly at its reference, with a float32 adapter, and resumes exactly."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import DPOTrainer

from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.chat import stop_ids
from helpers.train.further import exact_weights, keep_exact, require_same_tokens
from helpers.train.preferences import token_ids
from helpers.train.trainer import LeanTrainer

NEAR = 1e-4  # nats: the first loss is so near to ln 2, or the reference is another model


class NotTheReference(ValueError):
    """The training would be compared with another model than the adapter as it was."""


class ExactDPO(DPOTrainer):
    """`DPOTrainer` on `model`, a PeftModel with one trained adapter, which is its own reference to the last bit."""

    model: Any
    train_dataset: Any
    eval_dataset: Any
    load_trained: Any = LeanTrainer.load_trained  # as in 04

    def __init__(self, *args, **kwargs):
        """Raises NotTheReference when something is trained that has no partner in the reference."""
        exact = exact_weights(kwargs["model"])
        super().__init__(*args, **kwargs)  # it rounds the adapter to bfloat16, and copies a part of it
        for name, weight in self.model.named_parameters():
            if re.search(r"\.ref(\.|$)", name):  # peft leaves that of an embedding to be trained
                weight.requires_grad_(False)
        copies = {partner: exact[name] for name, partner in partners(self.model).items()}
        keep_exact(self.model, exact | copies)
        self.add_callback(StartsAtReference())

    def _load_from_checkpoint(self, checkpoint, model=None):
        """The trained adapter alone. The Trainer's own would load the reference in its place."""
        self.model.load_adapter(checkpoint, "default", is_trainable=True)


class StartsAtReference(TrainerCallback):
    """Stops when something was gained before the first step, or the loss is not ln 2."""

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        wanted = {"eval_rewards/chosen": 0.0, "eval_rewards/rejected": 0.0}
        if list(args.loss_type) == ["sigmoid"] and not args.use_weighting:
            wanted["eval_loss"] = math.log(2)
        for name, value in wanted.items():
            if not state.global_step and not abs(metrics.get(name, value) - value) < NEAR:
                note = _("{name} is {loss:.4f} before step 1, not {value:.4f}: the reference is another adapter.")
                raise NotTheReference(note.format(name=name, loss=metrics[name], value=value))


def partners(model: PreTrainedModel) -> dict[str, str]:
    """Name of everything that is trained -> its name in the reference. Raises NotTheReference when there is none."""
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    pairs = {name: re.sub(r"\.default(?=\.|$)", ".ref", name) for name in trained}
    alone = [name for name, other in pairs.items() if other == name or shapes.get(other) != shapes[name]]
    if alone or not pairs:
        sentence = _("{name} is trained and has no partner in the reference ({count} such weights).")
        raise NotTheReference(sentence.format(name=(alone or ["nothing"])[0], count=len(alone)))
    return pairs


def require_same_text(
    trainer: ExactDPO, parts: dict[str, Any], tokenizer: PreTrainedTokenizerBase, config: RunConfig
) -> None:
    """Raises ValueError unless TRL tokenised every pair (train and test) as 04 and 06 do, end of the turn included."""
    stops = set(stop_ids(tokenizer))
    rows, pairs = [*trainer.train_dataset, *trainer.eval_dataset], [*parts["train"], *parts["test"]]
    for (row, pair), name in itertools.product(zip(rows, pairs, strict=True), ("chosen", "rejected")):
        answer = row[f"{name}_ids"]
        require_same_tokens(row["prompt_ids"] + answer, token_ids(pair, name, tokenizer, config), tokenizer)
        if not stops & set(answer):
            sentence = _("The {name} answer {text!r} has no end of turn to learn.")
            raise ValueError(sentence.format(name=name, text=pair[name][-1]["content"][:60]))
