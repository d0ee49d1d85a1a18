"""How much memory a training step needs, term by term, from the model's config.json alone.

A closed form, fitted to nothing: every term says what it counts. `simulation.py` runs the same step and counts; the
notebook shows both. This module imports in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.config import LOSS_ROWS, RunConfig

TILE_TOKENS, TILE_WORDS = 4096, 32768  # TRL 1.16 computes its loss in tiles of at most this size
# Python with torch, transformers, peft and trl before a model is loaded: 0.4 GB of its own, and pages of libraries
LIBRARIES = 500_000_000
QUANT_BLOCK, CONSTANTS_BLOCK = 64, 256  # bitsandbytes: weights per constant, constants per second-level constant

# architectures whose feed-forward part has two linear maps, not three
UNGATED = "gpt2 gptj gpt_neox gpt_bigcode opt bloom falcon mpt phi codegen starcoder2".split()


@dataclass(frozen=True)
class Part:
    """One component: its bytes and, in a sentence, what is counted."""

    name: str
    bytes: float
    why: str


@dataclass(frozen=True)
class Shape:
    """The numbers of a config.json that decide the memory. With `experts` the closed form is rough: see the simulation."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    gated: bool = True  # three maps in the feed-forward part (Llama) or two (GPT-2)
    experts: int = 1

    @classmethod
    def of(cls, model_config: dict) -> Shape:
        """From a config.json. Raises ValueError that names what is missing or absurd."""
        text = model_config.get("text_config") or model_config

        def get(*names, default=None):
            name = next((name for name in names if text.get(name) is not None), names[0])
            value = default if text.get(name) is None else text[name]
            if value is None:
                raise ValueError(f"config.json has no {name}: this is not the config of a language model.")
            if type(value) is not int or not 0 < value < 10**7:
                raise ValueError(f"config.json says {name}={value!r}, which is no size of a model: check the file.")
            return value

        hidden, heads = get("hidden_size", "n_embd", "d_model"), get("num_attention_heads", "n_head", "n_heads")
        return cls(
            hidden=hidden,
            layers=get("num_hidden_layers", "n_layer", "n_layers"),
            heads=heads,
            kv_heads=get("num_key_value_heads", default=1 if text.get("multi_query") else heads),
            head_dim=get("head_dim", default=hidden // heads),
            intermediate=get("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
            vocabulary=get("vocab_size"),
            tied=bool(text.get("tie_word_embeddings", model_config.get("tie_word_embeddings", True))),
            gated=text.get("model_type") not in UNGATED,
            experts=get("num_local_experts", "num_experts", "n_routed_experts", default=1),
        )

    @property
    def attention(self) -> dict[str, tuple[int, int]]:
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {"q": (self.hidden, q), "k": (self.hidden, kv), "v": (self.hidden, kv), "o": (q, self.hidden)}

    @property
    def feed_forward(self) -> dict[str, tuple[int, int]]:
        wide = ("gate", "up") if self.gated else ("up",)
        return {**{n: (self.hidden, self.intermediate) for n in wide}, "down": (self.intermediate, self.hidden)}

    @property
    def linear_parameters(self) -> int:
        """Parameters of all linear maps inside the layers."""
        attention = sum(i * o for i, o in self.attention.values())
        return self.layers * (attention + self.experts * sum(i * o for i, o in self.feed_forward.values()))

    @property
    def quantised_parameters(self) -> int:
        """Parameters that bitsandbytes packs: all linear maps, but for experts.

        transformers 5 keeps the experts of a layer in one tensor, which is no linear map and stays in 16 bits.
        """
        if self.experts == 1:
            return self.linear_parameters
        return self.layers * sum(i * o for i, o in self.attention.values())

    @property
    def other_parameters(self) -> int:
        """Embeddings (twice when the output head is not tied) and norms: what stays in 16 bits."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden + (2 * self.layers + 1) * self.hidden

    @property
    def largest_map(self) -> int:
        """Parameters of the largest linear map in a layer."""
        return max(i * o for i, o in {**self.attention, **self.feed_forward}.values())

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters


def targeted(config: RunConfig, shape: Shape) -> dict[str, tuple[int, int]]:
    """The linear maps of one layer that get an adapter. Unknown names count as the whole layer: rather too much."""
    maps = {**shape.attention, **shape.feed_forward}
    wanted = {name.strip().removesuffix("_proj") for name in config.lora_target_modules.split(",")}
    return {name: size for name, size in maps.items() if name in wanted} or maps


def adapter_parameters(config: RunConfig, shape: Shape) -> int:
    """LoRA adds r x (in + out) numbers to every linear map it is put beside."""
    chosen = targeted(config, shape)
    inside = sum(i + o for name, (i, o) in chosen.items() if name in shape.attention)
    outside = sum(i + o for name, (i, o) in chosen.items() if name not in shape.attention)
    return config.lora_r * shape.layers * (inside + shape.experts * outside)


def weight_parts(config: RunConfig, shape: Shape) -> list[Part]:
    """The base model's weights as they lie in memory."""
    inner = shape.quantised_parameters
    rest = shape.parameters - inner
    if not config.load_in_4bit:
        return [Part("16-bit weights", 2 * (inner + rest), "2 bytes for every parameter")]
    constants = 4 / QUANT_BLOCK
    if config.double_quant:
        constants = 1 / QUANT_BLOCK + 4 / (QUANT_BLOCK * CONSTANTS_BLOCK)
    how = "1 byte per 64, and 4 bytes per 64 x 256" if config.double_quant else "4 bytes per 64"
    kept = (
        "embeddings, output head and norms" if shape.experts == 1 else "all experts, embeddings, output head and norms"
    )
    return [
        Part("4-bit weights", 0.5 * inner, "half a byte for every parameter of a linear map in the layers"),
        Part("quantisation constants", constants * inner, f"{how} of these parameters"),
        Part("16-bit weights", 2 * rest, f"2 bytes for {kept}, which are not quantised"),
    ]


def adapter_parts(config: RunConfig, shape: Shape) -> list[Part]:
    """What is trained, and what training it needs beside it."""
    count, size = adapter_parameters(config, shape), 2 if config.load_in_4bit else 4
    state, how = optimizer_bytes(config, size)
    return [
        Part("adapter", size * count, f"{count / 1e6:.1f} M numbers of {size} bytes"),
        Part("gradients", size * count, "one for every number of the adapter"),
        Part("optimizer state", state * count, how),
    ]


def optimizer_bytes(config: RunConfig, size: int) -> tuple[float, str]:
    """Bytes of optimizer state per trained number, and why."""
    paged = "; a full card may page them out" if "paged" in config.optim else ""
    if "8bit" in config.optim:
        return 2 * (1 + 4 / 256), f"two running means per number, 1 byte each, and a constant per 256{paged}"
    if "adamw_torch" in config.optim:
        return 2 * size, f"two running means per number, {size} bytes each, as the adapter itself"
    if "adamw" in config.optim:
        return 8, f"two running means per number, 4 bytes each{paged}"
    return 8, f"not known for {config.optim}: counted as AdamW, 8 bytes per number"


def saved_by_layer(config: RunConfig, shape: Shape, gpu: bool = True) -> float:
    """Bytes per token that the backward pass of one layer needs from its forward pass, in 16-bit arithmetic."""
    # dropout keeps its mask: 1 byte; on a CPU a number as wide as the adapter's
    mask = 0 if not config.lora_dropout else 1 if gpu else 2 if config.load_in_4bit else 4
    chosen = targeted(config, shape)
    if config.lora_dropout:  # every adapter drops other inputs, so each keeps its own copy
        inputs = sum((2 + mask) * i for i, _ in chosen.values())
    else:
        inputs = sum(2 * i for name, (i, _) in chosen.items() if name in ("q", "up", "o", "down"))
    ranks = 2 * config.lora_r * len(chosen)
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * (4 * shape.hidden + 4)  # the float32 copy inside each norm, and its scale
    attention = 2 * q + 2 * 2 * kv + 2 * q + 4 * shape.heads  # q, k, v, result, and one sum per head
    feed_forward = (3 if shape.gated else 2) * 2 * shape.intermediate
    return inputs + ranks + norms + attention + feed_forward


def loss_part(config: RunConfig, shape: Shape, tokens: int, gpu: bool = True, labelled: float = 1.0) -> Part:
    """The loss as the project computes it: in tiles on a GPU (TRL), on the `labelled` share of the tokens on a CPU."""
    hidden = (2 + 4) * tokens * shape.hidden
    if gpu:
        rows = min(tokens, TILE_TOKENS)
        how = f"a tile of {rows:,} x {TILE_WORDS:,} logits in 16 bits, and the gradient of the last layer"
        return Part("loss", 2 * rows * TILE_WORDS + hidden, how)
    count = int(labelled * tokens)
    block = (4 + 4) * min(count, LOSS_ROWS)  # so many tokens at a time in float32, and their logarithms
    how = f"{count:,} labelled tokens x {shape.vocabulary:,} words in 16 bits, and the gradient of the last layer"
    return Part("loss", (2 * count + block) * shape.vocabulary + hidden, how)


def full_logits_bytes(shape: Shape, tokens: int) -> int:
    """What the classical loss needs: all logits in 16 bits, and in float32 the copy, its logarithms, and their gradient."""
    return (2 + 4 + 4 + 4) * tokens * shape.vocabulary


def step_parts(
    config: RunConfig, shape: Shape, batch: int = 0, length: int = 0, gpu: bool = True, labelled: float = 1.0
) -> list[Part]:
    """The fullest moment of a training step on `batch` rows of `length` tokens (0: the config's), component by component."""
    tokens = (batch or config.per_device_train_batch_size) * (length or config.max_length)
    adapter, gradients, state = adapter_parts(config, shape)
    layer = saved_by_layer(config, shape, gpu) * tokens
    kept = shape.layers * (2 * shape.hidden * tokens if config.activation_checkpointing else layer)
    loss = loss_part(config, shape, tokens, gpu, labelled)
    at_work = (layer if config.activation_checkpointing else 0) + 3 * 2 * shape.intermediate * tokens
    unpacked = (2 + 4 / QUANT_BLOCK) * shape.largest_map if config.load_in_4bit else 0
    what = "the input of every layer" if config.activation_checkpointing else "everything the backward pass will need"
    parts = [*weight_parts(config, shape), adapter, state]
    parts += [gradients] if config.gradient_accumulation_steps > 1 else []
    parts += [Part("kept activations", kept, f"{what}, {tokens:,} tokens x {shape.layers} layers")]
    parts += _mask_parts(config, batch or config.per_device_train_batch_size, length or config.max_length)
    if loss.bytes > at_work + unpacked:
        return [*parts, loss]
    how = "one layer computed again, and " if config.activation_checkpointing else ""
    parts += [Part("the layer at work", at_work, f"{how}the gradients of its widest part")]
    return [*parts, Part("unpacked weight", unpacked, "the largest linear map in 16 bits, one at a time")]


def _mask_parts(config: RunConfig, batch: int, length: int) -> list[Part]:
    if not config.packing and batch == 1:
        return []
    size = (batch * length) ** 2 if config.packing else batch * length**2
    how = "packed rows must not see each other" if config.packing else "shorter rows are padded"
    return [Part("attention mask", size, f"1 byte for every pair of tokens: {how}")]


def total(parts: list[Part]) -> float:
    """Bytes of all parts."""
    return sum(part.bytes for part in parts)


def disk_parts(config: RunConfig, shape: Shape) -> list[Part]:
    """Disk of the whole series: download, checkpoints, adapter, merged model."""
    count = adapter_parameters(config, shape)
    size = 2 if config.load_in_4bit else 4
    checkpoint = (size + optimizer_bytes(config, size)[0]) * count
    merges = 2 if config.merge_method == "auto" and config.load_in_4bit else 1
    return [
        Part("model download", 2 * shape.parameters, "16-bit weights, kept in the cache"),
        Part(
            "checkpoints",
            (config.save_total_limit + 1) * checkpoint,
            "adapter and optimizer state, one more than is kept",
        ),
        Part("adapter", size * count, "what you will keep"),
        Part("merged models", merges * 2 * shape.parameters, f"16-bit weights, {merges} at once until one is chosen"),
    ]


def other_moments(config: RunConfig, shape: Shape) -> list[Part]:
    """Memory of the steps before and after training: loading, held-out evaluation, merge."""
    weights = total(weight_parts(config, shape)) + total(adapter_parts(config, shape)[:1])
    tokens = config.per_device_eval_batch_size * config.max_length
    widest = 2 * tokens * (3 * shape.intermediate + 4 * shape.hidden)
    logits = loss_part(config, shape, tokens).bytes
    return [
        Part(
            "evaluation",
            weights + widest + logits,
            "weights, one layer's values (nothing is kept for a backward pass), one tile of logits",
        ),
        merge_part(config, shape),
    ]


def merge_part(config: RunConfig, shape: Shape) -> Part:
    """The machine's own memory for a merge, weight file by weight file."""
    return Part(
        "merge",
        LIBRARIES + min(config.merge_shard_gb * 1e9, 2 * shape.parameters) + 2 * 4 * shape.largest_map,
        "in the machine's own memory: libraries, one weight file, two float32 copies of the largest linear map",
    )
