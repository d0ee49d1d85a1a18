"""A GGUF file in llama.cpp itself: token ids, logits and greedy replies, through the C interface of its library.

The library comes inside the package xllamacpp, which requirements-serve.txt pins by hash. Its Python side has a server
only, and a server gives no logits of a text that is already there. The records below are those of that one release's
`llama.h`; `_library` compares their default values before it trusts them.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from pathlib import Path

LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, c_char_p, c_void_p)
ERROR = 4  # ggml's log level; 5 continues the line before


def _record(name: str, **fields):
    return type(name, (Structure,), {"_fields_": list(fields.items())})


def _named(kind, names: str) -> dict:
    return dict.fromkeys(names.split(), kind)


ModelSettings = _record(
    "ModelSettings",
    **_named(c_void_p, "devices tensor_buft_overrides"),
    **_named(c_int32, "n_gpu_layers split_mode load_mode lazy_mode main_gpu"),
    **_named(c_void_p, "tensor_split progress_callback progress_data kv_overrides"),
    **_named(c_bool, "vocab_only check_tensors use_extra_bufts no_host no_alloc load_mtp"),
)
ContextSettings = _record(
    "ContextSettings",
    **_named(c_uint32, "n_ctx n_batch n_ubatch n_seq_max n_rs_seq n_outputs_max n_outputs_max_per_seq"),
    **_named(c_int32, "n_threads n_threads_batch ctx_type rope_scaling pooling attention flash_attn"),
    **_named(c_float, "rope_base rope_scale yarn_ext yarn_attn yarn_fast yarn_slow"),
    yarn_orig_ctx=c_uint32,
    defrag_thold=c_float,
    **_named(c_void_p, "cb_eval cb_eval_data"),
    **_named(c_int32, "type_k type_v"),
    moe_cache_size=c_size_t,
    **_named(c_void_p, "abort_callback abort_data"),
    **_named(c_bool, "embeddings offload_kqv no_perf op_offload swa_full kv_unified"),
    samplers=c_void_p,
    n_samplers=c_size_t,
    ctx_other=c_void_p,
)
Batch = _record(
    "Batch",
    n_tokens=c_int32,
    token=POINTER(c_int32),
    embd=c_void_p,
    pos=POINTER(c_int32),
    n_seq_id=POINTER(c_int32),
    seq_id=POINTER(POINTER(c_int32)),
    logits=POINTER(c_int8),
)
DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "type_k": 1,
    "type_v": 1,
    "offload_kqv": True,
}
SIGNATURES = {
    "llama_model_default_params": (ModelSettings,),
    "llama_context_default_params": (ContextSettings,),
    "llama_model_load_from_file": (c_void_p, c_char_p, ModelSettings),
    "llama_init_from_model": (c_void_p, c_void_p, ContextSettings),
    "llama_model_get_vocab": (c_void_p, c_void_p),
    "llama_vocab_n_tokens": (c_int32, c_void_p),
    "llama_tokenize": (c_int32, c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool),
    "llama_batch_init": (Batch, c_int32, c_int32, c_int32),
    "llama_batch_free": (None, Batch),
    "llama_decode": (c_int32, c_void_p, Batch),
    "llama_get_logits_ith": (POINTER(c_float), c_void_p, c_int32),
    "llama_get_memory": (c_void_p, c_void_p),
    "llama_memory_clear": (None, c_void_p, c_bool),
    "llama_adapter_lora_init": (c_void_p, c_void_p, c_char_p),
    "llama_set_adapters_lora": (c_int32, c_void_p, POINTER(c_void_p), c_size_t, POINTER(c_float)),
    "llama_log_set": (None, LOG, c_void_p),
    "llama_free": (None, c_void_p),
    "llama_model_free": (None, c_void_p),
}


class LlamaCpp:
    """The model of a GGUF file, on the CPU; `with LlamaCpp(file, tokens) as model:` gives its memory back.

    `tokens`: the longest text, reply included; 0 reads the vocabulary only. `texts`: how many are written at once.
    `lora`: an adapter's GGUF file, put on top.
    Raises ValueError with llama.cpp's own words for a file that it cannot load.
    """

    def __init__(self, file: Path, tokens: int = 0, lora: Path | None = None, texts: int = 1):
        self.llama, self.said = _library()
        self.model = self.context = self.batch = None
        settings = self.llama.llama_model_default_params()
        settings.vocab_only, settings.n_gpu_layers = not tokens, 0
        self.said.clear()
        self.model = self._there(self.llama.llama_model_load_from_file(str(file).encode(), settings), file)
        self.vocab = self.llama.llama_model_get_vocab(self.model)
        self.vocabulary = self.llama.llama_vocab_n_tokens(self.vocab)
        if tokens:
            self._begin(tokens, texts, file)
        if lora:
            adapter = self._there(self.llama.llama_adapter_lora_init(self.model, str(lora).encode()), lora)
            if self.llama.llama_set_adapters_lora(self.context, byref(c_void_p(adapter)), 1, byref(c_float(1.0))):
                raise ValueError(f"llama.cpp does not put {lora.name} on {file.name}.")

    def _begin(self, tokens: int, texts: int, file: Path) -> None:
        import torch

        settings = self.llama.llama_context_default_params()
        self.tokens, self.texts = -(-tokens // 256) * 256, texts
        settings.n_ctx = settings.n_batch = self.tokens * texts
        settings.n_ubatch, settings.n_seq_max = self.tokens, texts
        settings.n_threads = settings.n_threads_batch = torch.get_num_threads()
        self.context = self._there(self.llama.llama_init_from_model(self.model, settings), file)
        self.batch = self.llama.llama_batch_init(self.tokens * texts, 0, texts)

    def _there(self, pointer, file: Path):
        if pointer:
            return pointer
        self.close()
        raise ValueError(f"llama.cpp cannot load {file.name}: {' '.join(self.said) or 'it gave no reason'}.")

    def token_ids(self, text: str) -> list[int]:
        """`text` as llama.cpp cuts it: control tokens are read as such, nothing is put before or after."""
        raw = text.encode()
        ids = (c_int32 * (len(raw) + 8))()
        return ids[: self.llama.llama_tokenize(self.vocab, raw, len(raw), ids, len(ids), False, True)]

    def logits(self, ids: list[int], wanted: list[int]):
        """Float32 array (len(wanted), vocabulary): the logits behind those positions of `ids`.

        Raises ValueError for a text that is too long, RuntimeError when llama.cpp stops.
        """
        self._clear()
        return self._decode([(0, 0, ids, set(wanted))])

    def replies(self, prompts: list[list[int]], max_new_tokens: int, stops: list[int]) -> list[list[int]]:
        """The greedy replies to `prompts`, each with the stop token that ended it as its last, if one did."""
        if len(prompts) > self.texts:
            first = self.replies(prompts[: self.texts], max_new_tokens, stops)
            return first + self.replies(prompts[self.texts :], max_new_tokens, stops)
        self._clear()
        new = [[] for _ in prompts]
        step = [(which, 0, ids, {len(ids) - 1}) for which, ids in enumerate(prompts)]
        while step and max_new_tokens:
            best = self._decode(step).argmax(-1).tolist()
            for (which, *_), token in zip(step, best, strict=True):
                new[which].append(token)
            step = [
                (which, start + len(ids), [token], {0})
                for (which, start, ids, _), token in zip(step, best, strict=True)
                if token not in stops and len(new[which]) < max_new_tokens
            ]
        return new

    def _clear(self) -> None:
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def _decode(self, pieces: list[tuple[int, int, list[int], set[int]]]):
        """Logits (places asked for, vocabulary) of pieces of texts: which text, the place its piece starts, ids, places."""
        import numpy

        for which, start, ids, _ in pieces:
            if start + len(ids) > self.tokens or which >= self.texts:
                raise ValueError(
                    f"Text {which + 1} of {start + len(ids)} tokens does not fit: {self.texts} of {self.tokens} were asked for."
                )
        batch, wanted = self.batch, []
        batch.n_tokens = 0
        for which, start, ids, places in pieces:
            for place, token in enumerate(ids):
                i = batch.n_tokens
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, start + place, 1, which
                batch.logits[i] = place in places
                wanted += [i] * (place in places)
                batch.n_tokens += 1
        if code := self.llama.llama_decode(self.context, batch):
            raise RuntimeError(f"llama.cpp stopped with code {code}: {' '.join(self.said)}")
        rows = [self.llama.llama_get_logits_ith(self.context, i) for i in wanted]
        return numpy.stack([numpy.ctypeslib.as_array(row, (self.vocabulary,)).copy() for row in rows])

    def close(self) -> None:
        if self.batch is not None:
            self.llama.llama_batch_free(self.batch)
        if self.context:
            self.llama.llama_free(self.context)
        if self.model:
            self.llama.llama_model_free(self.model)
        self.model = self.context = self.batch = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@functools.cache
def _library():
    """llama.cpp's library, and the list of the errors that it reports; loaded once."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None:
        raise ModuleNotFoundError(
            "The package xllamacpp, which has llama.cpp in it, is missing: run `bash setup_kernel.sh`."
        )
    from xllamacpp import xllamacpp

    llama, said = ctypes.CDLL(xllamacpp.__file__), []
    missing = [name for name in SIGNATURES if not hasattr(llama, name)]
    if missing:
        raise ImportError(f"This build of xllamacpp has no {missing[0]}: install the one of requirements-serve.txt.")
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(llama, name)
        function.restype, function.argtypes = result, arguments
    defaults = llama.llama_context_default_params()
    found = {name: getattr(defaults, name) for name in DEFAULTS}
    if found != DEFAULTS:
        raise ImportError(
            f"This release of xllamacpp has other records ({found}): install the one of requirements-serve.txt."
        )

    @LOG
    def listen(level, text, _):
        if level == ERROR:
            said.append(text.decode(errors="replace").strip())

    llama.keep = listen  # the library holds no reference of its own
    llama.llama_log_set(listen, None)
    return llama, said
