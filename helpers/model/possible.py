"""Settings that cannot work on this model, found in 03 in seconds: the libraries are asked, without weights."""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
from enum import Enum
from typing import TYPE_CHECKING

from helpers.model.device import attention
from helpers.model.generation import require_usable
from helpers.model.lora import lora_config
from helpers.model.meta import on_meta, one_line, unanswerable, unreachable
from helpers.model.quantise import refuse_quantised
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.model.tokenizer import load_tokenizer, require_rows_for_all
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.sandbox import Unsafe

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

MOST_ROWS = 4096  # packed rows may go one at a time: so many steps of gradient accumulation are allowed
NAN = re.compile(r'[\[ "]NaN[",\]}]')


def require_possible(config: RunConfig) -> None:
    """Raises `Refused`, in one sentence that names the setting with which 04 to 06 could not end."""
    _settings(config)
    _scheduler(config)
    _optimizer(config)
    shapes = _shapes(config)
    require_usable(config)
    _tokens(config, shapes.get_text_config().vocab_size)
    _branches(config, _without_weights(config, shapes))


def _refusal(setting: str, sentence: str, /, **values: object) -> Refused:
    return Refused(Reason.SETTING, sentence.format(**values), setting)


def _settings(config: RunConfig) -> None:
    if config.eval_fraction == 0:
        sentence = _("eval_fraction=0 holds nothing out, so nothing tells learning from memorising: use 0.01 or more.")
        raise _refusal("eval_fraction", sentence)
    if config.report_to != "none" and importlib.util.find_spec(config.report_to) is None:
        sentence = _("report_to={name!r}: this package is not installed here: pip install it, or use none.")
        raise _refusal("report_to", sentence, name=config.report_to)
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    if config.packing and rows > MOST_ROWS:
        sentence = _(
            "per_device_train_batch_size times gradient_accumulation_steps is {rows:,}: packed rows may go one at a "
            "time, so use at most {most:,} of them in a step, or packing=False."
        )
        raise _refusal("gradient_accumulation_steps", sentence, rows=rows, most=MOST_ROWS)


def _require_known(name: str, value: str, known: type[Enum]) -> None:
    names = [kind.value for kind in known]
    if value not in names:
        sentence = _("{name}={value!r} is not known to transformers: use one of {names}.")
        raise _refusal(name, sentence, name=name, value=value, names=", ".join(names))


def _scheduler(config: RunConfig) -> None:
    """A name that transformers knows, and that needs nothing else."""
    import torch
    from transformers import SchedulerType, get_scheduler

    name = config.lr_scheduler_type
    _require_known("lr_scheduler_type", name, SchedulerType)
    some = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        get_scheduler(name, some, num_warmup_steps=1, num_training_steps=10)
    except (ValueError, TypeError) as error:
        sentence = _("lr_scheduler_type={name!r} needs more than a name: {reason} Use cosine, linear or constant.")
        raise _refusal("lr_scheduler_type", sentence, name=name, reason=one_line(error)) from None


def _optimizer(config: RunConfig) -> None:
    """A name that transformers knows, and whose package is here."""
    from transformers import Trainer, TrainingArguments
    from transformers.training_args import OptimizerNames

    _require_known("optim", config.optim, OptimizerNames)
    with tempfile.TemporaryDirectory() as folder:
        try:
            Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(folder, report_to="none", optim=config.optim))
        except (ValueError, ImportError, RuntimeError) as error:
            sentence = _("optim={name!r} cannot be used here: {reason}")
            raise _refusal("optim", sentence, name=config.optim, reason=one_line(error)) from None


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
    name, kernel = config.model_id, attention(config)
    try:
        model = on_meta(shapes, attn_implementation=kernel, trust_remote_code=config.trust_remote_code)
    except Exception as error:
        if config.attn_implementation == "auto":
            raise _no_model(config, error) from None
        sentence = _("attn_implementation={name!r} cannot be used here: {reason}")
        reason = one_line(error)
        raise _refusal("attn_implementation", sentence, name=config.attn_implementation, reason=reason) from None
    if reason := unreachable(model):
        sentence = _("model_id={name!r} cannot be trained here: {reason}. Choose another base model.")
        raise _refusal("model_id", sentence, name=name, reason=reason)
    if config.activation_checkpointing and not model.supports_gradient_checkpointing:
        sentence = _("activation_checkpointing=True cannot be used on {name}: its architecture has none. Use False.")
        raise _refusal("activation_checkpointing", sentence, name=name)
    return model


def _branches(config: RunConfig, model: PreTrainedModel) -> None:
    """LoRA on `model`, which has no weights."""
    import torch
    from peft import get_peft_model

    try:
        with torch.device("meta"):
            adapted = get_peft_model(model, lora_config(config))
    except (ValueError, NotImplementedError, RuntimeError) as error:
        reason, name, way_out = one_line(error), "lora_target_modules", _("Use all-linear, or names of linear layers.")
        if "dropout" in str(error).lower():
            name, way_out = "lora_dropout", _("Use lora_dropout=0.")
        sentence = _("{setting}={value!r} cannot be used on {name}: {reason} {way_out}")
        values = {"setting": name, "value": getattr(config, name), "reason": reason, "way_out": way_out}
        raise _refusal(name, sentence, name=config.model_id, **values) from None
    value = config.lora_target_modules
    if reason := unanswerable(adapted):
        sentence = _("lora_target_modules={value!r} cannot be used on {name}: {reason}.")
        raise _refusal("lora_target_modules", sentence, value=value, name=config.model_id, reason=reason)
    if hasattr(adapted.get_output_embeddings(), "lora_A"):
        sentence = _(
            "lora_target_modules={value!r} adapts the output layer, which the trainer's loss reads without its "
            "adapter, so that it would learn nothing: leave lm_head out, or use all-linear."
        )
        raise _refusal("lora_target_modules", sentence, value=value)
