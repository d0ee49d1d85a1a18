"""An adapter's file fits its base or is refused; a config.json is read as the library reads it; what a cache takes."""

import json
import re
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from helpers.model.anatomy import anatomy
from helpers.model.elsewhere import require_start
from helpers.model.load import check_loaded, load_base_model
from helpers.model.lora import load_adapter
from helpers.model.refusal import Reason, Refused
from helpers.model.rows import by_names, cache_bytes
from helpers.model.source import ModelSource
from helpers.settings import RunConfig

CONFIG = RunConfig.load("tiny", load_in_4bit=False)
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES |= {"vocab_size": 128}


def save_adapter(folder, **lora):
    """A random LoRA on the tiny model, in bfloat16 as 04 saves it."""
    from peft import LoraConfig, get_peft_model

    lora = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False, **lora}
    model = get_peft_model(load_base_model(CONFIG), LoraConfig(task_type="CAUSAL_LM", **lora))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def without(part):
    return lambda tensors: {name: weight for name, weight in tensors.items() if part not in name}


def renamed(old, new):
    return lambda tensors: {name.replace(old, new): weight for name, weight in tensors.items()}


BROKEN = {
    "a layer": ({}, without(".layers.1.")),
    "a module": ({}, without("down_proj")),
    "one matrix": ({}, without("layers.2.mlp.down_proj.lora_B")),
    "no prefix": ({}, renamed("base_model.model.", "")),
    "a wrapper's prefix": ({}, renamed("base_model.model.model.", "base_model.model.model.language_model.")),
    "DoRA, a wrapper's prefix": ({"use_dora": True}, renamed("base_model.model.", "base_model.model.module.")),
    "torch.compile": ({"use_dora": True}, renamed("base_model.model.", "base_model.model._orig_mod.")),
    "adapter name": ({}, renamed("lora_A.weight", "lora_A.default.weight")),
    "a whole module": ({"modules_to_save": ["lm_head"]}, without("lm_head")),
    "token indices": ({"trainable_token_indices": [5, 6]}, renamed("token_adapter", "tokens")),
    "a strange tensor": ({}, lambda tensors: {**tensors, "base_model.model.other.lora_A.weight": torch.ones(4, 4)}),
    "another rank": ({}, lambda tensors: {name: weight[:2] for name, weight in tensors.items()}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_adapter_that_does_not_fit_is_refused(tmp_path, what):
    from safetensors.torch import load_file, save_file

    lora, damage = BROKEN[what]
    file = save_adapter(tmp_path, **lora) / "adapter_model.safetensors"
    tensors = load_file(file)
    load_adapter(load_base_model(CONFIG), tmp_path)  # as it was saved it fits
    save_file({name: weight.contiguous() for name, weight in damage(tensors).items()}, file, metadata={"format": "pt"})
    with pytest.raises(Refused) as raised:
        load_adapter(load_base_model(CONFIG), tmp_path)
    assert raised.value.reason is Reason.ADAPTER and "\n" not in str(raised.value)


def test_a_file_that_was_cut_short_or_is_of_another_kind_is_refused(tmp_path):
    file = save_adapter(tmp_path) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(Refused) as raised:
        load_adapter(load_base_model(CONFIG), tmp_path)
    assert raised.value.reason is Reason.ADAPTER
    file.rename(tmp_path / "adapter_model.bin")
    with pytest.raises(FileNotFoundError, match="has adapter_model.bin and no adapter_model.safetensors"):
        load_adapter(load_base_model(CONFIG), tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha_pattern", None), ("rank_pattern", []), ("lora_alpha", "6"), ("lora_alpha", None), ("r", 4.0)],
)
def test_a_setting_of_another_kind_is_named_and_not_the_base(tmp_path, name, value):
    file = save_adapter(tmp_path) / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    for needs in (lambda: load_adapter(load_base_model(CONFIG), tmp_path), lambda: require_start(tmp_path, CONFIG)):
        with pytest.raises(Refused, match=re.escape(f"adapter_config.json has {name}={value!r}, which peft")):
            needs()


@pytest.mark.parametrize("trainable", [True, False])
def test_a_loaded_adapter_is_in_float32(tmp_path, trainable):
    model = load_adapter(load_base_model(CONFIG), save_adapter(tmp_path), trainable)
    branches = [weight for name, weight in model.named_parameters() if "lora_" in name]
    assert {weight.dtype for weight in branches} == {torch.float32} and len(branches) == 2 * 2 * 4
    assert all(weight.requires_grad is trainable for weight in branches) and model.training is trainable


@pytest.mark.parametrize("weights", [True, False])
def test_a_base_folder_that_holds_an_adapter_is_refused(tiny_model, tmp_path, weights):
    base, adapter = tmp_path / "base", save_adapter(tmp_path / "adapter")
    shutil.copytree(tiny_model, base)
    for file in ("adapter_config.json", *(["adapter_model.safetensors"] if weights else [])):
        shutil.copy(adapter / file, base)
    with pytest.raises(Refused) as raised:
        ModelSource.of(RunConfig.load("tiny", model_id=str(base)))
    assert raised.value.reason is Reason.ADAPTER_INSIDE
    if weights:  # a hub id, whose files nobody saw before
        model, info = AutoModelForCausalLM.from_pretrained(base, output_loading_info=True)
        with pytest.raises(Refused) as raised:
            check_loaded(model, info)
        assert raised.value.reason is Reason.ADAPTER_INSIDE


def test_a_source_is_resolved_once(tiny_model, tmp_path):
    source = ModelSource.of(CONFIG)
    assert source == ModelSource(tiny_model, "main", False) and ModelSource.of(CONFIG).path is source.path
    assert source.is_folder and source.folder(["*.json"]).samefile(tiny_model)
    hub = RunConfig.load("tiny", model_id="owner/name", model_revision="a" * 40, trust_remote_code=True)
    where = {"pretrained_model_name_or_path": "owner/name", "revision": "a" * 40}
    assert ModelSource.of(hub).place == {**where, "trust_remote_code": True}
    assert ModelSource.of(hub, folder=tmp_path) == ModelSource(str(tmp_path), "main", True)


@pytest.mark.parametrize("kind", ["mamba2", "bamba", "nemotron_h", "falcon_h1", "granitemoehybrid"])
def test_numbers_that_json_has_no_word_for_are_read_as_the_library_writes_them(tmp_path, kind):
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert "__float__" in text
    assert anatomy(json.loads(text)).parameters > 10**6


WRONG = [
    {"hidden_act": None},
    {"rms_norm_eps": "1e-6"},
    {"use_cache": "yes"},
    {"attention_bias": None},
    {"max_position_embeddings": 4096.0},
    {"layer_types": ["full_attention"]},
    {"rope_parameters": {"rope_type": "other"}},
    {"num_attention_heads": [4]},
    {"vocab_size": {"__float__": "Infinity"}},
    {"model_type": None},
    {"pad_token_id": 10**9},
    {"num_hidden_layers": -1},
    {"rope_parameters": {"rope_type": "linear", "factor": "2", "rope_theta": 1e4}},
    {"text_config": [1]},
    {"quantization_config": []},
]


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_a_value_of_a_wrong_type_is_a_sentence_and_no_stop(value):
    numbers = AutoConfig.for_model("llama", **SIZES).to_dict() | value
    try:
        assert anatomy(numbers).parameters > 10_000
    except NotImplementedError as reason:
        assert str(reason).startswith("transformers cannot build the architecture")


MLA = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16}
CACHES = {
    "llama": {"num_key_value_heads": 2},
    "gpt2": {"n_head": 4, "n_embd": 64},
    "mpt": {"d_model": 64, "n_layers": 3, "n_heads": 4},
    "xglm": {"d_model": 64, "attention_heads": 4, "num_layers": 3},
    "gpt_bigcode": {"n_head": 4, "n_embd": 64, "multi_query": True},
    "gemma3_text": {"head_dim": 16, "num_key_value_heads": 2, "sliding_window": 16},
    "falcon_h1": {"head_dim": 16, "num_key_value_heads": 2, "mamba_d_ssm": 64, **MAMBA, "mamba_n_heads": 4},
    "bamba": {"attn_layer_indices": [1], "num_key_value_heads": 2, **MAMBA},
    "qwen3_5_text": {"head_dim": 16, "num_key_value_heads": 2, "num_hidden_layers": 4},
    "deepseek_v2": {**MLA, "num_key_value_heads": 4, "first_k_dense_replace": 3},
    "minicpm3": {**MLA, "pad_token_id": 0},
    "mamba": {"state_size": 8},
}


@pytest.mark.parametrize("kind", CACHES)
def test_the_cache_is_counted_as_the_library_builds_it(kind):
    from helpers.model.rows import tensor_bytes

    config = AutoConfig.for_model(kind, **{**SIZES, **CACHES[kind]})
    text = config.get_text_config(decoder=True).to_dict()
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    with torch.inference_mode():
        out = model(input_ids=torch.ones(1, 40, dtype=torch.long), use_cache=True)
    cache = out["cache_params"] if "cache_params" in out else out["past_key_values"]
    real = tensor_bytes(cache)
    assert real > 0 and real <= cache_bytes(text, 40) <= 1.02 * real


def test_an_architecture_that_cannot_be_run_without_weights_has_an_upper_limit():
    text = {"num_heads": 4, "num_layers": 3, "d_model": 64, "model_type": "unheard-of"}
    assert cache_bytes(text, 40) == by_names(text, 40) == 2 * 2 * 3 * 64 * 40


@pytest.mark.parametrize("text", [b"", b'{"r": 8, ', b"[]", b"\xff\xfe{}"], ids=["empty", "half", "a list", "UTF-16"])
def test_an_adapter_config_that_was_half_copied_is_named(tmp_path, text):
    save_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_bytes(text)
    with pytest.raises(Refused, match=r"adapter_config\.json cannot be read \(.+\): copy it again"):
        require_start(tmp_path, CONFIG)
