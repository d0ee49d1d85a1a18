"""What stands between a plan and a training, and the settings without it. Imports in milliseconds."""

from __future__ import annotations

from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.words import _


def settings_that_work(config: RunConfig, shape: Shape) -> dict:
    """The settings that peft or the model's code demands and `config` does not have; empty for most models."""
    changed, model = {}, shape.counted(config.lora_target_modules)
    if not model:
        return changed
    if config.activation_checkpointing and not model.checkpoints:
        changed["activation_checkpointing"] = False
    if model.adapts_experts and config.lora_dropout:
        changed["lora_dropout"] = 0.0
    if model.refused:
        changed |= modules_that_work(shape, {m.name for m in model.maps if m.packed})
    return changed


def modules_that_work(shape: Shape, names: set[str]) -> dict:
    """Most of the linear maps `names`, so many that peft takes the rest; empty where none of three ways helps."""
    for left_out in ({"out_proj"}, {"out_proj", "conv1d"}, {"out_proj", "o_proj"}):
        chosen = ",".join(sorted(names - left_out))
        counted = shape.counted(chosen) if chosen else None
        if counted and not counted.refused:
            return {"lora_target_modules": chosen}
    return {}


def obstacles(config: RunConfig, shape: Shape) -> list[str]:
    """What stands between this plan and a training, in sentences; empty when nothing does."""
    if shape.doubt:
        return [shape.doubt]
    changed, sentences = settings_that_work(config, shape), []
    if "activation_checkpointing" in changed:
        none = _("The code of this architecture has no activation checkpointing: set activation_checkpointing = False.")
        sentences.append(none)
    if "lora_dropout" in changed:
        dropout = _("lora_dropout={dropout}: peft takes none on experts. Set lora_dropout = 0.0.")
        sentences.append(dropout.format(dropout=f"{config.lora_dropout:g}"))
    model = shape.counted(config.lora_target_modules)
    if model and model.refused:
        refusal = _("peft refuses lora_target_modules={modules} here ({reason}).")
        way = _("Name the modules there.")
        if modules := changed.get("lora_target_modules"):
            way = _("Set {settings}.").format(settings=named({"lora_target_modules": modules}))
        refusal = refusal.format(modules=repr(config.lora_target_modules), reason=model.refused)
        sentences.append(f"{refusal} {way}")
    return sentences


def named(overrides: dict) -> str:
    """Settings as people write them: "max_length = 1024, lora_r = 8"."""
    return ", ".join(f"{name} = {value!r}" for name, value in overrides.items())
