"""Memory that others measured on a single card, all rows of their tables, beside the plan for their settings.

Read on 2026-11-25 in public copies. Left out: rows on several cards, full training and trained embeddings, which this project
does not do, adapters other than LoRA, and out-of-memory rows. Could not be read: the hub set odyn-network/
benchmark-finetune-lora-v1. torchtune's row on an A6000 (30.3 GiB) names no settings that would explain its 14 GiB more.

Like is held against like: litgpt's finetune/lora.py prints torch.cuda.max_memory_allocated(), and torchtune, peft and Answer.AI give
torch's peaks as well. No driver is in these numbers, so none is added to the plan beside them.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

from helpers.model.shapes import SHAPES
from helpers.plan.memory import adapter_parameters, step_parts, total
from helpers.plan.need import CONTEXT, with_allowances
from helpers.plan.shape import Shape
from helpers.settings import PRESETS, RunConfig

GIB = 2**30


@dataclass(frozen=True)
class Program:
    """Who measured, with which settings of ours, and what that program does otherwise."""

    source: str
    settings: dict
    difference: str
    logits: float = 14.0  # bytes per word and position: copies of all logits; 0 = the loss comes in tiles
    buffers: float = 0.0  # bytes of buffers that its own configuration file asks for
    master: int = 0  # bytes per trained number that it keeps more than we do
    inputs: bool = False  # True: the input of every 4-bit map is kept, as bitsandbytes before 0.43 did
    driver: bool = True  # False: the number is torch's own (allocated or reserved), which counts no driver


@dataclass(frozen=True)
class Published:
    """One number in bytes: the model (a name in `MODELS`), rows x tokens, and whose program it was."""

    what: str
    bytes: float
    model: str
    rows: int
    length: int
    program: Program
    four_bit: bool = True


def _qwen(hidden, layers, heads, intermediate, vocabulary=151936) -> dict:
    return {"model_type": "qwen2", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": heads, "intermediate_size": intermediate, "vocab_size": vocabulary,
            "tie_word_embeddings": False}  # fmt: skip


# Qwen (2023) is built as Qwen2 is, without grouped queries; its feed-forward width is half of what its config names
MODELS = {
    "Qwen-1.8B": _qwen(2048, 24, 16, 5504),
    "Qwen-7B": _qwen(4096, 32, 32, 11008),
    "Qwen-14B": _qwen(5120, 40, 40, 13696, 152064),
    "Qwen-72B": _qwen(8192, 80, 64, 24576, 152064),
    "Llama-2-7B": SHAPES["meta-llama/Llama-2-7b-hf"],
    "Llama-2-13B": SHAPES["meta-llama/Llama-2-13b-hf"],
    "Llama-3.1-8B": SHAPES["meta-llama/Llama-3.1-8B"],
    "Llama-3.2-3B": SHAPES["meta-llama/Llama-3.2-3B"],
    "phi-1.5": {"model_type": "phi", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32,
                "intermediate_size": 8192, "vocab_size": 51200, "tie_word_embeddings": False},
    "StableLM Alpha 3B": {"model_type": "gpt_neox", "hidden_size": 4096, "num_hidden_layers": 16,
                          "num_attention_heads": 32, "intermediate_size": 16384, "vocab_size": 50688,
                          "tie_word_embeddings": False},
}  # fmt: skip

COMMON = {"lora_dropout": 0.0, "gradient_accumulation_steps": 1, "optim": "adamw_torch", "packing": False}
QWEN = {**COMMON, "lora_r": 64, "lora_dropout": 0.05, "gradient_accumulation_steps": 8}
QWEN |= {"lora_target_modules": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj"}
QWEN_README = "Qwen README, profiling table, 2023 (A100 80 GB)"
QWEN_LORA = Program(QWEN_README, QWEN, "bf16 by autocast, FlashAttention 2, batch 1 x 8")
QWEN_QLORA = Program(
    QWEN_README,
    {**QWEN, "optim": "paged_adamw_32bit"},
    "GPTQ, not NF4; fp16 throughout by DeepSpeed ZeRO-2: a 32-bit copy of the adapter, three buckets of 2e8 numbers",
    logits=8.0,
    buffers=3 * 2 * 2e8,
    master=4,
)
LITGPT = Program(
    "litgpt, tutorials/resource-tables.md, October 2023 (A100 40 GB)",
    {**COMMON, "lora_r": 8, "lora_target_modules": "q_proj,v_proj", "activation_checkpointing": False},
    "its own model code without checkpointing; longest row of Alpaca; loss in pieces of 128 tokens; allocated, no driver",
    logits=4.0,
    inputs=True,
    driver=False,
)
NEOX = replace(LITGPT, settings={**LITGPT.settings, "lora_target_modules": "query_key_value"})
TORCHTUNE = Program(
    "torchtune README, September 2024 (RTX 4090)",
    {**COMMON, "lora_r": 8},
    "torch.compile fuses the steps inside a layer, so fewer values are kept; torch's number, no driver",
    logits=0.0,
    driver=False,
)
ANSWER = Program(
    "Answer.AI, fsdp_qlora, benchmarks_03_2024.md (two cards, each with the whole model)",
    {**COMMON, "lora_r": 64, "lora_dropout": 0.1},
    "reserved memory, no driver; transformers of 2024 copied all logits to float32 twice",
    logits=22.0,
    driver=False,
)
FACTORY = Program(
    "LLaMA-Factory's table in Unsloth's README, early 2024 (A100)",
    {**COMMON, "lora_r": 8, "gradient_accumulation_steps": 2},
    "rounded to 1 GB; which layers have an adapter is not said; float32 logits as above",
    logits=22.0,
)
PEFT = {**COMMON, "lora_target_modules": "q_proj,v_proj", "activation_checkpointing": False}
PEFT_SOURCE = "peft, method_comparison/MetaMathQA/results, June 2025 (L40S)"
PEFT_WHY = (
    "the highest reserved memory, no driver, in 5,000 steps of rows of at most 768 tokens; adapters compute in float32"
)

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
QWEN_ROWS = {  # GB; a tenth of a GB
    ("Qwen-1.8B", False): (6.7, 7.4, 8.4, 11.0, 16.2, 21.8),
    ("Qwen-1.8B", True): (5.8, 6.0, 6.6, 7.8, 10.2, 15.8),
    ("Qwen-7B", False): (20.1, 20.4, 21.5, 23.8, 29.7, 36.6),
    ("Qwen-7B", True): (11.5, 11.5, 12.3, 13.9, 16.9, 23.5),
    ("Qwen-14B", False): (34.6, 35.1, 35.3, 37.4, 42.5, 55.2),
    ("Qwen-14B", True): (18.7, 18.4, 18.9, 19.9, 23.0, 27.9),
    ("Qwen-72B", True): (61.4, 61.4, 62.9, 64.1, 68.0, 75.6),
}
LITGPT_ROWS = {  # GB: 16 bits with 1, 2, 4 rows; nf4-dq with 1 row
    ("phi-1.5", 1044): (4.82, 6.76, 10.68, 3.72),
    ("StableLM Alpha 3B", 1034): (9.69, 12.10, 16.92, 6.19),
    ("Llama-2-7B", 1304): (21.30, 29.07, None, 13.84),
    ("Llama-2-13B", 1304): (38.12, None, None, 22.55),
}


def _litgpt(model: str, length: int, sizes: tuple) -> list[Published]:
    program = NEOX if model.startswith("StableLM") else LITGPT
    rows = zip(sizes, (1, 2, 4, 1), (False, False, False, True), strict=True)
    return [Published("LoRA", size * 1e9, model, count, length, program, four) for size, count, four in rows if size]


PUBLISHED = (
    *(
        Published("Q-LoRA" if four_bit else "LoRA", size * 1e9, model, 1, length, QWEN_QLORA if four_bit else QWEN_LORA, four_bit)
        for (model, four_bit), sizes in QWEN_ROWS.items()
        for length, size in zip(LENGTHS, sizes, strict=True)
    ),
    *(row for (model, length), sizes in LITGPT_ROWS.items() for row in _litgpt(model, length, sizes)),
    Published("QLoRA, packed, compiled", 7.4 * GIB, "Llama-3.1-8B", 2, 2048, TORCHTUNE),
    Published("LoRA, packed, compiled", 16.2 * GIB, "Llama-3.1-8B", 2, 2048, TORCHTUNE, four_bit=False),
    Published("QLoRA", 20.94 * GIB, "Llama-2-7B", 8, 2048, ANSWER),
    Published("LoRA", 22.04 * GIB, "Llama-2-7B", 4, 2048, ANSWER, four_bit=False),
    Published("QLoRA", 9e9, "Llama-2-7B", 4, 1024, FACTORY),
    Published("LoRA, rank 32", 22_273_851_392, "Llama-3.2-3B", 4, 768, Program(PEFT_SOURCE, {**PEFT, "lora_r": 32}, PEFT_WHY, driver=False), False),
    Published("LoRA, rank 64", 22_540_189_696, "Llama-3.2-3B", 4, 768, Program(PEFT_SOURCE, {**PEFT, "lora_r": 64}, PEFT_WHY, driver=False), False),
)  # fmt: skip


def planned(one: Published) -> float:
    """Bytes that the sum gives for the settings of `one`, with what that program keeps more or less, no allowances."""
    shape, program = Shape.of(MODELS[one.model]), one.program
    own = {"per_device_train_batch_size": one.rows, "max_length": one.length, "load_in_4bit": one.four_bit}
    config = RunConfig(**{**PRESETS["llama2-7b"], **program.settings, **own})  # whatever the environment says
    parts, tokens = step_parts(config, shape), one.rows * one.length
    more = program.buffers + program.master * adapter_parameters(config, shape)
    if program.inputs and one.four_bit:
        more += tokens * sum(2 * m.inputs * m.count for m in shape.counted().maps if m.packed)
    if program.logits:
        # the moment of the loss: the activations are kept, no layer is at work
        kept = [part for part in parts if part.name not in ("the layer at work", "unpacked weight", "loss")]
        logits = program.logits * tokens * shape.vocabulary + (2 + 4) * tokens * shape.hidden
        return max(total(parts), total(kept) + logits) + more
    return total(parts) + more


def allowed(one: Published) -> float:
    """`planned` with the allowances: the gaps always, the driver where the published number has it in it."""
    return with_allowances(planned(one)) - (0 if one.program.driver else CONTEXT)


def off(one: Published) -> float:
    """Planned with allowances / published - 1: below 0 the plan promises too little memory."""
    return allowed(one) / one.bytes - 1


def summary() -> str:
    """How far the plan is off over all rows, in two sentences."""
    plain = statistics.median(abs(planned(one) / one.bytes - 1) for one in PUBLISHED)
    found = [off(one) for one in PUBLISHED]
    return (
        f"{len(found)} rows. The sum alone is off by {plain:.0%} in the median; with the allowances the plan is between "
        f"{min(found):+.0%} (too little) and {max(found):+.0%} (too much), {statistics.median(found):+.0%} in the median."
    )


def comparison() -> list[dict]:
    """One row per number, sorted by error: published, planned with allowances, how far off, why, source."""
    return [
        {"published": f"{one.model} {one.what}, {one.rows} x {one.length}", "GB": f"{one.bytes / 1e9:.1f}"}
        | {"planned GB": f"{allowed(one) / 1e9:.1f}", "off": f"{off(one):+.0%}"}
        | {"what is different there": one.program.difference, "source": one.program.source}
        for one in sorted(PUBLISHED, key=off)
    ]
