"""Settings that cannot work on this model, found in 03 in seconds: the libraries are asked, without weights."""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
from typing import TYPE_CHECKING

from helpers.model.device import attention
from helpers.model.generation import require_usable
from helpers.model.lora import lora_config, target_modules
from helpers.model.meta import on_meta, one_line, unanswerable, unreachable
from helpers.model.quantise import refuse_quantised
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.model.tokenizer import load_tokenizer, require_rows_for_all
from helpers.model.weights import require_whole
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.sandbox import Unsafe

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

MOST_ROWS = 4096  # packed rows may go one at a time: so many steps of gradient accumulation are allowed
NAN = re.compile(r'[\[ "]NaN[",\]}]')


def require_possible(config: RunConfig) -> None:
    """Raises `Refused`, in one sentence that names the setting with which 04 to 06 could not end.

    FileNotFoundError for a base in a folder here that lacks a weight file."""
    _settings(config)
    _names(config)
    shapes = _shapes(config)
    require_usable(config)
    _tokens(config, shapes.get_text_config().vocab_size)
    _branches(config, _without_weights(config, shapes))
    require_whole(ModelSource.of(config))


def _settings(config: RunConfig) -> None:
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    nothing = _("eval_fraction=0 holds nothing out, so nothing tells learning from memorising: use 0.01 or more.")
    absent = _("report_to={name!r}: this package is not installed here: pip install it, or use none.")
    many = _(
        "per_device_train_batch_size times gradient_accumulation_steps is {rows:,}: packed rows may go one at a "
        "time, so use at most {most:,} of them in a step, or packing=False."
    )
    tracked = config.report_to == "none" or importlib.util.find_spec(config.report_to)
    for setting, works, sentence in (
        ("eval_fraction", config.eval_fraction, nothing),
        ("report_to", tracked, absent),
        ("gradient_accumulation_steps", not config.packing or rows <= MOST_ROWS, many),
    ):
        if not works:
            raise Refused(Reason.SETTING, sentence.format(name=config.report_to, rows=rows, most=MOST_ROWS), setting)


def _unusable(config: RunConfig, setting: str, reason: str, fix: str) -> Refused:
    sentence = _("{setting}={value!r} cannot be used on {model}: {reason}. {fix}")
    values = {"setting": setting, "value": getattr(config, setting), "model": config.model_id, "fix": fix}
    return Refused(Reason.SETTING, sentence.format(**values, reason=reason.rstrip(".")), setting)


def _names(config: RunConfig) -> None:
    """Scheduler and optimizer: transformers knows them, they need no more than a name, and their package is here."""
    import torch
    from transformers import SchedulerType, Trainer, TrainingArguments, get_scheduler
    from transformers.training_args import OptimizerNames

    for setting, known in (("lr_scheduler_type", SchedulerType), ("optim", OptimizerNames)):
        names, value = [kind.value for kind in known], getattr(config, setting)
        if value not in names:
            sentence = _("{name}={value!r} is not known to transformers: use one of {names}.")
            sentence = sentence.format(name=setting, value=value, names=", ".join(names))
            raise Refused(Reason.SETTING, sentence, setting)
    setting, fix = "lr_scheduler_type", _("Use cosine, linear or constant.")
    some = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        get_scheduler(config.lr_scheduler_type, some, num_warmup_steps=1, num_training_steps=10)
        setting, fix = "optim", _("Use adamw_torch.")
        with tempfile.TemporaryDirectory() as folder:
            Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(folder, report_to="none", optim=config.optim))
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise _unusable(config, setting, one_line(error), fix) from None


def _shapes(config: RunConfig) -> PretrainedConfig:
    """The base's config.json as the library reads it."""
    try:
        shapes = ModelSource.of(config).settings()
        numbers = shapes.to_dict()
        if not isinstance(shapes.get_text_config().vocab_size, int) or NAN.search(json.dumps(numbers, default=str)):
            raise ValueError(_("config.json holds a value that is no number"))
    except Refused:
        raise
    except Exception as error:
        raise _no_model(config, error) from None
    refuse_quantised(numbers, config.model_id)
    return shapes


def _no_model(config: RunConfig, error: Exception) -> Refused:
    sentence = _("model_id={name!r} cannot be loaded: {reason}")
    return Refused(Reason.CONFIG, sentence.format(name=config.model_id, reason=one_line(error)))


def _tokens(config: RunConfig, rows: int) -> None:
    """The ids of the tokenizer. One that cannot be loaded at all is said by the page, which loads it itself."""
    try:
        tokenizer = load_tokenizer(config)
    except (Refused, Unsafe):
        raise
    except Exception:
        return
    require_rows_for_all(tokenizer, rows, config.model_id)


def _without_weights(config: RunConfig, shapes: PretrainedConfig) -> PreTrainedModel:
    """The base on "meta", if it can be trained as the settings say."""
    kernel = attention(config)
    try:
        model = on_meta(shapes, attn_implementation=kernel, trust_remote_code=config.trust_remote_code)
    except Exception as error:
        if config.attn_implementation == "auto":
            raise _no_model(config, error) from None
        raise _unusable(config, "attn_implementation", one_line(error), _("Use auto.")) from None
    if reason := unreachable(model):
        raise _unusable(config, "model_id", reason, _("Choose another base model."))
    if config.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise _unusable(config, "activation_checkpointing", _("its architecture has none"), _("Use False."))
    return model


def _not_there(config: RunConfig, adapted) -> str:
    """The names of lora_target_modules that no layer has, which peft leaves out without a word; "" where all are."""
    names, found = target_modules(config.lora_target_modules), adapted.base_model.targeted_module_names
    wanted = names if isinstance(names, list) else []
    lost = [name for name in wanted if not any(f".{layer}".endswith(f".{name}") for layer in found)]
    return _("no layer is called {names}").format(names=", ".join(lost)) if lost else ""


def _branches(config: RunConfig, model: PreTrainedModel) -> None:
    """LoRA on `model`, which has no weights."""
    import torch
    from peft import get_peft_model

    setting, fix = "lora_target_modules", _("Use all-linear, or names of linear layers.")
    try:
        with torch.device("meta"):
            adapted = get_peft_model(model, lora_config(config))
        reason = unanswerable(adapted) or _not_there(config, adapted)
    except (ValueError, NotImplementedError, RuntimeError) as error:
        reason = one_line(error)
        if "dropout" in str(error).lower():
            setting, fix = "lora_dropout", _("Use lora_dropout=0.")
        raise _unusable(config, setting, reason, fix) from None
    if not reason and hasattr(adapted.get_output_embeddings(), "lora_A"):
        reason = _("it adapts the output layer, which the trainer's loss reads without its adapter: it would not learn")
        fix = _("Leave lm_head out, or use all-linear.")
    if reason:
        raise _unusable(config, setting, reason, fix)
