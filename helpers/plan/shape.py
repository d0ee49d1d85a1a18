"""The numbers of a model that decide its memory: counted on the library's own model, else read from config.json."""

from __future__ import annotations

from dataclasses import dataclass, field

from helpers.model.anatomy import Anatomy, anatomy
from helpers.show.words import _

# architectures whose feed-forward part has two linear maps, not three
UNGATED = "gpt2 gptj gpt_neo gpt_neox gpt_bigcode opt bloom falcon mpt phi codegen starcoder2 xglm".split()
LARGEST = 10**7  # no size in a config.json is larger
HIDDEN, LAYERS = ("hidden_size", "n_embd", "d_model"), ("num_hidden_layers", "n_layer", "n_layers")
HEADS, KV_HEADS = ("num_attention_heads", "n_head", "n_heads"), ("num_key_value_heads", "num_kv_heads")
WIDTH = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
EXPERTS, SHARED = ("num_local_experts", "num_experts", "n_routed_experts"), ("n_shared_experts", "num_shared_experts")
USED = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k")


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
        """From a config.json, whatever it holds. What cannot be counted, or is no size, is a `doubt`: a sentence."""
        try:
            text, doubts = anatomy(model_config).text, []
        except NotImplementedError as reason:
            inner = model_config.get("text_config")
            text = inner if isinstance(inner, dict) else model_config
            doubts = [f"{reason} " + _("The numbers are read from config.json alone, and rough.")]
        sizes = Sizes(text, doubts)
        hidden, layers = sizes.get(HIDDEN, 4096, asked=True), sizes.get(LAYERS, 32, asked=True)
        kind = str(text.get("model_type", ""))
        heads = 0 if "mamba" in kind else sizes.get(HEADS, 0)
        return cls(
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=sizes.get(KV_HEADS, 1 if text.get("multi_query") else heads),
            head_dim=sizes.get(("head_dim",), hidden // heads) if heads else 0,
            intermediate=sizes.width(4 * hidden),
            vocabulary=sizes.get(("vocab_size",), 32000, asked=True),
            tied=bool(text.get("tie_word_embeddings", model_config.get("tie_word_embeddings", True))),
            gated=kind not in UNGATED,
            experts=sizes.get(EXPERTS, 1),
            doubt=" ".join(doubts),
            numbers=model_config,
        )

    def counted(self, target_modules: str = "all-linear") -> Anatomy | None:
        """The model as the library builds it, with an adapter on `target_modules`; None where it cannot be built."""
        return None if self.doubt or not self.numbers else anatomy(self.numbers, target_modules)

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
        if counted := self.counted():
            return counted.parameters
        layer = self.experts * _products(self.feed_forward) + _products(self.attention) + 2 * self.hidden
        return self.layers * layer + ((1 if self.tied else 2) * self.vocabulary + 1) * self.hidden

    @property
    def quantised_parameters(self) -> int:
        """Those that bitsandbytes packs: linear maps in the layers. transformers 5 keeps a layer's experts in one
        tensor, which is no linear map and stays in 16 bits; so do classes of their own (Falcon's)."""
        if counted := self.counted():
            return counted.packed
        return self.layers * (_products(self.attention) + (0 if self.experts > 1 else _products(self.feed_forward)))

    @property
    def active_parameters(self) -> float:
        """Parameters in the layers that one token goes through."""
        return self.layers * (_products(self.attention) + _products(self.feed_forward))

    @property
    def largest_map(self) -> int:
        """Parameters of the largest linear map in a layer."""
        counted = self.counted()
        sizes = [m.inputs * m.outputs for m in counted.maps if m.packed] if counted else []
        return max(sizes or [i * o for i, o in {**self.attention, **self.feed_forward}.values()])

    @property
    def stacked(self) -> float:
        """Parameters of one layer's experts, which lie in tensors of their own; 0 without experts."""
        counted = self.counted()
        if self.experts == 1 or not counted:
            return 0
        maps = sum(m.inputs * m.outputs * m.count for m in counted.maps)
        return max(counted.parameters - maps - self.vocabulary * self.hidden, 0) / self.layers


def _products(maps: dict[str, tuple[int, int]]) -> int:
    return sum(inputs * outputs for inputs, outputs in maps.values())


@dataclass
class Sizes:
    """Reads sizes out of a config's dict; a sentence about each one that is missing or absurd goes into `doubts`."""

    text: dict
    doubts: list[str]

    def get(self, names: tuple[str, ...], default: int, asked: bool = False) -> int:
        """The first of `names` with a size above 0, of a list (one per layer) the largest; else `default`."""
        for name in names:
            value = self.text.get(name)
            if value is None or value == 0:
                continue
            sizes = isinstance(value, (list, tuple)) and set(map(type, value)) == {int}
            size = max(value) if sizes else value
            if type(size) is int and 0 < size < LARGEST:
                return size
            doubt = _("config.json says {name}={value}, which is no size of a model: {default} is assumed.")
            self.doubts.append(doubt.format(name=name, value=repr(value)[:80], default=f"{default:,}"))
            return default
        if asked:
            doubt = _("config.json has no {name}, as if it were not of a language model: {default} is assumed.")
            self.doubts.append(doubt.format(name=names[0], default=f"{default:,}"))
        return default

    def width(self, default: int) -> int:
        """The width of the feed-forward part; with experts that of all which one token is sent to."""
        width = self.get(WIDTH, default)
        if self.get(EXPERTS, 1) == 1:
            return width
        each = self.get(("moe_intermediate_size",), width)
        shared = self.get(("shared_expert_intermediate_size",), each * self.get(SHARED, 0))
        return self.get(USED, 2) * each + shared
