"""A2 and A5: an adapter that is trained further, in a run of its own; both train, go on and save in the same way."""

from __future__ import annotations

from typing import Any

import torch
from peft import get_peft_model_state_dict
from transformers import PreTrainedTokenizerBase

from helpers.evaluate.held_out import Scores
from helpers.files import read_json, replace_folder, write_json
from helpers.model.branch import one_function_a_branch
from helpers.model.device import number_formats
from helpers.model.lora import check_adapter, trained_weights
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.train.best import HeldOut
from helpers.train.checkpoints import STATE, complete_checkpoints, is_last, newest_complete
from helpers.train.failures import failures_explained, require_finished
from helpers.train.start import row_key
from helpers.train.trainer import float32_adapter

AS_IN_04 = "gradient_accumulation_steps max_length activation_checkpointing max_grad_norm weight_decay optim".split()


def same_as_04(config: RunConfig, kind: type) -> dict:
    """The keywords of `kind`, a `DPOConfig` or `GRPOConfig`, that 04 has, too."""
    shared = {name: getattr(config, name) for name in AS_IN_04 if hasattr(kind, name)} | number_formats(config)
    return {**shared, "seed": config.luck, "report_to": "none", "logging_nan_inf_filter": False}


def exact_weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of all that is trained in `model`, from before TRL rounds it to bfloat16."""
    return {name: weight.detach().clone() for name, weight in trained_weights(model).items()}


def keep_exact(model: Any, trained: dict[str, torch.Tensor]) -> None:
    """Give `model`, whose adapter TRL rounded to bfloat16, the numbers of before (`exact_weights`), in float32."""
    float32_adapter(model)
    for name, weight in trained.items():
        model.get_parameter(name).data = weight.detach().float().clone()
    one_function_a_branch(model)


def require_same_tokens(theirs: list[int], ours: list[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ValueError where TRL writes a text with other tokens than 04 trained."""
    if theirs != ours:
        sentence = _(
            "TRL writes {theirs!r}, but 04 trained on {ours!r}: set chat_template in 03 to a template without thoughts."
        )
        raise ValueError(sentence.format(theirs=tokenizer.decode(theirs), ours=tokenizer.decode(ours)))


def train_further(trainer: Any, made: RunDir, task: str) -> tuple[int, list[dict]]:
    """Train to the last step, or go on from the newest complete checkpoint; gives (last step, the trainer's log).

    A finished training is loaded. Raises what `failures_explained` and `require_finished` raise.
    """
    with made.lock(task), failures_explained(made, trainer):
        checkpoint = newest_complete(made.trainer)
        if checkpoint and is_last(checkpoint):
            trainer.load_trained(checkpoint)
        else:
            trainer.args.eval_on_start &= checkpoint is None  # the loss before the first step, once
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            require_finished(trainer)
    last, folder = max(complete_checkpoints(made.trainer).items())
    return last, read_json(folder / STATE)["log_history"]


def save_further(trainer: Any, made: RunDir, about: str, rows: Any, scores: Scores) -> int:
    """Write the adapter of `trainer`, read back and compared, and held_out.json, for 08; gives the number of tensors.

    `about`: the training in words; `rows`: the encoded rows that judge, of `scores`.
    """
    draft, step = made.path / ".adapter-draft", max(complete_checkpoints(made.trainer))
    trainer.model.save_pretrained(draft, selected_adapters=["default"])  # not the copy that DPO compares with
    trainer.processing_class.save_pretrained(draft)
    count = check_adapter(draft, get_peft_model_state_dict(trainer.model, adapter_name="default"))
    replace_folder(draft, made.adapter)
    HeldOut(step, step, about, [row_key(row) for row in rows], scores.nll, scores.tokens).write(made)
    write_json(made.trained, {"step": step})
    return count
