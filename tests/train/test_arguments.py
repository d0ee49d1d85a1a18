"""A number that was edited on the page is told, with the way to change it for good."""

import pytest

from helpers.model.lora import check_adapter, lora_config
from helpers.settings import RunConfig
from helpers.train.arguments import (
    NotAsWritten,
    require_adapter_alone,
    require_arguments,
    require_as_written,
    sft_arguments,
)


def test_the_same_objects_pass():
    config = RunConfig.load("tiny", lora_target_modules="q_proj,v_proj")
    require_as_written(lora_config(config).to_dict(), lora_config(config).to_dict())


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [("r", 99, "lora_r"), ("lora_dropout", 0.5, "lora_dropout"), ("target_modules", ["q_proj"], "lora_target_modules")],
)
def test_an_edited_adapter_is_told(name, value, setting):
    config = RunConfig.load("tiny")
    edited = {**lora_config(config).to_dict(), name: value}
    with pytest.raises(NotAsWritten, match=f"{setting} is .* on this page and .* in config.json") as told:
        require_as_written(edited, lora_config(config).to_dict())
    assert told.value.names == [setting]


EDITED = {
    "learning_rate": 1.0, "seed": 7, "packing": True, "gradient_accumulation_steps": 3, "train_sampling_strategy": "group_by_length",
    "eval_steps": 3, "report_to": "trackio", "pad_to_multiple_of": 16,
}  # fmt: skip


@pytest.mark.parametrize("name", EDITED)
def test_edited_arguments_are_told(tmp_path, name):
    from trl import SFTConfig

    config = RunConfig.load("tiny")
    require_arguments(SFTConfig(str(tmp_path), **sft_arguments(config)), config)
    with pytest.raises(NotAsWritten) as told:
        require_arguments(SFTConfig(str(tmp_path), **(sft_arguments(config) | {name: EDITED[name]})), config)
    assert told.value.names == [name]


@pytest.mark.parametrize("besides", [{"loss_type": "dft"}, {"label_smoothing_factor": 0.1}, {"neftune_noise_alpha": 5}])
def test_what_config_json_cannot_say_is_printed(tmp_path, capsys, besides):
    from trl import SFTConfig

    config = RunConfig.load("tiny")
    require_arguments(SFTConfig(str(tmp_path), **sft_arguments(config)), config)
    assert not capsys.readouterr().out
    require_arguments(SFTConfig(str(tmp_path), **sft_arguments(config), **besides), config)
    assert f"{next(iter(besides))}=" in capsys.readouterr().out


@pytest.fixture
def with_adapter(tiny_model):
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    return get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), lora_config(RunConfig.load("tiny")))


def test_a_model_that_is_not_as_config_json_says_is_told(with_adapter):
    assert require_adapter_alone(with_adapter, RunConfig.load("tiny", load_in_4bit=False))[0] == 0
    told = "has 0 layers in 4 bits, but config.json says load_in_4bit=True: put load_in_4"
    with pytest.raises(ValueError, match=told):
        require_adapter_alone(with_adapter, RunConfig.load("tiny"))


def test_only_the_adapter_is_trained(with_adapter):
    config = RunConfig.load("tiny", load_in_4bit=False)
    next(p for name, p in with_adapter.named_parameters() if "norm" in name).requires_grad_(True)
    with pytest.raises(ValueError, match="1 other weights are trained too, such as .*norm"):
        require_adapter_alone(with_adapter, config)
    with_adapter.requires_grad_(False)
    with pytest.raises(ValueError, match="No weight is trained"):
        require_adapter_alone(with_adapter, config)


def test_a_file_that_is_not_what_was_trained_is_told(with_adapter, tmp_path):
    from peft import get_peft_model_state_dict

    with_adapter.save_pretrained(tmp_path)
    trained = get_peft_model_state_dict(with_adapter)
    assert check_adapter(tmp_path, trained) == len(trained)
    name = sorted(trained)[-1]
    for other in (trained | {name: trained[name] + 1}, {key: value for key, value in trained.items() if key != name}):
        with pytest.raises(ValueError, match=f"not the adapter that was trained: {name} and 0 more"):
            check_adapter(tmp_path, other)
