"""The base model, loaded as the run says, and what a load may not pass over in silence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from helpers.model.device import attention, compute_dtype, device_map
from helpers.model.memory import file_bytes
from helpers.model.quantise import keep_gradients, quantization_config, refuse_quantised
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource, adapter_inside
from helpers.model.weights import forget_code, require_whole
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# what lies in the files beside packed weights: FP8, GPTQ, AWQ, MXFP4, compressed-tensors, bitsandbytes
SCALES = re.compile(
    r"\.(weight_(scale\w*|packed|zero_point)|input_scale|\w*_scales|\w*_blocks"
    r"|scales|qweight|qzeros|absmax|\w*quant_map|SCB)$"
)


def load_base_model(
    config: RunConfig, four_bit: bool | None = None, source: str | None = None, device: str | None = None
) -> PreTrainedModel:
    """The base model of the run (or another folder `source`) as a real `AutoModelForCausalLM`.

    `four_bit` None follows the config; False loads 16-bit weights, as merged models are. `device` None: see
    `device_map`. Raises `Refused` for a model that is already quantised, and as `require_whole` and `check_loaded`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    four_bit = config.load_in_4bit if four_bit is None else four_bit
    files = ModelSource.of(config, folder=source)
    refuse_quantised(files.settings().to_dict(), source or config.model_id)
    require_whole(files)
    place = {"": device} if device else device_map(config)
    if source and not four_bit and torch.cuda.is_available():  # a merged model may be larger than the card
        fits = file_bytes(source) <= 0.8 * torch.cuda.mem_get_info()[0]  # a fifth stays free for the rows
        place = {"": 0} if fits else "auto"
    # `quantization_config=None` is not the same as none: it would erase the model's own
    packed = {"quantization_config": quantization_config(config)} if four_bit else {}
    model, info = cast(Any, AutoModelForCausalLM).from_pretrained(
        **files.keywords,
        **packed,
        dtype=compute_dtype(config),
        device_map=place,
        attn_implementation=attention(config),
        use_safetensors=True,
        output_loading_info=True,
    )
    model.merge_aware = config.merge_aware  # `load_adapter` then gives the model that was trained
    return check_loaded(model, info)


def check_loaded(model: PreTrainedModel, info: dict) -> PreTrainedModel:
    """`model` as a training or a reply may use it; both are of `from_pretrained(..., output_loading_info=True)`.

    Every load ends here, that on the page of 04 too. 4-bit layers keep their layout and, on a CPU, what they unpacked.
    Raises `Refused`: MISSING_WEIGHTS (the library fills them with random numbers), SCALES (packed weights of which
    config.json says nothing), QUANTISED (the files were quantised before), ADAPTER_INSIDE (of the base's folder).
    """
    from helpers.model.unpacking import unpack_once

    name = str(model.name_or_path)
    if getattr(model, "_hf_peft_config_loaded", False):
        raise Refused(Reason.ADAPTER_INSIDE, adapter_inside(name))
    numbers = model.config.to_dict()
    if not getattr(getattr(model, "hf_quantizer", None), "pre_quantized", False):
        numbers.pop("quantization_config", None)  # the run's own 4 bits
    refuse_quantised(numbers, name)
    if missing := sorted(info["missing_keys"]):
        sentence = _(
            "The weight files of {name} lack {first} ({count} weights in all), so it would be filled with random "
            "numbers: download the model again, or use its 16-bit original."
        )
        raise Refused(Reason.MISSING_WEIGHTS, sentence.format(name=name, first=missing[0], count=len(missing)))
    if scales := sorted(key for key in info["unexpected_keys"] if SCALES.search(key)):
        sentence = _(
            "The weight files of {name} hold {first} ({count} such numbers), of which config.json says nothing: the "
            "weights are quantised, and would be read without their scales. Use the 16-bit original."
        )
        raise Refused(Reason.SCALES, sentence.format(name=name, first=scales[0], count=len(scales)))
    forget_code(model, trust=type(model).__module__.startswith("transformers_modules"))
    return unpack_once(keep_gradients(release_files(model)))


def release_files(model: PreTrainedModel) -> PreTrainedModel:
    """Give a 4-bit model on a CPU 16-bit weights of its own; returns `model`. One view keeps a whole mapped file."""
    if getattr(model, "is_loaded_in_4bit", False) and model.device.type == "cpu":
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.clone()
    return model
