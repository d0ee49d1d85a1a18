"""A GGUF file in llama.cpp itself: token ids, logits and greedy replies, through the C interface of its library.

The library comes in the package xllamacpp, whose Python side is the server only (see `server`); the records of its
`llama.h` are those that the package llama-cpp-py-sync generates from it. requirements-serve.txt pins both by hash.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.show.words import _

if TYPE_CHECKING:
    import numpy

ERROR = 4  # ggml's log level; 5 continues the line before
DEFAULTS = {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "type_k": 1, "type_v": 1, "offload_kqv": True}


class LlamaCpp:
    """The model of a GGUF file, on the CPU; `with LlamaCpp(file, tokens) as model:` gives its memory back.

    `tokens`: the longest text, reply included; 0 reads the vocabulary only. `texts`: how many are written at once.
    `lora`: an adapter's GGUF file, put on top. Raises ValueError, in llama.cpp's words, for what it cannot load."""

    def __init__(self, file: Path, tokens: int = 0, lora: Path | None = None, texts: int = 1):
        self.ffi, self.llama, self.errors, listen = _library()
        self.llama.llama_log_set(listen, self.ffi.NULL)  # a server of this process listens in its place
        self.model: Any = None
        self.context: Any = None
        self.batch: Any = None
        self.read: list[list[int]] = [[] for _text in range(texts)]  # ids, and the cache holds what they gave
        settings = self.llama.llama_model_default_params()
        settings.vocab_only, settings.n_gpu_layers = not tokens, 0
        self.errors.clear()
        self.model = self._loaded(self.llama.llama_model_load_from_file(str(file).encode(), settings), file)
        self.vocab = self.llama.llama_model_get_vocab(self.model)
        self.vocabulary = self.llama.llama_vocab_n_tokens(self.vocab)
        if tokens:
            self._begin(tokens, texts, file)
        if lora:
            adapter = self._loaded(self.llama.llama_adapter_lora_init(self.model, str(lora).encode()), lora)
            adapters, scales = self.ffi.new("struct llama_adapter_lora *[]", [adapter]), self.ffi.new("float[]", [1.0])
            if self.llama.llama_set_adapters_lora(self.context, adapters, 1, scales):
                sentence = _("llama.cpp does not put {adapter} on {file}.")
                raise ValueError(sentence.format(adapter=lora.name, file=file.name))

    def _begin(self, tokens: int, texts: int, file: Path) -> None:
        import torch

        settings = self.llama.llama_context_default_params()
        self.tokens, self.texts = -(-tokens // 256) * 256, texts
        settings.n_ctx = settings.n_batch = self.tokens * texts
        settings.n_ubatch, settings.n_seq_max = self.tokens, texts
        settings.n_threads = settings.n_threads_batch = torch.get_num_threads()
        self.context = self._loaded(self.llama.llama_init_from_model(self.model, settings), file)
        self.batch = self.llama.llama_batch_init(self.tokens * texts, 0, texts)

    def _loaded(self, pointer: Any, file: Path) -> Any:
        if pointer != self.ffi.NULL:
            return pointer
        self.close()
        reason = " ".join(self.errors) or _("it gave no reason")
        raise ValueError(_("llama.cpp cannot load {file}: {reason}.").format(file=file.name, reason=reason))

    def token_ids(self, text: str, served: bool = False) -> list[int]:
        """`text` as llama.cpp cuts it, control tokens read as such.

        `served`: as llama-server and Ollama call it, with what the file's flags add, and without the template's BOS."""
        if served and self.llama.llama_vocab_get_add_bos(self.vocab):
            bos = self.llama.llama_vocab_get_text(self.vocab, self.llama.llama_vocab_bos(self.vocab))
            text = text.removeprefix(self.ffi.string(bos).decode())
        raw = text.encode()
        ids = self.ffi.new("llama_token[]", len(raw) + 8)
        count = self.llama.llama_tokenize(self.vocab, raw, len(raw), ids, len(raw) + 8, served, True)
        return list(ids[0:count])

    def ends(self, token: int) -> bool:
        """True when llama.cpp ends a reply at this token by itself."""
        return bool(self.llama.llama_vocab_is_eog(self.vocab, token))

    def logits(self, ids: list[int], wanted: list[int], which: int = 0) -> numpy.ndarray:
        """Float32 array (len(wanted), vocabulary): the logits behind those positions of `ids`, read as text `which`.

        What `ids` have in common with what was read there before is not read again. Raises ValueError, RuntimeError."""
        return self._decode([(which, ids, set(wanted))])

    def replies(self, prompts: list[list[int]], max_new_tokens: int, stops: list[int]) -> list[list[int]]:
        """The greedy replies to `prompts`, each with the stop token that ended it as its last, if one did."""
        if len(prompts) > self.texts:
            first = self.replies(prompts[: self.texts], max_new_tokens, stops)
            return first + self.replies(prompts[self.texts :], max_new_tokens, stops)
        replies: list[list[int]] = [[] for _prompt in prompts]
        writing = list(range(len(prompts)))
        for _token in range(max_new_tokens):
            if not writing:
                break
            texts = [(which, prompts[which] + replies[which]) for which in writing]
            best = self._decode([(which, ids, {len(ids) - 1}) for which, ids in texts]).argmax(-1).tolist()
            for which, token in zip(writing, best, strict=True):
                replies[which].append(token)
            writing = [which for which in writing if replies[which][-1] not in stops]
        return replies

    def _decode(self, texts: list[tuple[int, list[int], set[int]]]) -> numpy.ndarray:
        """Logits (places asked for, vocabulary) of texts: which one, its ids, the places."""
        import numpy

        batch, wanted = self.batch, []
        batch.n_tokens = 0
        for which, ids, places in texts:
            if len(ids) > self.tokens or which >= self.texts:
                sentence = _("Text {number} of {tokens} tokens does not fit: {texts} of {longest} were asked for.")
                values = {"number": which + 1, "tokens": len(ids), "texts": self.texts, "longest": self.tokens}
                raise ValueError(sentence.format(**values))
            for place in range(self._kept(which, ids[: min(places)]), len(ids)):
                i = batch.n_tokens
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = ids[place], place, 1, which
                batch.logits[i] = place in places
                if place in places:
                    wanted.append(i)
                batch.n_tokens += 1
            self.read[which] = ids
        if code := self.llama.llama_decode(self.context, batch):
            sentence = _("llama.cpp stopped with code {code}: {reason}")
            raise RuntimeError(sentence.format(code=code, reason=" ".join(self.errors)))
        rows = numpy.empty((len(wanted), self.vocabulary), numpy.float32)
        for row, i in zip(rows, wanted, strict=True):
            self.ffi.memmove(row.data, self.llama.llama_get_logits_ith(self.context, i), row.nbytes)
        return rows

    def _kept(self, which: int, ids: list[int]) -> int:
        """How many of `ids` text `which` begins with already; what lies behind them in its cache is forgotten."""
        memory, kept = self.llama.llama_get_memory(self.context), len(os.path.commonprefix([self.read[which], ids]))
        if kept < len(self.read[which]) and not self.llama.llama_memory_seq_rm(memory, which, kept, -1):
            self.llama.llama_memory_seq_rm(memory, which, -1, -1)  # a state (Mamba) is whole or not at all
            return 0
        return kept

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

    def __exit__(self, *_error):
        self.close()


@functools.cache
def _library() -> tuple[Any, Any, list[str], Any]:
    """llama.cpp's records and library, the list of the errors that it reports, what listens to them; loaded once."""
    with packages_of_serve():
        from llama_cpp_py_sync._cffi_bindings import ffi
        from xllamacpp import xllamacpp  # pyright: ignore[reportAttributeAccessIssue]

    llama: Any = ffi.dlopen(xllamacpp.__file__)
    defaults, errors = llama.llama_context_default_params(), []
    records = {name: getattr(defaults, name) for name in DEFAULTS}
    if records != DEFAULTS:
        sentence = _(
            "This release of xllamacpp has other records ({found}): install the one of requirements-serve.txt."
        )
        raise ImportError(sentence.format(found=records))

    @ffi.callback("void(enum ggml_log_level, const char *, void *)")
    def listen(level, text, _data):
        if level == ERROR:
            said: Any = ffi.string(text)
            errors.append(said.decode(errors="replace").strip())

    return ffi, llama, errors, listen  # the library holds no reference of its own


@contextlib.contextmanager
def packages_of_serve() -> Iterator[None]:
    """Turn the lack of a package of requirements-serve.txt inside the block into one sentence (ModuleNotFoundError)."""
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = _("The package {name}, which brings llama.cpp, is missing: run `bash setup_kernel.sh`.")
        raise ModuleNotFoundError(sentence.format(name=str(error.name).partition(".")[0])) from None
