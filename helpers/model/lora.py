"""LoRA: the config, the parameter count, and an adapter loaded back on its base model."""

from __future__ import annotations

from pathlib import Path

from helpers.model.adapter import tensor_names
from helpers.settings import RunConfig


def lora_config(config: RunConfig):
    """The `LoraConfig` of the run."""
    from peft import LoraConfig

    names = [name.strip() for name in config.lora_target_modules.split(",") if name.strip()]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if names == ["all-linear"] else names,
        use_rslora=config.use_rslora,
        bias="none",
    )


def count_parameters(model) -> dict[str, int]:
    """Parameters by kind: `trainable` (the adapter) and `frozen` (the base).

    A packed 4-bit weight holds two parameters per byte, so its real count is twice its numel.
    """
    counts = {"trainable": 0, "frozen": 0}
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        size = state.shape.numel() if state is not None else parameter.numel()
        counts["trainable" if parameter.requires_grad else "frozen"] += size
    return counts


def trained_weights(model) -> dict:
    """Name -> tensor of everything that is trained in `model`, whole; under FSDP every process has to call it."""
    from torch.distributed.tensor import DTensor

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: weight.full_tensor() if isinstance(weight, DTensor) else weight for name, weight in trained.items()}


def load_adapter(base_model, folder: Path):
    """`base_model` with the trained adapter of `folder`, ready to answer (a `PeftModel` in eval mode).

    `with model.disable_adapter():` gives the base model's own answers back.
    Raises ValueError when the adapter file holds no weights.
    """
    from peft import PeftModel

    check_adapter(folder)
    return PeftModel.from_pretrained(base_model, str(folder)).eval()


def check_adapter(folder: Path, trained: dict | None = None) -> int:
    """The number of tensors in the adapter's file.

    Raises FileNotFoundError when there is none, ValueError when it is empty, or is not what `trained` (name -> tensor,
    from peft's `get_peft_model_state_dict`) holds.
    """
    file = folder / "adapter_model.safetensors"
    if not file.exists():
        raise FileNotFoundError(f"{file.name} is missing in {folder}: run 04_qlora_training.ipynb first.")
    count = len(tensor_names(folder))
    if count == 0:
        raise ValueError(
            f"{file} holds 0 tensors: it was saved after merge_and_unload. Train again, and never merge the trainer's model."
        )
    if trained is not None:
        from safetensors.torch import load_file

        saved = load_file(file)
        other = saved.keys() ^ trained.keys()
        if wrong := sorted(other or (name for name in saved if not saved[name].equal(trained[name].detach().cpu()))):
            raise ValueError(
                f"{file} is not the adapter that was trained: {wrong[0]} and {len(wrong) - 1} more differ. Was the model "
                "merged or changed after the training? Run the notebook again: the training is read from its last checkpoint."
            )
    return count
