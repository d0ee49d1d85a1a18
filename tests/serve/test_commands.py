import json

import pytest

from helpers.serve.commands import VLLM_RANKS, context_length, ollama_commands, vllm_command, vllm_rank


@pytest.mark.parametrize("rank, size", [(1, 1), (2, 8), (8, 8), (9, 16), (48, 64), (257, 320), (320, 320), (512, 512)])
def test_the_next_rank_that_vllm_takes(rank, size):
    assert vllm_rank(rank) == size and size in VLLM_RANKS


def test_a_rank_above_all_is_refused():
    with pytest.raises(ValueError, match="lora_r=513 is more than vLLM serves"):
        vllm_rank(513)


@pytest.mark.parametrize(
    "longest, needed, length", [(2048, 6000, 2048), (32768, 600, 4096), (32768, 6000, 6000), (None, 1, 4096)]
)
def test_a_served_conversation_is_never_longer_than_the_model(longest, needed, length):
    assert context_length(longest, needed) == length


@pytest.fixture
def adapter(tmp_path):
    def write(**settings):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, **settings}))
        return tmp_path

    return write


def test_the_adapter_of_the_highest_rank_fits(adapter):
    told = vllm_command("owner/base", 4096, adapter(rank_pattern={"q_proj": 24}), "mine")
    assert "--max-model-len 4096 --enable-lora --max-lora-rank 32 --lora-modules mine=" in told


@pytest.mark.parametrize(
    "settings, what",
    [({"use_dora": True}, "DoRA"), ({"modules_to_save": ["lm_head"]}, "modules_to_save"), ({"bias": "all"}, "biases")],
)
def test_an_adapter_that_vllm_does_not_serve_is_refused(adapter, settings, what):
    with pytest.raises(ValueError, match=f"This adapter has {what}"):
        vllm_command("owner/base", 4096, adapter(**settings), "mine")
    vllm_command("owner/base", 4096, adapter(use_dora=False, modules_to_save=None, bias="none"), "mine")


def test_a_path_with_a_blank_stays_one_word(tmp_path):
    assert ollama_commands(tmp_path / "my runs", "Demo").startswith(f"cd '{tmp_path}/my runs' && ollama create demo ")
