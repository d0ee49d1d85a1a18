"""Settings that cannot work are refused in 03, in one sentence that names the setting; those that can are not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoConfig

from helpers.model.possible import require_possible
from helpers.model.refusal import Refused
from helpers.settings import RunConfig


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
        {"packing": True, "per_device_train_batch_size": 4096, "seed": 2**32 - 1},
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
        (
            {"lr_scheduler_type": "warmup_stable_decay"},
            "lr_scheduler_type='warmup_stable_decay' needs more than a name",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "needs more than a name: .*min_lr.* Use cosine"),
        (
            {"packing": True, "per_device_train_batch_size": 4096, "gradient_accumulation_steps": 2},
            "is 8,192: .* at most 4,096",
        ),
        ({"lora_target_modules": "q_proj,lm_head"}, "'q_proj,lm_head' adapts the output layer.*leave lm_head out"),
        ({"model_id": "no/such-model"}, "model_id='no/such-model' cannot be loaded: "),
        ({"seed": -1}, "seed=-1 is out of range: use 0 to"),
        ({"seed": 2**32}, "seed=4294967296 is out of range"),
        ({"lora_target_modules": "no_such_layer"}, "lora_target_modules='no_such_layer' cannot be used on"),
        (
            {"optim": "adam_of_tomorrow"},
            "optim='adam_of_tomorrow' is not known to transformers: use one of .*adamw_torch",
        ),
        (
            {"lr_scheduler_type": "zigzag"},
            "lr_scheduler_type='zigzag' is not known to transformers: use one of .*cosine",
        ),
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


@pytest.mark.parametrize(("dropout", "fits"), [(0.05, False), (0.0, True)])
def test_dropout_on_fused_experts(tmp_path, dropout, fits):
    """peft adapts experts that share one tensor by its weight, where an input cannot be dropped."""
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    shape |= {"vocab_size": 64, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
    AutoConfig.for_model("qwen3_moe", intermediate_size=32, head_dim=16, **shape).save_pretrained(tmp_path)
    config = RunConfig.load("tiny", model_id=str(tmp_path), lora_dropout=dropout)
    if fits:
        require_possible(config)
    else:
        with pytest.raises(ValueError, match="lora_dropout=0.05 cannot be used on .* Use lora_dropout=0."):
            require_possible(config)


def test_what_the_libraries_cannot_train_is_refused(tmp_path, monkeypatch):
    shape = {"hidden_size": 32, "intermediate_size": 16, "intermediate_size_mlp": 32, "num_hidden_layers": 1}
    shape |= {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 64,
        "num_local_experts": 2,
    }
    AutoConfig.for_model("llama4_text", **shape).save_pretrained(tmp_path)
    config = RunConfig.load("tiny", model_id=str(tmp_path), lora_dropout=0.0)
    with pytest.raises(
        ValueError, match="TRL's loss does not find the layers inside Llama4ForCausalLM.* Choose another"
    ):
        require_possible(config)
    monkeypatch.setattr("helpers.model.possible.unreachable", lambda model: "")  # as a TRL to come may do
    with pytest.raises(ValueError, match="'all-linear' cannot be used on .*: router answers with a tuple"):
        require_possible(config)
    require_possible(RunConfig.load("tiny", model_id=str(tmp_path), lora_target_modules="q_proj,down_proj"))


def test_checkpointing_that_an_architecture_does_not_have(tmp_path):
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "kv_channels": 16,
    }
    AutoConfig.for_model("jetmoe", **shape, vocab_size=64, num_local_experts=2).save_pretrained(tmp_path)
    config = RunConfig.load("tiny", model_id=str(tmp_path), lora_dropout=0.0)
    require_possible(config)
    with pytest.raises(
        ValueError, match="activation_checkpointing=True cannot be used on .*: its architecture has none"
    ):
        require_possible(replace(config, activation_checkpointing=True))


def test_a_quantised_base_is_refused_in_03_too(tmp_path):
    packed = {"quant_method": "gptq", "bits": 4}
    AutoConfig.for_model("llama", quantization_config=packed).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is already quantised .gptq"):
        require_possible(RunConfig.load("tiny", model_id=str(tmp_path)))
