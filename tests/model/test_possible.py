"""Settings that cannot work are refused in 03, in one sentence that names the setting; those that can are not."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file
from transformers import AutoConfig

from helpers.model.load import load_base_model
from helpers.model.possible import require_possible
from helpers.model.refusal import Refused
from helpers.settings import RunConfig

PACKED = {"packing": True, "per_device_train_batch_size": 4096}
TWO_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64, "num_hidden_layers": 1}


@pytest.fixture
def tried(tmp_path):
    """`require_possible` of a run on an architecture of a small size."""

    def tried(kind, *, sizes=None, **settings):
        save_file({}, tmp_path / "model.safetensors")
        AutoConfig.for_model(kind, **{"hidden_size": 32, **TWO_HEADS, **(sizes or {})}).save_pretrained(tmp_path)
        require_possible(RunConfig.load("tiny", **{"model_id": str(tmp_path), "lora_dropout": 0.0, **settings}))

    return tried


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lora_target_modules": "q_proj,v_proj"},
        {"lora_target_modules": "embed_tokens"},
        {"lora_target_modules": "q_proj", "use_rslora": True, "lora_r": 1},
        {"eval_fraction": 0.01},
        {"optim": "adamw_torch", "lr_scheduler_type": "constant"},
        {"load_in_4bit": False, "lora_dropout": 0.0},
        {"lr_scheduler_type": "reduce_lr_on_plateau"},
        {**PACKED, "seed": 2**32 - 1},
        {"push": "both", "hub_repo": "me/mine"},
    ],
    ids=str,
)
def test_what_can_work_passes(settings):
    require_possible(RunConfig.load("tiny", **settings))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"eval_fraction": 0.0}, "eval_fraction=0 holds nothing out.*use 0.01 or more"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_type='warmup_stable_decay' cannot be used on"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "cannot be used on .*min_lr.* Use cosine"),
        ({"lr_scheduler_type": "zigzag"}, "'zigzag' is not known to transformers: use one of .*cosine"),
        ({"optim": "adam_of_tomorrow"}, "'adam_of_tomorrow' is not known to transformers: use one of .*adamw_torch"),
        ({**PACKED, "gradient_accumulation_steps": 2}, "is 8,192: .* at most 4,096"),
        ({"lora_target_modules": "q_proj,lm_head"}, "'q_proj,lm_head' .*adapts the output layer.* Leave lm_head out"),
        ({"lora_target_modules": "q_proj,v_porj"}, "no layer is called v_porj. Use all-linear"),
        ({"lora_target_modules": "all-linear,q_proj"}, "no layer is called all-linear"),
        ({"lora_target_modules": "no_such_layer"}, "lora_target_modules='no_such_layer' cannot be used on"),
        ({"model_id": "no/such-model"}, "model_id='no/such-model' cannot be loaded: "),
        ({"seed": -1}, "seed=-1 is out of range: use 0 to"),
        ({"seed": 2**32}, "seed=4294967296 is out of range"),
    ],
    ids=str,
)
def test_what_cannot_is_refused_in_a_sentence(settings, told):
    with pytest.raises(ValueError, match=told):
        require_possible(RunConfig.load("tiny", **settings))


CONFIGS = [
    ({"rms_norm_eps": float("nan")}, "cannot be loaded: config.json holds a value that is no number"),
    ({"text_config": {"hidden_size": 5}}, "cannot be loaded"),
    ({"num_key_value_heads": 0}, "cannot be loaded"),
    ({"model_type": "t5"}, "cannot be loaded: Unrecognized configuration class"),
    ({"quantization_config": {"bits": 4}}, "is already quantised"),
    ({"compression_config": "awq"}, r"is already quantised \(awq\)"),
]


@pytest.mark.parametrize(("changes", "told"), CONFIGS, ids=str)
def test_a_base_whose_settings_make_no_model_is_one_sentence(tiny_model, tmp_path, changes, told):
    numbers = json.loads((Path(tiny_model) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(numbers | changes))
    with pytest.raises(Refused, match=told):
        require_possible(RunConfig.load("tiny", model_id=str(tmp_path)))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456\n"
LOST = json.dumps({"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}})
TORN = [
    ("pytorch_model.bin", lambda whole: whole, "has no model.safetensors: only safetensors"),
    ("model.safetensors.index.json", lambda whole: LOST.encode(), "model-00002-of-00002.safetensors is missing in"),
    ("model.safetensors", lambda whole: whole[: len(whole) // 2], "model.safetensors is not whole .* download it"),
    ("model.safetensors", lambda whole: POINTER.encode(), "model.safetensors is not whole .* download it"),
    ("model.safetensors", lambda whole: b"", "model.safetensors is not whole .* download it"),
]


@pytest.mark.parametrize(("file", "torn", "told"), TORN, ids=["bin alone", "lost shard", "half", "pointer", "nothing"])
def test_weights_that_cannot_be_read_are_one_sentence_before_the_load(tiny_model, tmp_path, file, torn, told):
    folder = tmp_path / "base"
    shutil.copytree(tiny_model, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / file).write_bytes(torn(whole))
    config = RunConfig.load("tiny", model_id=str(folder), load_in_4bit=False)
    for needs in (require_possible, load_base_model):
        with pytest.raises((FileNotFoundError, Refused), match=told):
            needs(config)


EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "head_dim": 16}
LLAMA4 = {"intermediate_size": 16, "intermediate_size_mlp": 32, "head_dim": 16, "num_local_experts": 2}
JETMOE = {"intermediate_size": 64, "num_local_experts": 2, "kv_channels": 16}


def test_dropout_on_fused_experts(tried):
    """peft adapts experts that share one tensor by its weight, where an input cannot be dropped."""
    tried("qwen3_moe", sizes={"intermediate_size": 32, **EXPERTS})
    with pytest.raises(ValueError, match="lora_dropout=0.05 cannot be used on .* Use lora_dropout=0."):
        tried("qwen3_moe", sizes={"intermediate_size": 32, **EXPERTS}, lora_dropout=0.05)


def test_what_the_libraries_cannot_train_is_refused(tried, monkeypatch):
    told = "TRL's loss does not find the layers inside Llama4ForCausalLM.* Choose another"
    with pytest.raises(ValueError, match=told):
        tried("llama4_text", sizes=LLAMA4)
    monkeypatch.setattr("helpers.model.possible.unreachable", lambda model: "")  # as a TRL to come may do
    with pytest.raises(ValueError, match="'all-linear' cannot be used on .*: router answers with a tuple"):
        tried("llama4_text", sizes=LLAMA4)
    tried("llama4_text", sizes=LLAMA4, lora_target_modules="q_proj,down_proj")


def test_checkpointing_that_an_architecture_does_not_have(tried):
    tried("jetmoe", sizes=JETMOE)
    told = "activation_checkpointing=True cannot be used on .*: its architecture has none. Use False"
    with pytest.raises(ValueError, match=told):
        tried("jetmoe", sizes=JETMOE, activation_checkpointing=True)
