"""The numbers of a model that decide its memory: counted on the library's own model, else read from config.json alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from helpers.model.anatomy import Anatomy, anatomy

# architectures whose feed-forward part has two linear maps, not three
UNGATED = "gpt2 gptj gpt_neo gpt_neox gpt_bigcode opt bloom falcon mpt phi codegen starcoder2 xglm".split()
LARGEST = 10**7  # no size in a config.json is larger


@dataclass(frozen=True)
class Shape:
    """What the sum needs to know. `doubt`: why the numbers are not counted but read from config.json, else empty."""

    hidden: int
    layers: int
    heads: int  # 0 in a model without attention
    kv_heads: int
    head_dim: int
    intermediate: int  # with experts: of all those that one token is sent to
    vocabulary: int
    tied: bool
    gated: bool = True  # three maps in the feed-forward part (Llama) or two (GPT-2)
    experts: int = 1
    doubt: str = ""
    numbers: dict = field(default_factory=dict, repr=False, compare=False)  # config.json

    @classmethod
    def of(cls, model_config: dict) -> Shape:
        """From a config.json. Raises ValueError that names what is missing or absurd; what cannot be counted is a `doubt`."""
        written = model_config.get("text_config") or model_config
        for name, value in written.items():
            if name in SIZES:
                _size(name, value)
        try:
            text, doubt = anatomy(model_config).text, ""
        except NotImplementedError as reason:
            text, doubt = written, f"{reason} The numbers are read from config.json alone, and rough."

        def get(*names, default=None):
            value = next((text[name] for name in names if text.get(name)), default)
            if value is None:
                raise ValueError(f"config.json has no {names[0]}: this is not the config of a language model.")
            return _size(names[0], value)

        hidden = get("hidden_size", "n_embd", "d_model")
        heads = (
            get("num_attention_heads", "n_head", "n_heads", default=0)
            if "mamba" not in text.get("model_type", "")
            else 0
        )
        experts = get("num_local_experts", "num_experts", "n_routed_experts", default=1)
        width = get("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", default=4 * hidden)
        if experts > 1:
            each = get("moe_intermediate_size", default=width)
            used = get("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", default=2)
            shared = get("shared_expert_intermediate_size", default=0)
            shared = shared or each * get("n_shared_experts", "num_shared_experts", default=0)
            width = used * each + shared
        return cls(
            hidden=hidden,
            layers=get("num_hidden_layers", "n_layer", "n_layers"),
            heads=heads,
            kv_heads=get("num_key_value_heads", "num_kv_heads", default=1 if text.get("multi_query") else heads),
            head_dim=get("head_dim", default=hidden // heads if heads else 0),
            intermediate=width,
            vocabulary=get("vocab_size"),
            tied=bool(text.get("tie_word_embeddings", model_config.get("tie_word_embeddings", True))),
            gated=text.get("model_type") not in UNGATED,
            experts=experts,
            doubt=doubt,
            numbers=model_config,
        )

    def counted(self, target_modules: str = "all-linear") -> Anatomy | None:
        """The model as the library builds it, with an adapter on `target_modules`; None where it cannot be built."""
        return None if self.doubt or not self.numbers else anatomy(self.numbers, target_modules)

    @property
    def rough(self) -> str:
        """Why the sum can be far off for this model, in a few words; empty for a plain row of attention and feed-forward."""
        if self.doubt:
            return "its architecture is not known to the library here"
        if self.experts > 1:
            return "which experts a token is sent to decides what is kept"
        if not self.heads or any("mamba" in key or "linear_attn" in key or key == "conv_kernel" for key in self._text):
            return "not every layer is attention"
        return "it holds more than the language model" if "text_config" in self.numbers else ""

    @property
    def _text(self) -> dict:
        found = self.counted()
        return found.text if found else {}

    @property
    def attention(self) -> dict[str, tuple[int, int]]:
        """The linear maps of attention as (inputs, outputs), by name."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        maps = {"q": (self.hidden, q), "k": (self.hidden, kv), "v": (self.hidden, kv), "o": (q, self.hidden)}
        return maps if self.heads else {}

    @property
    def feed_forward(self) -> dict[str, tuple[int, int]]:
        """The linear maps of the feed-forward part, experts of one token side by side."""
        wide = ("gate", "up") if self.gated else ("up",)
        return {**{n: (self.hidden, self.intermediate) for n in wide}, "down": (self.intermediate, self.hidden)}

    @property
    def parameters(self) -> int:
        """All of them, tied ones once."""
        if found := self.counted():
            return found.parameters
        inside = self.layers * self.experts * sum(i * o for i, o in self.feed_forward.values())
        inside += self.layers * sum(i * o for i, o in self.attention.values())
        return inside + (1 if self.tied else 2) * self.vocabulary * self.hidden + (2 * self.layers + 1) * self.hidden

    @property
    def quantised_parameters(self) -> int:
        """Those that bitsandbytes packs: linear maps in the layers. transformers 5 keeps a layer's experts in one tensor,
        which is no linear map and stays in 16 bits; so do classes of their own (Falcon's)."""
        if found := self.counted():
            return found.packed
        maps = self.attention if self.experts > 1 else {**self.attention, **self.feed_forward}
        return self.layers * sum(i * o for i, o in maps.values())

    @property
    def active_parameters(self) -> float:
        """Parameters in the layers that one token goes through."""
        return self.layers * sum(i * o for i, o in {**self.attention, **self.feed_forward}.values())

    @property
    def largest_map(self) -> int:
        """Parameters of the largest linear map in a layer."""
        maps = self.counted().maps if self.counted() else ()
        sizes = [m.inputs * m.outputs for m in maps if m.packed]
        return max(sizes or [i * o for i, o in {**self.attention, **self.feed_forward}.values()])

    @property
    def stacked(self) -> float:
        """Parameters of one layer's experts, which lie in tensors of their own; 0 without experts."""
        found = self.counted()
        if self.experts == 1 or not found:
            return 0
        maps = sum(m.inputs * m.outputs * m.count for m in found.maps)
        return max(found.parameters - maps - self.vocabulary * self.hidden, 0) / self.layers


SIZES = (
    "hidden_size n_embd d_model num_hidden_layers n_layer n_layers num_attention_heads n_head n_heads vocab_size "
    "intermediate_size num_key_value_heads head_dim"
).split()


def _size(name: str, value) -> int:
    """`value` as a size; of a list (one number per layer) the largest; 0 for none. Raises ValueError for anything else."""
    if isinstance(value, (list, tuple)) and value and all(type(one) is int for one in value):
        value = max(value)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError(f"config.json says {name}={value!r}, which is no size of a model: check the file.")
    return value
