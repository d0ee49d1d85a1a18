"""Merged logits against the live adapter's: architectures unlike each other, and every way of LoRA that can be set.

In float32, so that rounding hides nothing: the merged model, loaded from its files, may be off by a thousandth of the
logits' spread (about 1e-5 was seen). The adapter moves them by a hundred times that, or the case proves nothing.
"""

import pytest
import torch

from helpers.model.load import load_base_model
from tests.merge.test_shards import SIZES, logits, merge, settings, weights

TOLERANCE = 1e-3  # of the standard deviation of the logits
EXTRA = {
    "llama": {"tie_word_embeddings": False},
    "qwen3": {"tie_word_embeddings": True},
    "gemma2": {"query_pre_attn_scalar": 16},
    "gemma3_text": {"query_pre_attn_scalar": 16},
    "phi3": {"pad_token_id": 0},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "exaone4": {"tie_word_embeddings": True, "sliding_window": 16, "sliding_window_pattern": 2},
}
NAMES = {
    "gpt2": ("wte", "c_attn", "ln_f", "lm_head"),
    "gpt_neox": ("embed_in", "query_key_value", "final_layer_norm", "embed_out"),
}
NAMES |= {"phi3": ("embed_tokens", "qkv_proj", "norm", "lm_head")}
LAYER_1 = r".*[.]1[.].*"


def kinds(architecture: str) -> dict[str, dict]:
    """The arguments of LoraConfig by name; the last two only where input and output embeddings are one."""
    embedding, linear, norm, head = NAMES.get(architecture, ("embed_tokens", "q_proj", "norm", "lm_head"))
    tied = {"target_modules": [embedding, linear], "ensure_weight_tying": True}
    tokens = {"target_modules": [linear], "trainable_token_indices": [5, 6, 20]}
    return {
        "LoRA": {},
        "rsLoRA, patterns": {"use_rslora": True, "rank_pattern": {LAYER_1: 2}, "alpha_pattern": {LAYER_1: 20}},
        "DoRA": {"use_dora": True, "target_modules": [linear]},
        "norm saved": {"modules_to_save": [norm]},
        "embeddings": {"target_modules": [embedding, linear]},
        "embeddings saved": {"modules_to_save": [embedding], "target_modules": [linear]},
        "head": {"target_modules": [linear, head]},
        "head saved": {"modules_to_save": [head], "target_modules": [linear]},
        "DoRA on the head": {"use_dora": True, "target_modules": [linear, head]},
        **({"tied adapters": tied, "single tokens": tokens} if architecture in ("gpt2", "qwen3") else {}),
    }


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def make_base(architecture: str, tokenizer, folder):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {} if architecture == "gpt2" else SIZES
    shape = AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **sizes, **EXTRA[architecture])
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    for name, weight in model.named_parameters():
        if name.endswith("bias") or weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return logits(model.eval())


@pytest.mark.parametrize("architecture", EXTRA)
@pytest.mark.slow
def test_the_merged_model_says_what_the_adapter_said(architecture, tokenizer, tmp_path):
    base = make_base(architecture, tokenizer, tmp_path / "base")
    config = settings(tmp_path / "base", compute_dtype="float32")
    wrong = {}
    for kind, lora in kinds(architecture).items():
        wanted = logits(merge(config, tmp_path, **lora))
        merged = load_base_model(config, four_bit=False, source=str(tmp_path / "merged"))
        off, moved = (logits(merged) - wanted).abs().max() / wanted.std(), (base - wanted).abs().max() / wanted.std()
        assert set(weights(tmp_path / "base")) <= set(weights(tmp_path / "merged")), "a weight has another name"
        if not off < TOLERANCE < moved / 100:
            wrong[kind] = (off.item(), moved.item())
    assert not wrong, f"(off by, moved by the adapter) in spreads of the logits: {wrong}"
