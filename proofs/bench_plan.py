"""What a plan costs, in CPU seconds on one core, from tiny to 405B: OMP_NUM_THREADS=1 python -m proofs.bench_plan

2026-11-25, 2-core AMD EPYC CPU beside other work (goals: 3 s for the sum, 40 s for the simulation; importing the
libraries, 5 s, is apart):

                 B parameters      sum   simulation                  B parameters      sum   simulation
    tiny Llama           0.00   0.03 s        0.8 s    Qwen3-235B-A22B     235.09   0.18 s        3.1 s
    Llama-3.1-8B         8.03   0.07 s        2.6 s    Gemma 3 27B          27.01   0.19 s        7.9 s
    Llama-3.1-405B     405.85   0.22 s        3.1 s

The slowest of 22 other architectures at their default size: gemma3n_text 37.4 s, qwen3_next (80 B, linear attention)
22.9 s.
"""

from __future__ import annotations

import time

from helpers.model.shapes import SHAPES
from helpers.plan.memory import step_parts
from helpers.plan.parts import total
from helpers.plan.shape import Shape
from helpers.plan.simulation import simulate
from helpers.settings import PRESETS, RunConfig

CONFIG = RunConfig(**{**PRESETS["llama2-7b"], "packing": False, "lora_dropout": 0.0})
LLAMA = SHAPES["meta-llama/Llama-3.1-8B"]
QWEN = {"hidden_size": 4096, "moe_intermediate_size": 1536, "num_hidden_layers": 94, "num_attention_heads": 64}
QWEN |= {"num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936}
GEMMA = {"hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62, "num_attention_heads": 32}
MODELS = {
    "tiny Llama": {**LLAMA, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 512},
    "Llama-3.1-8B": LLAMA,
    "Llama-3.1-405B": {**LLAMA, "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126}
    | {"num_attention_heads": 128, "head_dim": 128},
    "Qwen3-235B-A22B": {"model_type": "qwen3_moe", "intermediate_size": 12288, **QWEN},
    "Gemma 3 27B": {
        "model_type": "gemma3_text",
        "num_key_value_heads": 16,
        "head_dim": 128,
        "vocab_size": 262208,
        **GEMMA,
    },
}


def main() -> None:
    simulate(CONFIG, MODELS["tiny Llama"])  # imports
    for name, numbers in MODELS.items():
        began = time.process_time()
        shape = Shape.of(numbers)
        by_sum = total(step_parts(CONFIG, shape))
        half = time.process_time()
        found = simulate(CONFIG, numbers)
        print(f"{name:16} {shape.parameters / 1e9:7.2f} B  sum {half - began:5.2f} s, {by_sum / 1e9:6.1f} GB", end="")
        print(f"  simulation {time.process_time() - half:5.1f} s, {found.peak / 1e9:6.1f} GB", flush=True)


if __name__ == "__main__":
    main()
