"""LoRA: the config, the parameter count, and an adapter loaded back on its base model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from helpers.model.adapter import misfit, require_fit, require_kinds, tensor_shapes
from helpers.model.meta import one_line
from helpers.model.refusal import Reason, Refused
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

FILE = "adapter_model.safetensors"


def lora_config(config: RunConfig) -> LoraConfig:
    """The `LoraConfig` of the run."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=target_modules(config.lora_target_modules),
        use_rslora=config.use_rslora,
        bias="none",
    )


def target_modules(text: str) -> str | list[str]:
    """`lora_target_modules` as peft takes it: "all-linear", or a list of names."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return "all-linear" if names == ["all-linear"] else names


def count_parameters(model: PreTrainedModel) -> dict[str, int]:
    """Parameters by kind: `trainable` (the adapter) and `frozen` (the base). A packed weight counts twice its numel."""
    counts = {"trainable": 0, "frozen": 0}
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        size = state.shape.numel() if state is not None else parameter.numel()
        counts["trainable" if parameter.requires_grad else "frozen"] += size
    return counts


def trained_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    """Name -> tensor of everything that is trained in `model`, whole; under FSDP every process has to call it."""
    from torch.distributed.tensor import DTensor

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: weight.full_tensor() if isinstance(weight, DTensor) else weight for name, weight in trained.items()}


def load_adapter(
    base_model: PreTrainedModel, folder: Path, trainable: bool = False, device: str | None = None
) -> PeftModel:
    """`base_model` with the trained adapter of `folder` in float32, ready to answer (eval mode) or to be `trainable`.

    After a training with merge_aware its layers compute with the merge in 4 bits: that is the model that was trained.
    `with model.disable_adapter():` gives the base model's own answers back. `device` None: peft's choice.
    Raises what `check_adapter` raises, and `Refused` (ADAPTER) where its names or shapes are not this base's.
    """
    from peft import PeftModel

    from helpers.model.branch import one_function_a_branch
    from helpers.model.requantised import requantise

    check_adapter(folder)
    try:
        model = PeftModel.from_pretrained(base_model, str(folder), is_trainable=trainable, torch_device=device)
    except Exception as error:  # sizes that differ, or indices that the file does not have
        raise misfit(one_line(error)) from None
    require_fit(model, folder)
    one_function_a_branch(model)
    if getattr(base_model, "merge_aware", False):
        requantise(model)
    return model.train() if trainable else model.eval()


def check_adapter(folder: Path, trained: dict[str, torch.Tensor] | None = None) -> int:
    """The number of tensors in the adapter's file. Raises FileNotFoundError when there is none, `Refused` (ADAPTER)
    when it is damaged or empty, or not what `trained` (name -> tensor, from peft's `get_peft_model_state_dict`) holds,
    and as `require_kinds`.
    """
    file = folder / FILE
    if not file.exists():
        other = sorted(folder.glob("adapter_model.*"))
        sentence = _("{file} is missing in {folder}: run 04_qlora_training.ipynb first.")
        if other:
            sentence = _("{folder} has {other} and no {file}: only safetensors are read, for others can run code.")
        raise FileNotFoundError(sentence.format(file=FILE, folder=folder, other=other[0].name if other else ""))
    require_kinds(folder)
    count = len(tensor_shapes(folder))
    if count == 0:
        sentence = _(
            "{file} holds 0 tensors: it was saved after merge_and_unload. Train again, and save before merging."
        )
        raise Refused(Reason.ADAPTER, sentence.format(file=file), "")
    if trained is not None:
        from safetensors.torch import load_file

        saved = load_file(file)
        different = saved.keys() ^ trained.keys()
        different = different or {name for name in saved if not saved[name].equal(trained[name].detach().cpu())}
        if different:
            sentence = _(
                "{file} is not the adapter that was trained: {first} and {count} more differ. Was the model merged or "
                "changed after the training? Run the notebook again: the training is read from its last checkpoint."
            )
            first, count = sorted(different)[0], len(different) - 1
            raise Refused(Reason.ADAPTER, sentence.format(file=file, first=first, count=count), "")
    return count
