"""A number that was edited on the page is told, with the way to change it for good."""

import pytest

from helpers.config import RunConfig
from helpers.model.lora import lora_config
from helpers.train.settings import require_arguments, require_as_written


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
