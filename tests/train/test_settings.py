"""A number that was edited on the page is told, with the way to change it for good."""

import pytest

from helpers.model.lora import check_adapter, lora_config
from helpers.settings import RunConfig
from helpers.train.settings import require_adapter_alone, require_arguments, require_as_written


def test_the_same_objects_pass():
    config = RunConfig.load("tiny", lora_target_modules="q_proj,v_proj")
    require_as_written(config, lora_config(config).to_dict(), lora_config(config).to_dict())


@pytest.mark.parametrize(
    ("name", "value", "told"), [("r", 99, "lora_r is 99"), ("lora_dropout", 0.5, "lora_dropout is 0.5")]
)
def test_an_edited_adapter_is_told(name, value, told):
    config = RunConfig.load("tiny")
    edited = {**lora_config(config).to_dict(), name: value}
    with pytest.raises(ValueError, match=f"{told} on this page and .* in config.json.*OVERRIDES"):
        require_as_written(config, edited, lora_config(config).to_dict())


@pytest.mark.parametrize(("changes", "told"), [({}, ""), ({"learning_rate": 1.0}, "learning_rate is 1.0 on this page")])
def test_edited_arguments_are_told(tmp_path, changes, told):
    from trl import SFTConfig

    config = RunConfig.load("tiny")
    same = (
        "num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps per_device_eval_batch_size "
        "max_length packing eval_steps learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm optim seed "
        "save_steps logging_steps run_name"
    ).split()
    values = {name: getattr(config, name) for name in same} | {
        "activation_checkpointing": config.activation_checkpointing
    }
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", **{**values, **changes})
    if told:
        with pytest.raises(ValueError, match=told):
            require_arguments(args, config)
    else:
        require_arguments(args, config)


@pytest.fixture
def with_adapter(tiny_model):
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    return get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), lora_config(RunConfig.load("tiny")))


def test_a_model_that_is_not_as_config_json_says_is_told(with_adapter):
    assert require_adapter_alone(with_adapter, RunConfig.load("tiny", load_in_4bit=False))[0] == 0
    with pytest.raises(
        ValueError, match="has 0 layers in 4 bits, but config.json says load_in_4bit=True: put load_in_4"
    ):
        require_adapter_alone(with_adapter, RunConfig.load("tiny"))


def test_only_the_adapter_is_trained(with_adapter):
    config = RunConfig.load("tiny", load_in_4bit=False)
    next(p for name, p in with_adapter.named_parameters() if "norm" in name).requires_grad_(True)
    with pytest.raises(ValueError, match="1 other weights are trained too, such as .*norm"):
        require_adapter_alone(with_adapter, config)
    with_adapter.requires_grad_(False)
    with pytest.raises(ValueError, match="but no weight is trained"):
        require_adapter_alone(with_adapter, config)


def test_a_file_that_is_not_what_was_trained_is_told(with_adapter, tmp_path):
    from peft import get_peft_model_state_dict

    with_adapter.save_pretrained(tmp_path)
    trained = get_peft_model_state_dict(with_adapter)
    assert check_adapter(tmp_path, trained) == len(trained)
    name = sorted(trained)[-1]
    with pytest.raises(ValueError, match=f"not the adapter that was trained: {name} and 0 more"):
        check_adapter(tmp_path, {**trained, name: trained[name] + 1})
    with pytest.raises(ValueError, match=f"not the adapter that was trained: {name} and 0 more"):
        check_adapter(tmp_path, {key: value for key, value in trained.items() if key != name})
