"""config.json as strangers write it: what fails in a plan is a sentence, never a stop."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.model.shapes import SHAPES, model_config
from helpers.plan.changes import fitted
from helpers.plan.fit import advice
from helpers.plan.need import Device, step
from helpers.plan.obstacles import obstacles
from helpers.plan.parts import total
from helpers.plan.phases import disk_parts, phases
from helpers.plan.shape import Shape
from helpers.plan.view import time_table
from helpers.settings import RunConfig
from tests.plan.configs import BAMBA, GPT2, JETMOE, LLAMA, MAMBA, MOE, SMALL, SPARSE_GEMMA

CARD = Device("a card", 24e9)
QUICK = {"packing": False, "per_device_train_batch_size": 1, "max_length": 16}
TINY_MOE = {**MOE, "hidden_size": 64, "num_hidden_layers": 2, "num_experts": 4, "moe_intermediate_size": 32}


def plan(numbers: dict, config: RunConfig, simulated: bool = False) -> Shape:
    """All that 00 shows of a model; every number is finite and above 0."""
    shape = Shape.of(json.loads(json.dumps(numbers)))
    counted = shape if simulated else replace(shape, numbers={})
    assert all(isinstance(told, str) and told for told in obstacles(config, shape))
    chosen = fitted(config, counted, CARD)
    assert str(step(chosen, counted)) and advice(chosen, counted, CARD) and repr(time_table(chosen, counted, [9, 30]))
    sizes = [phase.device + phase.ram for phase in phases(chosen, counted, CARD)] + [total(disk_parts(chosen, shape))]
    assert all(math.isfinite(size) and size > 0 for size in sizes)
    return shape


@pytest.mark.parametrize(
    "numbers",
    [SPARSE_GEMMA, MAMBA, BAMBA, GPT2, JETMOE, {**SMALL, "model_type": "nobody-knows"}, {"model_type": "gpt2"}],
)
def test_no_model_stops_the_plan(numbers, recipe):
    shape = plan(numbers, replace(recipe, **QUICK), simulated=numbers is not SPARSE_GEMMA)
    assert bool(shape.doubt) == (numbers["model_type"] == "nobody-knows")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        # of a wrong type
        ({"hidden_size": "256"}, "hidden_size='256'"),
        ({"num_hidden_layers": True}, "num_hidden_layers=True"),
        ({"num_key_value_heads": ["4", 8]}, "num_key_value_heads=['4', 8]"),
        ({"hidden_act": None}, "hidden_act"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps"),
        ({"use_cache": "yes"}, "use_cache"),
        ({"attention_bias": None}, "attention_bias"),
        ({"max_position_embeddings": 4096.0}, "max_position_embeddings"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"rope_parameters": "linear"}, ""),
        ({"model_type": 5}, "5"),
        ({"model_type": None}, "None"),
        # absurd
        ({"num_hidden_layers": -3}, "num_hidden_layers=-3"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers=1,000,000"),
        ({"vocab_size": 10**12}, "vocab_size=1000000000000"),
        ({"hidden_size": float("inf")}, "hidden_size=inf"),
        ({"hidden_size": float("nan")}, "hidden_size=nan"),
        ({"intermediate_size": {"__float__": "Infinity"}}, "intermediate_size="),
        ({"num_attention_heads": 0}, ""),
    ],
)
def test_what_is_no_size_becomes_a_doubt_and_the_plan_goes_on(changes, named, recipe):
    shape = plan({**SMALL, **changes}, replace(recipe, **QUICK))
    assert shape.doubt and named in shape.doubt


@pytest.mark.parametrize("numbers", [{}, {"hidden_size": 64}, {"text_config": "none", "model_type": []}])
def test_what_is_no_language_model_is_said(numbers, recipe):
    assert "num_hidden_layers" in plan(numbers, replace(recipe, **QUICK)).doubt


def test_values_that_the_library_reads_are_read_as_it_does(recipe):
    old = {**SMALL, "rope_theta": 10000.0, "torch_dtype": "float16", "architectures": None, "time_step": float("inf")}
    assert plan(old, replace(recipe, **QUICK)) == Shape.of(SMALL)
    assert (Shape.of(GPT2).intermediate, Shape.of({**LLAMA, "head_dim": None}).head_dim) == (4 * 64, 128)


HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**4), 10**15),
    st.floats(),
    st.text(max_size=5),
    st.just({"__float__": "NaN"}),
    st.lists(st.one_of(st.integers(-2, 9), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.sampled_from(["rope_type", "model_type", "factor"]), st.text(max_size=4), max_size=2),
)
KEYS = sorted({*SMALL, *GPT2, *TINY_MOE, *BAMBA, "text_config", "layer_types", "rope_scaling", "rope_parameters"})
KEYS += "tie_word_embeddings multi_query quantization_config auto_map torch_dtype hidden_act rms_norm_eps".split()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([SMALL, GPT2, TINY_MOE, BAMBA, SPARSE_GEMMA]),
    st.dictionaries(st.sampled_from(KEYS), HOSTILE, max_size=3),
    st.sets(st.sampled_from(KEYS), max_size=2),
    st.booleans(),
)
def test_no_config_json_stops_the_plan(numbers, changes, missing, inside):
    mutated = {name: value for name, value in numbers.items() if name not in missing}
    if inside and isinstance(mutated.get("text_config"), dict):
        mutated["text_config"] = {**mutated["text_config"], **changes}
    else:
        mutated |= changes
    plan(mutated, RunConfig.load("llama2-7b", **QUICK))


@pytest.mark.parametrize(
    ("text", "told"), [("{half", "cannot be read as JSON"), ("[1]", "holds a list"), ("[" * 9999, "JSON")]
)
def test_a_broken_config_json_is_named(recipe, tmp_path, text, told):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"config.json .*{told}.*download it again"):
        model_config(replace(recipe, model_id=str(tmp_path)))


def test_unknown_model_without_a_network(recipe, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="'someone/never-seen' is not in the bundled list"):
        model_config(replace(recipe, model_id="someone/never-seen"))


def test_gated_model_names_the_page_to_ask_at(recipe, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    def refuse(*args, **kwargs):
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(ValueError, match="gated: ask for access at https://huggingface.co/someone/gated"):
        model_config(replace(recipe, model_id="someone/gated"))


def test_the_bundled_shapes_have_no_doubt():
    assert not any(Shape.of(numbers).doubt for numbers in SHAPES.values())
