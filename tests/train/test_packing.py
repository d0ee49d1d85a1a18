import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig

from helpers.train.packing import require_rows_apart

ROWS = [{"input_ids": [5, 6, 7, 8, 9, 10]}, {"input_ids": [11, 12, 13, 14]}]
SIZES = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def model(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).train()


def test_llama_keeps_packed_rows_apart():
    llama = model(LlamaConfig(**SIZES, intermediate_size=64))
    assert require_rows_apart(llama, ROWS) < 1e-4 and llama.training


def test_an_architecture_that_mixes_them_is_refused():
    opt = model(OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32))
    with pytest.raises(ValueError, match=r"packing=True mixes .* 'opt' \(logits differ by \d+%\): set packing=False"):
        require_rows_apart(opt, ROWS)
