"""A training begins from an adapter of another program when base, rank, alpha and every tensor fit; else a sentence
says what does not."""

import json
import shutil
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.files import read_json
from helpers.model.elsewhere import require_start, start_folder
from helpers.model.refusal import Refused
from helpers.runs import RunDir
from helpers.settings import RunConfig
from tests.conftest import edit_json
from tests.model.test_adapters import save_adapter

CONFIG = RunConfig.load("tiny", load_in_4bit=False)
SEVEN = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()


@pytest.fixture(scope="module")
def good(tmp_path_factory, tiny_model):
    return save_adapter(tmp_path_factory.mktemp("adapter"), r=8, lora_alpha=16, target_modules=SEVEN)


@pytest.fixture
def changed(good, tmp_path):
    """The adapter with other settings or tensors in its files."""

    def change(tensors=None, **settings):
        folder = tmp_path / "changed"
        folder.mkdir()
        whole = load_file(good / "adapter_model.safetensors")
        save_file(tensors(whole) if tensors else whole, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(read_json(good / "adapter_config.json") | settings))
        return folder

    return change


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_model_name_or_path": None, "lora_dropout": 0.3, "inference_mode": False},  # TRL, a model without a name
        {"base_model_name_or_path": "unsloth/tiny-llama-unsloth-bnb-4bit", "target_modules": r".*\.(q|k|v|o)_proj"},
        {"base_model_name_or_path": "/root/.cache/hub/models--org--tiny-llama/snapshots/0a1b", "lora_alpha": 16.0},
        {"init_lora_weights": "gaussian", "peft_version": "0.9.0"},  # LLaMA-Factory
    ],
)
def test_what_other_programs_write_is_taken(changed, settings):
    require_start(changed(**settings), RunConfig.load("tiny", model_id="build:tiny-llama"))


def half(tensors):
    return {name: weight[: len(weight) // 2] if "lora_B" in name else weight for name, weight in tensors.items()}


@pytest.mark.parametrize(
    ("settings", "tensors", "own", "told"),
    [
        ({"r": 4}, None, {}, "it has r=4, and the run lora_r=8: set lora_r=4"),
        ({"lora_alpha": 64}, None, {}, "lora_alpha=64, and the run lora_alpha=16"),
        ({"use_rslora": True}, None, {}, "use_rslora=True"),
        ({"use_dora": True}, None, {}, "use_dora=True, which 04 does not train"),
        ({"modules_to_save": ["lm_head"]}, None, {}, r"modules_to_save=\['lm_head'\]"),
        ({"rank_pattern": {"q_proj": 2}}, None, {}, "rank_pattern"),
        ({"init_lora_weights": "pissa"}, None, {}, "init_lora_weights='pissa'"),
        ({"peft_type": "IA3"}, None, {}, "peft_type=IA3"),
        ({"base_model_name_or_path": "Qwen/Qwen3-0.6B-Base"}, None, {}, "trained on 'Qwen/Qwen3-0.6B-Base', .* 'build:tiny-llama'"),
        ({}, None, {"lora_target_modules": "q_proj,v_proj"}, "and missing in the run; lora_target_modules='down_proj,gate_proj"),
        ({}, lambda all: {n: w for n, w in all.items() if "layers.1." not in n}, {}, "layers.1.* is missing in its file and"),
        ({}, lambda all: {n.replace("model.model.", "model.module."): w for n, w in all.items()}, {}, "is missing in its file and"),
        ({}, lambda all: {**all, "base_model.model.lm_head.weight": torch.ones(2, 2)}, {}, r"lm_head.weight is \(2, 2\) in its file and missing"),
        ({}, half, {}, r"is \(\d+, 8\) in its file and \(\d+, 8\) in the run"),
        ({}, lambda all: {}, {}, "0 tensors"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_its_value(changed, settings, tensors, own, told):
    with pytest.raises(Refused, match=told):
        require_start(changed(tensors, **settings), RunConfig.load("tiny", **own))


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ("A/merged", "A/merged", True),
        ("A/merged", "copy/merged", True),
        ("A/merged", "copy/checkpoint-9", True),  # the weights say it
        ("A/merged", "other/merged", False),
        ("A/merged", "half/merged", False),  # a file is missing
        ("A/tiny", "other/tiny", False),
        ("gone/tiny", "other/tiny", True),  # the name is all that there is
        ("gone/merged", "A/merged", False),
        ("gone/checkpoint-9", "A/checkpoint-9", False),
        ("packed/tiny-bnb-4bit", "A/tiny", True),
        ("packed/merged", "A/merged", False),
    ],
)
def test_folders_of_one_name_are_told_apart_by_their_weights(changed, tmp_path, tiny_model, theirs, ours, same):
    for name in {theirs, ours} - {"gone/tiny", "gone/merged", "gone/checkpoint-9"}:
        shutil.copytree(tiny_model, tmp_path / name)
    (tmp_path / ours / "README.md").touch()
    weights = tmp_path / ours / "model.safetensors"
    if ours.startswith("other"):
        save_file({name: weight + 1 for name, weight in load_file(weights).items()}, weights, {"format": "pt"})
    if ours.startswith("half"):
        shutil.copy(weights, weights.with_name("second.safetensors"))
    if theirs.startswith("packed"):
        edit_json(tmp_path / theirs / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    adapter, config = changed(base_model_name_or_path=str(tmp_path / theirs)), str(tmp_path / ours)
    with nullcontext() if same else pytest.raises(Refused, match=f"trained on '{tmp_path / theirs}'"):
        require_start(adapter, RunConfig.load("tiny", model_id=config))


def test_the_setting_names_a_folder_or_what_a_fork_took(good, tmp_path):
    run = RunDir(tmp_path / "run")
    assert start_folder(run, CONFIG) is None
    assert start_folder(run, RunConfig.load("tiny", start_from=str(good))) == good
    for name in ("adapter", "owner/name", str(tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match=f"start_from='{name}' is no folder with an adapter"):
            start_folder(run, RunConfig.load("tiny", start_from=name))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "adapter_model.bin").touch()
    with pytest.raises(FileNotFoundError, match="only safetensors are read"):
        start_folder(run, RunConfig.load("tiny", start_from=str(tmp_path / "bin")))
