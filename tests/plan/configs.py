"""config.json files, shortened, of kinds that once stopped the series or were planned with many times their size."""

from dataclasses import replace

from helpers.model.shapes import SHAPES
from helpers.plan.shape import Shape

LLAMA = SHAPES["meta-llama/Llama-2-7b-hf"]
SMALL = {**LLAMA, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 3, "vocab_size": 4096}
SMALL |= {"num_attention_heads": 8, "num_key_value_heads": 8}
QWEN2 = {**SMALL, "model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True}
MISTRAL = {**SMALL, "model_type": "mistral", "num_key_value_heads": 4, "sliding_window": 64}
SPARSE_GEMMA = {
    "model_type": "gemma3",
    "text_config": {"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 7},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 24, "num_hidden_layers": 1},
}
MOE = {  # Qwen3-30B-A3B
    **{"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768},
    **{"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128},
    **{"num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936, "tie_word_embeddings": False},
}
MAMBA = {"model_type": "falcon_mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 512}
BAMBA = {  # as transformers 5 writes it: JSON has no infinite numbers
    **{"model_type": "bamba", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "vocab_size": 512},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "attn_layer_indices": [1], "mamba_n_heads": 8},
    **{"mamba_d_head": 16, "mamba_d_state": 16, "time_step_limit": [0.0, {"__float__": "Infinity"}]},
}
JETMOE = {
    **{"model_type": "jetmoe", "hidden_size": 64, "num_hidden_layers": 2, "num_key_value_heads": 2, "kv_channels": 16},
    **{"intermediate_size": 128, "num_local_experts": 4, "vocab_size": 256, "num_attention_heads": 4},
}
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 512, "n_inner": None}


def by_sum(numbers: dict) -> Shape:
    """A shape that is read from config.json and never simulated: quick."""
    return replace(Shape.of(numbers), numbers={})


def simulate(*args, **settings):
    """`helpers.plan.simulation.simulate`, imported where it is used: it brings torch."""
    from helpers.plan import simulation

    return simulation.simulate(*args, **settings)
