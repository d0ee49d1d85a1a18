"""The tokenizer of a run, with a chat template and a pad token."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.model.weights import forget_code
from helpers.paths import local_path
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.template.chat import project_template
from helpers.template.sandbox import require_safe
from helpers.template.thoughts import without_open_thought

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MEDIA = ("image", "boi", "eoi", "audio", "boa", "eoa", "video")  # <image> and the like: no text writes them


def load_tokenizer(config: RunConfig, source: str | None = None) -> PreTrainedTokenizerBase:
    """The run's tokenizer (or that of the folder `source`), with a chat template and a pad token, no new vocabulary.

    A template that `config.chat_template` names is saved with the adapter, so that 05 to 07 and servers ask as in
    training. Padding may reuse EOS: it is marked in the labels and the attention mask. What it saves names no code of a
    stranger. Raises `Refused` (TOKENIZER) for one without EOS or offsets, (TEMPLATE) for a chat_template that cannot be
    had; `sandbox.Unsafe` for a template that hangs.
    """
    from transformers import AutoTokenizer

    name = source or config.model_id
    tokenizer = AutoTokenizer.from_pretrained(**ModelSource.of(config, folder=source).place)
    forget_code(tokenizer, config.trust_remote_code)
    if tokenizer.eos_token_id is None:
        sentence = _("The tokenizer of {name} has no EOS token, so replies could never stop: use another model.")
        raise Refused(Reason.TOKENIZER, sentence.format(name=name))
    if not tokenizer.is_fast:
        sentence = _(
            "The tokenizer of {name} ({kind}) gives no character offsets, so the answers cannot be found in the "
            "tokens: use a model folder with a tokenizer.json."
        )
        raise Refused(Reason.TOKENIZER, sentence.format(name=name, kind=type(tokenizer).__name__))
    _give_template(tokenizer, config, name, source is not None)
    rows = _embedding_rows(config)
    if tokenizer.pad_token_id is None or (rows and tokenizer.pad_token_id >= rows):
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def _give_template(tokenizer: PreTrainedTokenizerBase, config: RunConfig, name: str, saved: bool) -> None:
    """The model's own chat template, the project's, or that which `config.chat_template` names unless `saved` so."""
    chosen = "" if saved else config.chat_template
    if chosen and chosen != "no-thought":  # the model's own is not looked at: it may be why a file was given
        file = local_path(chosen)
        if file is None or not file.is_file():
            sentence = _("chat_template={name!r} is no file here: give the path of a Jinja file, or no-thought.")
            raise Refused(Reason.TEMPLATE, sentence.format(name=chosen), "chat_template")
        tokenizer.chat_template, name = file.read_text(encoding="utf-8"), chosen
    elif not tokenizer.chat_template:
        tokenizer.chat_template = project_template(tokenizer)
    _require_templates(tokenizer, name)
    if chosen == "no-thought":
        tokenizer.chat_template = without_open_thought(tokenizer)


def _require_templates(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Every template of `tokenizer` is safe; where it has several by name, one is "default", which most rows need."""
    own: Any = tokenizer.chat_template
    named = own if isinstance(own, dict) else {"default": own}
    if "default" not in named:
        sentence = _(
            "The tokenizer of {name} has chat templates called {names}, and none called default: set chat_template to "
            "a file with the one to use."
        )
        names = ", ".join(map(repr, sorted(named)))
        raise Refused(Reason.TEMPLATE, sentence.format(name=name, names=names), "chat_template")
    for template in named.values():
        require_safe(template, tokenizer.special_tokens_map, name)


def _embedding_rows(config: RunConfig) -> int | None:
    """Rows of the base model's embedding by its config.json; None where it cannot be had (a moved run)."""
    with contextlib.suppress(OSError, ValueError):
        return ModelSource.of(config).settings().get_text_config().vocab_size
    return None


def require_rows_for_all(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """Raises `Refused` (TOKENIZER), for a token that a text can hold and an embedding of `rows` cannot.

    A stand-in for pictures or sound beyond the end (Gemma 3's <image_soft_token>) is left alone: no text writes it.
    """
    media = {getattr(tokenizer, f"{kind}_token", None) for kind in MEDIA}
    beyond = [
        (number, token) for token, number in tokenizer.get_vocab().items() if number >= rows and token not in media
    ]
    if not beyond:
        return
    number, token = min(beyond)
    sentence = _(
        "The tokenizer of {name} has {count} tokens for which the model has no row: {token!r} is number {number:,}, "
        "the embedding has {rows:,}. A row with such a token would stop the training. Use the tokenizer that the model "
        "was trained with, or save the model with resized embeddings first."
    )
    sentence = sentence.format(name=name, count=len(beyond), token=token, number=number, rows=rows)
    raise Refused(Reason.TOKENIZER, sentence)
