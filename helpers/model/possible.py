"""Settings that cannot work on this model, found in 03 in seconds: the libraries are asked, on a model without weights."""

from __future__ import annotations

import importlib.util
import tempfile
from typing import TYPE_CHECKING

from helpers.model.device import attention
from helpers.model.lora import lora_config
from helpers.model.meta import one_line, unanswerable, unreachable
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
# Settings in generation_config.json with which `generate` needs more than prompts, or answers with more than one reply
IMPOSSIBLE = (
    "stop_strings return_dict_in_generate output_scores output_logits output_attentions output_hidden_states constraints "
    "force_words_ids penalty_alpha dola_layers custom_generate assistant_confidence_threshold"
).split()
ONLY_ONE = ("num_return_sequences", "num_beam_groups")


def require_possible(config: RunConfig) -> None:
    """Raises `Refused`, naming the setting with which 04 to 06 could not end, in one sentence.

    Tried are what `TrainingArguments` takes, whether the packages of the settings are here, the base's generation settings,
    its tokenizer's ids, and the LoRA branches on a model of the same shapes without weights.
    """
    _settings(config)
    _arguments(config)
    shapes = _shapes(config)
    _generation(config)
    _tokens(config, shapes.get_text_config().vocab_size)
    _branches(config, _without_weights(config, shapes))


def _settings(config: RunConfig) -> None:
    if config.eval_fraction == 0:
        sentence = _(
            "eval_fraction=0 holds nothing out, so nobody could tell learning from memorising: use 0.01 or more."
        )
        raise Refused(Reason.SETTING, sentence, "eval_fraction")
    if config.report_to != "none" and importlib.util.find_spec(config.report_to) is None:
        sentence = _("report_to={name!r}: this package is not installed here: pip install it, or use none.")
        raise Refused(Reason.SETTING, sentence.format(name=config.report_to), "report_to")
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    if config.packing and rows > MOST_ROWS:
        sentence = _(
            "per_device_train_batch_size times gradient_accumulation_steps is {rows:,}: packed rows may go one at a time, so "
            "use at most {most:,} of them in a step, or packing=False."
        )
        raise Refused(Reason.SETTING, sentence.format(rows=rows, most=MOST_ROWS), "gradient_accumulation_steps")


def _arguments(config: RunConfig) -> None:
    """The names that transformers has to know, and can use as they are."""
    import torch
    from transformers import SchedulerType, Trainer, TrainingArguments, get_scheduler
    from transformers.training_args import OptimizerNames

    for name, kinds in (("lr_scheduler_type", SchedulerType), ("optim", OptimizerNames)):
        names = [kind.value for kind in kinds]
        if (value := getattr(config, name)) not in names:
            sentence = _("{name}={value!r} is not known to transformers: use one of {names}.")
            raise Refused(Reason.SETTING, sentence.format(name=name, value=value, names=", ".join(names)), name)
    some = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        get_scheduler(config.lr_scheduler_type, some, num_warmup_steps=1, num_training_steps=10)
    except (ValueError, TypeError) as error:
        sentence = _(
            "lr_scheduler_type={name!r} needs more than a name: {reason} Use cosine, linear or constant_with_warmup."
        ).format(name=config.lr_scheduler_type, reason=one_line(error))
        raise Refused(Reason.SETTING, sentence, "lr_scheduler_type") from None
    settings = {"optim": config.optim, "lr_scheduler_type": config.lr_scheduler_type, "eval_strategy": "steps"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(folder, report_to="none", **settings))
        except (ValueError, ImportError, RuntimeError) as error:
            sentence = _("optim={name!r} cannot be used here: {reason}").format(
                name=config.optim, reason=one_line(error)
            )
            raise Refused(Reason.SETTING, sentence, "optim") from None


def _shapes(config: RunConfig) -> PretrainedConfig:
    """The base's config.json as the library reads it."""
    from transformers import AutoConfig

    try:
        shapes = AutoConfig.from_pretrained(**ModelSource.of(config).keywords)
    except Refused:
        raise
    except Exception as error:
        sentence = _("model_id={name!r} cannot be loaded: {reason}").format(
            name=config.model_id, reason=one_line(error)
        )
        raise Refused(Reason.CONFIG, sentence) from None
    refuse_quantised(shapes.to_dict(), config.model_id)
    return shapes


def _generation(config: RunConfig) -> None:
    """What the base's generation_config.json asks of every reply."""
    from transformers import GenerationConfig

    source = ModelSource.of(config)
    try:
        settings = GenerationConfig.from_pretrained(source.path, revision=source.revision).to_dict()
    except OSError:  # it has none
        return
    except Exception as error:
        reason = one_line(error)
    else:
        wrong = [name for name in IMPOSSIBLE if settings.get(name)]
        wrong += [name for name in ONLY_ONE if (settings.get(name) or 1) > 1]
        if not wrong:
            return
        reason = ", ".join(f"{name}={settings[name]!r}" for name in wrong)
    sentence = _(
        "The generation_config.json of {name} asks for what 04 to 07 cannot do: {reason}. Take it out of that file (for a model "
        "on the hub: in a copy of its folder, which model_id then names)."
    )
    raise Refused(Reason.GENERATION, sentence.format(name=config.model_id, reason=reason))


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
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                shapes, attn_implementation=attention(config), trust_remote_code=config.trust_remote_code
            )
    except Exception as error:
        sentence = _("attn_implementation={name!r} cannot be used here: {reason}")
        sentence = sentence.format(name=config.attn_implementation, reason=one_line(error))
        raise Refused(Reason.SETTING, sentence, "attn_implementation") from None
    if reason := unreachable(model):
        sentence = _("model_id={name!r} cannot be trained here: {reason}. Choose another base model.")
        raise Refused(Reason.SETTING, sentence.format(name=config.model_id, reason=reason))
    if config.activation_checkpointing and not model.supports_gradient_checkpointing:
        sentence = _(
            "activation_checkpointing=True cannot be used on {name}: its architecture has none. Set it to False."
        )
        raise Refused(Reason.SETTING, sentence.format(name=config.model_id), "activation_checkpointing")
    return model


def _branches(config: RunConfig, model: PreTrainedModel) -> None:
    """LoRA on `model`, which has no weights."""
    import torch
    from peft import get_peft_model

    try:
        with torch.device("meta"):
            adapted = get_peft_model(model, lora_config(config))
    except (ValueError, NotImplementedError, RuntimeError) as error:
        name, way_out = "lora_target_modules", _("Use all-linear, or names of linear layers.")
        if "dropout" in str(error).lower():
            name, way_out = "lora_dropout", _("Use lora_dropout=0.")
        sentence = _("{setting}={value!r} cannot be used on {name}: {reason} {way_out}").format(
            setting=name, value=getattr(config, name), name=config.model_id, reason=one_line(error), way_out=way_out
        )
        raise Refused(Reason.SETTING, sentence, name) from None
    value = config.lora_target_modules
    if reason := unanswerable(adapted):
        sentence = _("lora_target_modules={value!r} cannot be used on {name}: {reason}.")
        sentence = sentence.format(value=value, name=config.model_id, reason=reason)
        raise Refused(Reason.SETTING, sentence, "lora_target_modules")
    if hasattr(adapted.get_output_embeddings(), "lora_A"):
        sentence = _(
            "lora_target_modules={value!r} adapts the output layer, which the trainer's loss reads without its adapter, so that "
            "it would learn nothing: leave lm_head out, or use all-linear."
        )
        raise Refused(Reason.SETTING, sentence.format(value=value), "lora_target_modules")
