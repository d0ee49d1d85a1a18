"""Settings that cannot work on this model, found in 03 in seconds: the libraries are asked, on a model without weights."""

from __future__ import annotations

import importlib.util
import tempfile

from helpers.model.anatomy import one_line, unanswerable, unreachable
from helpers.settings import RULES, RunConfig


def require_possible(config: RunConfig) -> None:
    """Raises ValueError that names the setting with which 04 to 06 could not end, in one sentence.

    Tried are what `TrainingArguments` takes, whether the packages of the settings are here, and the LoRA branches on a
    model of the same shapes without weights.
    """
    if config.eval_fraction == 0:
        raise ValueError(
            "eval_fraction=0 holds nothing out, so nobody could tell learning from memorising: use 0.01 or more."
        )
    if config.report_to != "none" and importlib.util.find_spec(config.report_to) is None:
        raise ValueError(
            f"report_to={config.report_to!r}: this package is not installed here: pip install it, or use none."
        )
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    if config.packing and rows > (most := RULES["gradient_accumulation_steps"]["high"]):
        raise ValueError(
            f"per_device_train_batch_size times gradient_accumulation_steps is {rows:,}: packed rows may go one at a time, so "
            f"use at most {most:,} of them in a step, or packing=False."
        )
    if config.push != "none" and config.hub_repo:
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(config.hub_repo)
    _arguments(config)
    _branches(config)


def _arguments(config: RunConfig) -> None:
    """The names that transformers has to know, and can use as they are."""
    import torch
    from transformers import SchedulerType, Trainer, TrainingArguments, get_scheduler
    from transformers.training_args import OptimizerNames

    for name, known in (("lr_scheduler_type", SchedulerType), ("optim", OptimizerNames)):
        if (value := getattr(config, name)) not in (names := [one.value for one in known]):
            raise ValueError(f"{name}={value!r} is not known to transformers: use one of {', '.join(names)}.")
    some = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        get_scheduler(config.lr_scheduler_type, some, num_warmup_steps=1, num_training_steps=10)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"lr_scheduler_type={config.lr_scheduler_type!r} needs more than a name: {one_line(error)} Use cosine, linear or "
            "constant_with_warmup."
        ) from None
    settings = {"optim": config.optim, "lr_scheduler_type": config.lr_scheduler_type, "eval_strategy": "steps"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(folder, report_to="none", **settings))
        except (ValueError, ImportError, RuntimeError) as error:
            raise ValueError(f"optim={config.optim!r} cannot be used here: {one_line(error)}") from None


def _branches(config: RunConfig) -> None:
    """LoRA on a model of the same shapes, without weights."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from helpers.model.device import attention
    from helpers.model.lora import lora_config
    from helpers.model.quantise import refuse_quantised
    from helpers.model.source import ModelSource

    try:
        shapes = AutoConfig.from_pretrained(**ModelSource.of(config).keywords)
    except OSError as error:
        raise ValueError(f"model_id={config.model_id!r} cannot be loaded: {one_line(error)}") from None
    refuse_quantised(shapes.to_dict(), config.model_id)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                shapes, attn_implementation=attention(config), trust_remote_code=config.trust_remote_code
            )
    except (ValueError, ImportError) as error:
        raise ValueError(
            f"attn_implementation={config.attn_implementation!r} cannot be used here: {one_line(error)}"
        ) from None
    if reason := unreachable(model):
        raise ValueError(f"model_id={config.model_id!r} cannot be trained here: {reason}. Choose another base model.")
    if config.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise ValueError(
            f"activation_checkpointing=True cannot be used on {config.model_id}: its architecture has none. Set it to False."
        )
    try:
        with torch.device("meta"):
            adapted = get_peft_model(model, lora_config(config))
    except (ValueError, NotImplementedError, RuntimeError) as error:
        name = "lora_dropout" if "dropout" in str(error).lower() else "lora_target_modules"
        told = f"{name}={getattr(config, name)!r} cannot be used on {config.model_id}: {one_line(error)}"
        raise ValueError(
            f"{told} {'Use lora_dropout=0.' if name == 'lora_dropout' else 'Use all-linear, or names of linear layers.'}"
        ) from None
    if reason := unanswerable(adapted):
        raise ValueError(
            f"lora_target_modules={config.lora_target_modules!r} cannot be used on {config.model_id}: {reason}."
        )
    if hasattr(adapted.get_output_embeddings(), "lora_A"):
        raise ValueError(
            f"lora_target_modules={config.lora_target_modules!r} adapts the output layer, which the trainer's loss reads "
            "without its adapter, so that it would learn nothing: leave lm_head out, or use all-linear."
        )
