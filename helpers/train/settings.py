"""Does the page train with what config.json says? A number edited in a cell is told, never used in silence."""

from __future__ import annotations

from helpers.settings import RunConfig

ARGUMENTS = (  # of an SFTConfig that have the names of settings
    "num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps per_device_eval_batch_size "
    "max_length packing eval_steps learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm optim seed "
    "save_steps logging_steps run_name"
).split()
RENAMED = {"r": "lora_r", "target_modules": "lora_target_modules"}


def require_as_written(config: RunConfig, shown: dict, expected: dict) -> None:
    """Raises ValueError for each value of `shown` (an object of this page) that differs in `expected` (the helpers' own).

    Names the value, what config.json has, and how to change it for good.
    """
    changed = []
    for name, value in shown.items():
        wanted = expected.get(name, value)
        if isinstance(value, (set, list, tuple)) and isinstance(wanted, (set, list, tuple)):
            value, wanted = sorted(map(str, value)), sorted(map(str, wanted))
        if value != wanted:
            changed.append(f"{RENAMED.get(name, name)} is {value!r} on this page and {wanted!r} in config.json")
    if changed:
        raise ValueError(
            f"{'; '.join(changed)}. A training must be what config.json says: put the value into OVERRIDES "
            f"(with another run_name, here and in 03), not into this cell."
        )


def require_arguments(args, config: RunConfig) -> None:
    """The same for the page's `SFTConfig`: raises ValueError for a value that config.json does not have."""
    by_length = config.sort_by_length and not config.packing
    expected = {name: getattr(config, name) for name in ARGUMENTS} | {
        "activation_checkpointing": config.activation_checkpointing,
        "train_sampling_strategy": "group_by_length" if by_length else "random",
    }
    shown = args.to_dict()
    require_as_written(config, {name: shown[name] for name in expected if name in shown}, expected)


def require_adapter_alone(model, config: RunConfig) -> tuple[int, int]:
    """(layers in 4 bits, adapter matrices that are trained) of the page's model.

    Raises ValueError when it is quantised although `config` says 16 bits or the other way round, or when anything but the
    adapter is trained.
    """
    import bitsandbytes

    packed = sum(isinstance(module, bitsandbytes.nn.Linear4bit) for module in model.modules())
    if bool(packed) != config.load_in_4bit:
        raise ValueError(
            f"The model on this page has {packed} layers in 4 bits, but config.json says load_in_4bit={config.load_in_4bit}: "
            f"put load_in_4bit={bool(packed)} into OVERRIDES (with another run_name, here and in 03), or run the loading "
            "cell again."
        )
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    other = [name for name in trained if "lora_" not in name]
    if other or not trained:
        told = f"{len(other)} other weights are trained too, such as {other[0]}" if other else "no weight is trained"
        raise ValueError(
            f"Only the adapter is to be trained, but {told}: run the cells from the loading cell on again."
        )
    return packed, len(trained)
