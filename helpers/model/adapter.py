"""What an adapter's own files say, before any model is loaded: which fields it uses, its tensors, what it learned."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.model.refusal import Reason, Refused
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# The fields of adapter_config.json whose meaning is plain LoRA. Any other one that is not at its default (DoRA, bias in
# LoRA layers, PiSSA, whatever comes next) is left to peft, and refused by programs that know less.
PLAIN_FIELDS = set(
    "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r target_modules "
    "exclude_modules lora_alpha lora_dropout use_rslora layers_to_transform layers_pattern runtime_config".split()
)
GGUF_FIELDS = PLAIN_FIELDS | {"rank_pattern"}  # llama.cpp takes the rank from each tensor
MERGED_FIELDS = PLAIN_FIELDS | {"rank_pattern", "alpha_pattern", "bias", "modules_to_save"}
MATRICES = ("A.weight", "B.weight", "embedding_A", "embedding_B")
HARMLESS_STARTS = (True, False, "gaussian", "eva", "orthogonal")  # these leave the base weights as they were


class Untrained(ValueError):
    """An adapter that changes nothing."""


def other_fields(settings: dict, known: set[str]) -> list[str]:
    """What adapter_config.json (`settings`) sets that is not `known` and not at its default, as "name=value"."""
    from peft import LoraConfig

    if settings.get("peft_type", "LORA") != "LORA":
        return [f"peft_type={settings['peft_type']}"]
    plain = LoraConfig().to_dict()
    others = {name: value for name, value in settings.items() if name not in known and value != plain.get(name)}
    if others.get("init_lora_weights") in HARMLESS_STARTS:
        del others["init_lora_weights"]
    return [f"{name}={value!r}" for name, value in others.items() if value or plain.get(name)]


def tensor_names(adapter: Path) -> list[str]:
    """The tensors in the adapter's file. Raises Refused for one that was cut short."""
    from safetensors import SafetensorError, safe_open

    file = adapter / "adapter_model.safetensors"
    try:
        with safe_open(str(file), framework="np") as tensors:
            return list(tensors.keys())
    except SafetensorError as error:
        sentence = _("{file} cannot be read ({reason}): copy it again, or train again.")
        raise Refused(Reason.ADAPTER, sentence.format(file=file, reason=error), "") from None


def check_names(skeleton: PreTrainedModel, adapter: Path) -> None:
    """Raises Refused unless the adapter's file has just the tensors that peft puts on this base: peft only warns.

    `skeleton`: the base without weights (torch's device meta); it gets the adapter's modules.
    """
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(adapter))
    if config.is_prompt_learning:
        return
    config.inference_mode = True
    if getattr(config, "init_lora_weights", True) not in (True, False):
        config.init_lora_weights = True  # others begin with the base's own numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = PeftModel(skeleton, config, autocast_adapter_dtype=False, low_cpu_mem_usage=True)
        except ValueError as error:  # none of its modules is there
            raise misfit(str(error)) from None
    require_names(model, adapter)


def require_names(model: PeftModel, adapter: Path) -> None:
    """Raises Refused unless the adapter's file has the tensors that peft would write for `model`, and no other."""
    from peft import get_peft_model_state_dict

    names = set(tensor_names(adapter))
    try:
        expected = get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    except (KeyError, ValueError) as error:
        raise misfit(str(error)) from None
    if missing := sorted(expected - names):
        raise misfit(_("{name} is not in its file").format(name=missing[0]))
    # peft may save embeddings that the adapter reads as they were
    if others := sorted(names - expected - model.state_dict().keys()):
        raise misfit(_("{name} has no place in it").format(name=others[0]))


def misfit(reason: str) -> Refused:
    """The refusal of an adapter whose file is not what this base needs."""
    sentence = _("The adapter does not fit this base model: {reason}. Is it the right base, and is the file whole?")
    return Refused(Reason.ADAPTER, sentence.format(reason=reason), "")


def refuse_alone(config: RunConfig) -> None:
    """Raises Refused for an adapter that was trained with merge_aware, before it goes anywhere without its merge."""
    if config.merge_aware:
        sentence = _(
            "This adapter was trained with merge_aware=True: on the plain base it is another model than the one "
            "that was measured. Use the merged model."
        )
        raise Refused(Reason.ADAPTER, sentence, "merge_aware")


def refuse_untrained(adapter: Path) -> None:
    """Raises Untrained when every LoRA branch of the adapter's file is zero: it is the base model still."""
    from safetensors import safe_open

    pairs: dict[str, bool] = {}  # module -> both matrices have a number that is not zero
    with safe_open(str(adapter / "adapter_model.safetensors"), framework="pt") as tensors:
        for name in list(tensors.keys()):
            module, _dot, kind = name.partition(".lora_")
            if not kind and ".base_layer." not in name:
                return  # whole weights were trained as well
            if kind in MATRICES:
                pairs[module] = pairs.get(module, True) and bool(tensors.get_tensor(name).any())
    if pairs and not any(pairs.values()):
        sentence = _(
            "This adapter changes nothing: in each of its {count} branches a matrix is zero, so nothing was learned "
            "and there is no result. Train again, with a learning_rate above 0 and more steps."
        )
        raise Untrained(sentence.format(count=len(pairs)))
