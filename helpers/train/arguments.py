"""The arguments of a training, made in one place; and does a page train with them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helpers.model.device import number_formats
from helpers.settings import PAD_TO, RunConfig
from helpers.show.words import _
from helpers.train.packing import one_row_a_pass

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import SFTConfig

RENAMED = {"r": "lora_r", "target_modules": "lora_target_modules"}
# over them: a training that leaves nothing
QUIET: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "report_to": "none"}
SETTINGS = (
    "num_train_epochs max_steps max_length packing eval_steps learning_rate lr_scheduler_type warmup_steps "
    "weight_decay max_grad_norm optim save_steps logging_steps activation_checkpointing report_to run_name"
).split()  # of an SFTConfig, under the names that they have as settings
PASSES = ["per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size"]


class NotAsWritten(ValueError):
    """The page would train with something else than config.json says; `names` are the settings that differ."""

    def __init__(self, message: str, names: list[str]):
        super().__init__(message)
        self.names = names


def sft_arguments(config: RunConfig) -> dict[str, Any]:
    """The keywords of the run's `SFTConfig`, all but `output_dir`; 04 shows each with its reason."""
    passes = one_row_a_pass(config)
    by_length = config.sort_by_length and not config.packing
    return {
        **{name: getattr(passes, name) for name in PASSES},
        **{name: getattr(config, name) for name in SETTINGS},
        **number_formats(config),
        "seed": config.luck,
        "pad_to_multiple_of": PAD_TO,
        "eval_strategy": "steps",
        "eval_packing": False,
        "train_sampling_strategy": "group_by_length" if by_length else "random",
        "ddp_find_unused_parameters": False,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "project": "qlora",
    }


def require_arguments(args: SFTConfig, config: RunConfig) -> None:
    """Raises NotAsWritten when the page's `SFTConfig` differs from `sft_arguments`; prints what it sets besides."""
    from trl import SFTConfig

    ours = sft_arguments(config)
    shown, expected = args.to_dict(), SFTConfig(output_dir=args.output_dir, **ours).to_dict()
    require_as_written({name: shown[name] for name in ours if name in shown}, expected)
    besides = [f"{name}={value!r}" for name, value in shown.items() if value != expected[name]]
    if besides:
        sentence = _("This page also sets {settings}, of which config.json says nothing.")
        print(sentence.format(settings=", ".join(besides)))


def require_as_written(shown: dict, expected: dict) -> None:
    """Raises NotAsWritten for each value of `shown` (of a page) that differs in `expected` (the helpers' own)."""
    here, changes = _("{name} is {value} on this page and {wanted} in config.json"), {}
    for name in shown:
        value, wanted = _in_order(shown[name]), _in_order(expected.get(name, shown[name]))
        if value != wanted:
            setting = RENAMED.get(name, name)
            changes[setting] = here.format(name=setting, value=repr(value), wanted=repr(wanted))
    if changes:
        advice = _(
            "{changes}. A training must be what config.json says: put the value into OVERRIDES (with another run_name, "
            "here and in 03), not into this cell."
        )
        raise NotAsWritten(advice.format(changes="; ".join(changes.values())), list(changes))


def _in_order(value):
    """A collection as a list in order: target_modules is a set on one side and a list on the other."""
    return sorted(map(str, value)) if isinstance(value, (set, list, tuple)) else value


def require_adapter_alone(model: PreTrainedModel, config: RunConfig) -> tuple[int, int]:
    """(layers in 4 bits, adapter matrices that are trained) of the page's model.

    Raises NotAsWritten when its bits are not those of `config`, ValueError when anything but the adapter is trained.
    """
    from bitsandbytes.nn import Linear4bit

    packed = sum(isinstance(module, Linear4bit) for module in model.modules())
    if bool(packed) != config.load_in_4bit:
        advice = _(
            "The model on this page has {layers} layers in 4 bits, but config.json says load_in_4bit={wanted}: put "
            "load_in_4bit={found} into OVERRIDES (with another run_name, here and in 03), or run the loading cell "
            "again."
        )
        message = advice.format(layers=packed, wanted=config.load_in_4bit, found=bool(packed))
        raise NotAsWritten(message, ["load_in_4bit"])
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    other = [name for name in trained if "lora_" not in name]
    if not trained:
        raise ValueError(_("No weight is trained: run the cells from the loading cell on again."))
    if other:
        sentence = _("{count} other weights are trained too, such as {name}: run the cells from the loading cell on.")
        raise ValueError(sentence.format(count=len(other), name=other[0]))
    return packed, len(trained)
