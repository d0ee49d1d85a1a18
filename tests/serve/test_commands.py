import json
import shlex

import pytest

from helpers.serve.commands import context_length, llama_server_command, ollama_commands, vllm_command


@pytest.fixture
def adapter(tmp_path):
    def write(**settings):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, **settings}))
        return tmp_path

    return write


@pytest.mark.parametrize("rank, size", [(1, 1), (2, 8), (8, 8), (9, 16), (48, 64), (257, 320), (320, 320), (512, 512)])
def test_the_next_rank_that_vllm_takes(adapter, rank, size):
    assert f"--max-lora-rank {size} " in vllm_command("owner/base", 4096, adapter(r=rank))


@pytest.mark.parametrize("rank", [513, 0, -8, "8", None, 8.5])
def test_a_rank_that_vllm_does_not_serve_is_refused(adapter, rank):
    with pytest.raises(ValueError, match=f"lora_r={rank!r}"):
        vllm_command("owner/base", 4096, adapter(r=rank))


@pytest.mark.parametrize(
    "longest, needed, length", [(2048, 6000, 2048), (32768, 600, 4096), (32768, 6000, 6000), (None, 1, 4096)]
)
def test_a_served_conversation_is_never_longer_than_the_model(longest, needed, length):
    assert context_length(longest, needed) == length


def test_an_adapter_is_served_as_it_was_measured(adapter):
    """Its own template and stop tokens, the revision that was trained on, greedy."""
    folder = adapter()
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    words = shlex.split(vllm_command("owner/base", 4096, folder, "mine", "a1b2c3", folder))
    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert options["--revision"] == options["--tokenizer-revision"] == "a1b2c3" and options["--max-model-len"] == "4096"
    words = words[words.index("--generation-config") :]
    assert f"--lora-modules mine={folder}" in " ".join(words) and words[words.index("--max-lora-rank") + 1] == "8"
    assert words[words.index("--chat-template") + 1] == str(folder / "chat_template.jinja") and words[1] == str(folder)
    assert json.loads(words[words.index("--override-generation-config") + 1]) == {"temperature": 0}


@pytest.mark.parametrize("model, revision", [("/runs/my model/merged", "main"), ("owner/base", "v1; rm -rf /")])
def test_every_word_is_one_word_for_the_shell(model, revision):
    words = shlex.split(vllm_command(model, 512, revision=revision))
    assert words[:3] == ["vllm", "serve", model] and (revision in words) is (revision != "main")
    served = llama_server_command("my model.gguf", 512)
    assert "--temp 0" in served and "'my model.gguf'" in served


NOT_SERVED = [
    {"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"alpha_pattern": {"q_proj": 64}},
    {"rank_pattern": {"q_proj": 32}}, {"use_rslora": True, "rank_pattern": {"q_proj": 32}}, {"lora_bias": True},
    {"trainable_token_indices": [1, 2]}, {"target_parameters": ["experts.gate_up_proj"]}, {"peft_type": "LOHA"},
    {"alora_invocation_tokens": [5]}, {"layer_replication": [[0, 2]]}, {"init_lora_weights": "pissa"},
    {"what_comes_next": True},
]  # fmt: skip


@pytest.mark.parametrize("settings", NOT_SERVED, ids=lambda settings: next(iter(settings)))
def test_an_adapter_that_vllm_scales_otherwise_is_refused(adapter, settings):
    with pytest.raises(ValueError, match=list(settings)[-1]):
        vllm_command("owner/base", 4096, adapter(**settings), "mine")


def test_a_plain_adapter_is_served(adapter):
    plain = {"use_dora": False, "modules_to_save": None, "bias": "none", "rank_pattern": {}, "what_comes_next": None}
    for settings in (plain, {"use_rslora": True}, {"init_lora_weights": "gaussian"}, {"target_modules": ".*proj"}):
        assert "--enable-lora" in vllm_command("owner/base", 4096, adapter(**settings), "mine")


def test_a_template_as_transformers_4_saved_it(adapter):
    folder = adapter()
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert f"--tokenizer {folder}" in vllm_command("owner/base", 4096, folder, "mine")


def test_no_template_is_lost_where_an_adapter_has_several(adapter):
    """Beside chat_template.jinja, which is the default, transformers saves the others."""
    folder = adapter()
    (folder / "additional_chat_templates").mkdir()
    for file in ("chat_template.jinja", "additional_chat_templates/tool_use.jinja"):
        (folder / file).write_text("{{ messages }}")
    words = vllm_command("owner/base", 4096, folder, "mine")
    assert f"--tokenizer {folder}" in words and "--chat-template" not in words
    with pytest.raises(ValueError, match="llama-server takes one chat template"):
        llama_server_command("base.gguf", 512, folder / "adapter.gguf", folder / "chat_template.jinja")


@pytest.mark.parametrize("name, model", [("Demo", "demo"), ("한국어-챗봇", "model-f46a5f3d"), ("a b/c", "a-b-c")])
def test_a_name_that_ollama_takes(tmp_path, name, model):
    assert f"ollama create {model} -f Modelfile && ollama run {model}" in ollama_commands(tmp_path, name)


def test_a_path_with_a_blank_stays_one_word(tmp_path):
    assert ollama_commands(tmp_path / "my runs", "Demo").startswith(f"cd '{tmp_path}/my runs' && ollama create demo ")


def test_names_that_ollama_cannot_write_stay_apart(tmp_path):
    """`ollama create` takes the place of an older model of the same name, without a word."""
    names = ["한국어-챗봇", "고객-상담", "한국 model", "일본 model", "x" * 90, "x" * 91, "model"]
    commands = {ollama_commands(tmp_path, name) for name in names}
    assert len(commands) == len(names) and all(command.isascii() for command in commands)
