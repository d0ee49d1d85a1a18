"""What an adapter's own files say, before any model is loaded: which fields it uses, its tensors, what it learned."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from helpers.files import read_json
from helpers.model.meta import one_line
from helpers.model.refusal import Reason, Refused
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# The fields of adapter_config.json whose meaning is plain LoRA. Any other one that is not at its default (DoRA, bias in
# LoRA layers, PiSSA, whatever comes next) is left to peft, and refused by programs that know less.
PLAIN_FIELDS: set[str] = set(
    "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r target_modules "
    "exclude_modules lora_alpha lora_dropout use_rslora layers_to_transform layers_pattern runtime_config".split()
)
GGUF_FIELDS = PLAIN_FIELDS | {"rank_pattern"}  # llama.cpp takes the rank from each tensor
MERGED_FIELDS = PLAIN_FIELDS | {"rank_pattern", "alpha_pattern", "bias", "modules_to_save"}
MATRICES = ("A.weight", "B.weight", "embedding_A", "embedding_B")
KINDS = {"r": int, "lora_alpha": (int, float), "rank_pattern": dict, "alpha_pattern": dict}  # peft takes any value
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


def tensor_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    """The tensors in the adapter's file by name. Raises Refused for a file that cannot be read, or was cut short."""
    file = adapter / "adapter_model.safetensors"
    try:
        with safe_open(str(file), framework="np") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in list(tensors.keys())}
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> Refused:
    sentence = _("{file} cannot be read ({reason}): copy it again, or train again.")
    return Refused(Reason.ADAPTER, sentence.format(file=file, reason=error), "")


def require_kinds(adapter: Path) -> None:
    """Raises Refused for a field of adapter_config.json with which peft would end in an error about something else."""
    from peft import LoraConfig

    file = adapter / "adapter_config.json"
    try:
        settings = read_json(file) if file.exists() else {}
        if not isinstance(settings, dict):
            raise ValueError(_("no JSON object"))
    except ValueError as error:
        raise _unreadable(file, error) from None
    for name, kind in KINDS.items():
        if name in settings and not isinstance(settings[name], kind):
            sentence = _("{file} has {name}={value!r}, which peft cannot use: write a value like {like!r} there.")
            sentence = sentence.format(file=file, name=name, value=settings[name], like=LoraConfig().to_dict()[name])
            raise Refused(Reason.ADAPTER, sentence, "")


def check_fit(skeleton: PreTrainedModel, adapter: Path) -> None:
    """Raises Refused unless the adapter's file has just the tensors that peft puts on this base: peft only warns.

    `skeleton`: the base without weights (torch's device meta); it gets the adapter's modules.
    """
    from peft import PeftConfig, PeftModel

    try:
        config: Any = PeftConfig.from_pretrained(str(adapter))
        if config.is_prompt_learning:
            return
        config.inference_mode = True
        if getattr(config, "init_lora_weights", True) not in (True, False):
            config.init_lora_weights = True  # others begin with the base's own numbers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = PeftModel(skeleton, config, autocast_adapter_dtype=False, low_cpu_mem_usage=True)
    except Exception as error:  # its settings are no settings, or none of its modules is there
        raise misfit(one_line(error)) from None
    require_fit(model, adapter)


def require_fit(model: PeftModel, adapter: Path) -> None:
    """Raises Refused unless the adapter's file has just the tensors that peft would write for `model`, as large."""
    from peft import get_peft_model_state_dict

    shapes, config = tensor_shapes(adapter), model.peft_config["default"]
    try:
        trained_on = Path(str(config.base_model_name_or_path)) / "config.json"
        kind = read_json(trained_on).get("model_type") if trained_on.exists() else None
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
    except (KeyError, ValueError, OSError) as error:
        raise misfit(one_line(error)) from None
    if kind and kind != model.config.model_type:
        raise misfit(_("it was trained on {folder}, a {kind}").format(folder=trained_on.parent, kind=kind))
    copied = _embeddings(model)
    places = state | {name: weight for name, weight in model.state_dict().items() if name in copied}
    if missing := sorted(state.keys() - shapes.keys()):
        raise misfit(_("{name} is not in its file").format(name=missing[0]))
    if others := sorted(shapes.keys() - places.keys()):
        raise misfit(_("{name} has no place in it").format(name=others[0]))
    for name, shape in shapes.items():
        if shape != tuple(places[name].shape):
            sentence = _(
                "its {name} has shape {theirs}, the base model's {ours} (one whose embeddings were made longer is "
                "saved first, with them, and is then the base)"
            )
            raise misfit(sentence.format(name=name, theirs=shape, ours=tuple(places[name].shape)))


def _embeddings(model: PeftModel) -> set[str]:
    """The names of weights that peft may save as well, and that the adapter reads as they were."""
    both = [model.get_input_embeddings(), model.get_output_embeddings()]
    paths = [path for path, module in model.named_modules() if any(module is one for one in both)]
    return {f"{path}{end}" for path in paths for end in (".weight", ".base_layer.weight")}


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
