"""What a merge takes: an adapter that fits its base, whole; what it gives: a folder that other programs read as it was measured."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.evaluate.generation import generate_replies
from helpers.files import write_json
from helpers.merge.folder import write_old_names
from helpers.merge.push import check_repo_name
from helpers.merge.shards import merge_shards
from helpers.model.adapter import Untrained, refuse_untrained
from helpers.model.generation import OF_THE_MODEL
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.refusal import Reason, Refused
from helpers.model.tokenizer import load_tokenizer
from helpers.template.chat import prompt_ids
from tests.conftest import edit_json
from tests.merge.test_shards import SIZES, logits, make_adapter, merge, settings, spoil


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_model):
    """A function that makes a folder with a small random base, its config.json changed by keywords."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    plain, tokenizer = tmp_path_factory.mktemp("llama"), AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(1)
    shape = AutoConfig.for_model("llama", vocab_size=len(tokenizer), **SIZES)
    AutoModelForCausalLM.from_config(shape, dtype=torch.bfloat16).save_pretrained(plain)
    tokenizer.save_pretrained(plain)

    def make(folder, name="config.json", gone=(), **changes):
        shutil.copytree(plain, folder)
        file = folder / name
        kept = json.loads(file.read_text()) if file.exists() else {}
        write_json(file, {key: value for key, value in (kept | changes).items() if key not in gone})
        return folder

    return make


def rewrite(folder, change):
    """Each (name, tensor) of the adapter's file through `change`, which gives another name, or None: the tensor is lost."""
    file = folder / "adapter_model.safetensors"
    tensors = {change(name): tensor for name, tensor in load_file(file).items()}
    save_file({name: tensor for name, tensor in tensors.items() if name}, file, metadata={"format": "pt"})


def lost(part):
    return lambda name: None if part in name else name


def renamed(old, new):
    return lambda name: name.replace(old, new)


MISFITS = {
    "a prefix of a larger model": ({}, renamed("model.layers", "language_model.model.layers")),
    "a prefix of a compiled model": ({}, renamed("base_model.model.", "base_model.model._orig_mod.")),
    "no prefix": ({}, renamed("base_model.model.", "")),
    "the adapter's name": ({}, renamed(".weight", ".default.weight")),
    "a layer lost": ({}, lost(".layers.1.")),
    "a module lost": ({}, lost("down_proj")),
    "one matrix lost": ({}, lost("layers.0.mlp.up_proj.lora_B")),
    "a layer of a deeper model": ({}, renamed("layers.1.", "layers.7.")),
    "DoRA, a prefix": ({"use_dora": True}, renamed("base_model.model.", "base_model.model.module.")),
    "DoRA, magnitudes lost": ({"use_dora": True}, lost("magnitude")),
    "a saved module lost": ({"modules_to_save": ["norm"]}, lost("model.norm")),
    "single tokens renamed": ({"trainable_token_indices": [5, 6]}, renamed("trainable_tokens", "tokens")),
    "a module of another model": ({}, renamed("q_proj", "qkv_proj")),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_an_adapter_whose_names_are_not_pefts_is_refused(base, tmp_path, kind):
    """peft gives a warning at most, answers with the base, and the merge was called green."""
    lora, change = MISFITS[kind]
    config = settings(base(tmp_path / "base"))
    make_adapter(config, tmp_path / "adapter", **lora)
    rewrite(tmp_path / "adapter", change)
    with pytest.raises(Refused) as refusal:
        merge_shards(config, tmp_path / "adapter", tmp_path / "merged", "16bit-base")
    assert refusal.value.reason is Reason.ADAPTER
    assert not (tmp_path / "merged").exists()


NORM = "base_model.model.model.norm.weight"
SHAPES = {
    "a wider base": lambda name, t: t.repeat(1, 2) if "lora_A" in name else t,
    "transposed": lambda name, t: t.T.contiguous(),
    "one module of another rank": lambda name, t: t[:2] if "1.mlp.up_proj.lora_A" in name else t,
    "a number": lambda name, t: t.flatten()[0] if "0.mlp.up_proj.lora_B" in name else t,
    "nothing": lambda name, t: t[:0] if "lora_A" in name else t[:, :0],
    "a weight of the base too": lambda name, t: t,
}


@pytest.mark.parametrize("kind", SHAPES)
def test_an_adapter_whose_tensors_are_not_those_of_this_base_is_refused(base, tmp_path, kind):
    """Both ways refuse it: the one that answers, and the one that merges."""
    config = settings(base(tmp_path / "base"))
    make_adapter(config, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    changed = {name: SHAPES[kind](name, t) for name, t in load_file(file).items()}
    changed |= {NORM: torch.ones(64)} if "too" in kind else {}
    save_file(changed, file, metadata={"format": "pt"})
    with pytest.raises(Refused, match="does not fit this base"):
        merge_shards(config, tmp_path / "adapter", tmp_path / "merged", "16bit-base")
    with pytest.raises(Refused, match="does not fit this base"):
        load_adapter(load_base_model(config, four_bit=False), tmp_path / "adapter")


TOKENS = {"trainable_token_indices": [5, 6]}
SAYS = [
    ({}, {"r": 8}), ({}, {"rank_pattern": {"q_proj": 2}}), ({}, {"lora_alpha": "6"}), ({}, {"r": None}),
    ({}, {"alpha_pattern": ["q_proj"]}), ({}, {"peft_type": "lora"}), ({}, {"target_modules": "("}),
    ({}, {"bias": "some"}), ({}, {"trainable_token_indices": [10**6]}),
    (TOKENS, {"trainable_token_indices": [5, 10**6]}),  # one that the base does not have
]  # fmt: skip


@pytest.mark.parametrize(("lora", "changes"), SAYS, ids=str)
def test_an_adapter_config_that_says_something_else_than_its_file_is_refused(base, tmp_path, lora, changes):
    config = settings(base(tmp_path / "base"))
    make_adapter(config, tmp_path / "adapter", **lora)
    edit_json(tmp_path / "adapter" / "adapter_config.json", **changes)
    with pytest.raises(Refused, match="does not fit this base|which peft cannot use"):
        merge_shards(config, tmp_path / "adapter", tmp_path / "merged", "16bit-base")


def test_an_adapter_of_another_architecture_with_equal_shapes_is_refused(base, tmp_path):
    config = settings(base(tmp_path / "base"))
    make_adapter(settings(base(tmp_path / "other", model_type="mistral")), tmp_path / "adapter")
    with pytest.raises(Refused, match="was trained on .*other, a mistral"):
        merge_shards(config, tmp_path / "adapter", tmp_path / "merged", "16bit-base")


@pytest.mark.parametrize("guilty", ["adapter", "base"])
def test_a_number_that_is_not_finite_is_laid_at_the_right_door(base, tmp_path, guilty):
    config = settings(base(tmp_path / "base"), compute_dtype="float32")
    make_adapter(config, tmp_path / "adapter")
    if guilty == "base":
        spoil(tmp_path / "base" / "model.safetensors", "model.layers.0.mlp.up_proj.weight", float("nan"))
    else:
        name = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"
        spoil(tmp_path / "adapter" / "adapter_model.safetensors", name, float("nan"))
    with pytest.raises(ValueError, match={"adapter": "the adapter holds", "base": "base model's own file"}[guilty]):
        merge_shards(config, tmp_path / "adapter", tmp_path / "merged", "16bit-base")


def test_a_file_that_was_cut_short_is_refused(base, tmp_path):
    config = settings(base(tmp_path / "base"))
    make_adapter(config, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="adapter_model.safetensors"):
        merge_shards(config, tmp_path / "adapter", tmp_path / "merged", "16bit-base")


def test_a_base_that_holds_another_adapter_is_refused(base, tmp_path):
    make_adapter(settings(base(tmp_path / "base")), tmp_path / "adapter")
    folder = base(tmp_path / "another")
    shutil.copy(tmp_path / "adapter" / "adapter_config.json", folder)
    with pytest.raises(Refused, match="adapter_config.json"):
        merge_shards(settings(folder), tmp_path / "adapter", tmp_path / "merged", "16bit-base")


@pytest.mark.parametrize(
    ("lora", "learned"),
    [
        ({"init_lora_weights": True}, False),
        ({"init_lora_weights": True, "use_dora": True}, False),
        ({"init_lora_weights": True, "target_modules": ["embed_tokens"]}, False),
        ({"init_lora_weights": True, "modules_to_save": ["norm"]}, True),
        ({}, True),
    ],
)
def test_a_training_of_nothing_is_no_result(base, tmp_path, lora, learned):
    make_adapter(settings(base(tmp_path / "base")), tmp_path / "adapter", **lora)
    if learned:
        refuse_untrained(tmp_path / "adapter")
    else:
        with pytest.raises(Untrained):
            refuse_untrained(tmp_path / "adapter")


WAYS = [{"target_modules": ["q_proj"]}, {"target_modules": ["q_proj"], "use_dora": True}]


@pytest.mark.parametrize("lora", WAYS, ids=["by weight", "in memory"])
def test_what_belongs_to_the_model_is_carried_and_the_way_to_ask_is_not(base, tmp_path, lora):
    of_the_model = {"suppress_tokens": [7, 8], "begin_suppress_tokens": [9], "bad_words_ids": [[5, 6]]}
    of_the_model["sequence_bias"] = [[[5], -1.0]]
    ways = {"min_new_tokens": 20, "no_repeat_ngram_size": 3, "temperature": 0.7, "stop_strings": ["요"]}
    merge(settings(base(tmp_path / "base", "generation_config.json", **of_the_model, **ways)), tmp_path, **lora)
    kept = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert set(of_the_model) == set(OF_THE_MODEL)
    assert kept.items() >= of_the_model.items() and not kept.keys() & ways.keys() and kept["eos_token_id"]


ASKED = [
    {"begin_suppress_tokens": list(range(200, 1500))},
    {"sequence_bias": [[[300], -50.0], [[400], 50.0]]},
    {"forced_eos_token_id": 2, "renormalize_logits": True},
]


@pytest.mark.parametrize("of_the_base", ASKED, ids=str)
def test_anybody_who_loads_the_folder_hears_what_was_measured(base, tmp_path, of_the_base):
    config = settings(base(tmp_path / "base", "generation_config.json", **of_the_base), compute_dtype="float32")
    live, prompt = merge(config, tmp_path), [{"role": "user", "content": "얼음은 왜 물에 떠요?"}]
    tokenizer = load_tokenizer(config, source=str(tmp_path / "adapter"))
    (measured,) = generate_replies(live, tokenizer, [prompt], 8)
    merged = load_base_model(config, four_bit=False, source=str(tmp_path / "merged"))
    ids = torch.tensor([prompt_ids(tokenizer, prompt)])
    reply = merged.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    stops = merged.generation_config.eos_token_id
    assert [token for token in reply[0, ids.shape[1] :].tolist() if token not in stops] == list(measured.token_ids)


ROPES = {
    "plain": {"rope_theta": 500000.0, "rope_scaling": None},
    "llama3": {
        "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        | {"original_max_position_embeddings": 32},
    },
    "yarn": {"rope_theta": 20000.0, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
}


@pytest.mark.parametrize("kind", ROPES)
@pytest.mark.parametrize("lora", WAYS, ids=["by weight", "in memory"])
def test_older_programs_find_the_rotary_positions_by_their_old_names(base, tmp_path, kind, lora):
    config = settings(base(tmp_path / "base", gone=["rope_parameters"], **ROPES[kind]), compute_dtype="float32")
    live = merge(config, tmp_path, **lora)
    written = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert written["rope_theta"] == ROPES[kind]["rope_theta"] and written["torch_dtype"] == written["dtype"]
    assert (written["rope_scaling"] or {}).items() >= (ROPES[kind]["rope_scaling"] or {}).items()
    merged = load_base_model(config, four_bit=False, source=str(tmp_path / "merged"))
    assert (logits(merged) - logits(live)).abs().max() < 1e-3 * logits(live).std()


LONG = {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
OLD_NAMES = {
    "phi": {"rope_theta": 5e4, "partial_rotary_factor": 0.25},
    "gpt_neox": {"rotary_pct": 0.5, "rotary_emb_base": 5e4},
    "phi3": {"rope_scaling": LONG, "original_max_position_embeddings": 64, "pad_token_id": 0},
    "gemma3_text": {
        "rope_theta": 1e6,
        "rope_local_base_freq": 5e3,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "modernbert-decoder": {"global_rope_theta": 5e4, "local_rope_theta": 5e3},
    "qwen2_vl": {"text_config": {**SIZES, "rope_scaling": {"rope_type": "default", "mrope_section": [2, 3, 3]}}},
}


@pytest.mark.parametrize("kind", OLD_NAMES)
def test_both_releases_read_the_same_rotary_positions(tmp_path, kind):
    from transformers import AutoConfig

    file, old = tmp_path / "config.json", OLD_NAMES[kind]
    file.write_text(json.dumps({"model_type": kind, **({} if "text_config" in old else SIZES), **old}))
    ours = AutoConfig.from_pretrained(tmp_path)
    ours.save_pretrained(tmp_path)
    write_old_names(file)
    written = json.loads(file.read_text())
    text, wanted = written.get("text_config", written), old.get("text_config", old)
    for name, value in wanted.items():
        assert text[name].items() >= value.items() if isinstance(value, dict) else text[name] == value, name
    theirs = AutoConfig.from_pretrained(tmp_path).get_text_config().rope_parameters
    assert theirs == ours.get_text_config().rope_parameters


@pytest.mark.parametrize("lora", WAYS, ids=["by weight", "in memory"])
def test_no_strangers_code_is_named_and_every_file_has_the_usual_mode(base, tmp_path, lora):
    code = {"AutoConfig": "stranger--code.Config", "AutoModelForCausalLM": "stranger--code.Model"}
    folder = base(tmp_path / "base", auto_map=code)
    write_json(folder / "preprocessor_config.json", {"size": 1, "auto_map": code, "part": {"auto_map": code}})
    before = os.umask(0o027)
    try:
        merge(settings(folder), tmp_path, **lora)
    finally:
        os.umask(before)
    for file in (tmp_path / "merged").iterdir():
        assert file.stat().st_mode & 0o777 == 0o640, file
        assert file.suffix != ".json" or "auto_map" not in file.read_text(), file
    assert json.loads((tmp_path / "merged" / "preprocessor_config.json").read_text()) == {"size": 1, "part": {}}


@pytest.mark.parametrize(
    "name", ["me/한국어-챗봇", "me/a--b", "me/model.git", "me/" + "a" * 97, "https://x/me/a", "me/a b"]
)
def test_a_name_that_the_hub_refuses(name):
    with pytest.raises(ValueError, match="cannot be the name of a repository"):
        check_repo_name(name)
