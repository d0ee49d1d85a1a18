"""The tokenizer of a run, with a chat template and a pad token."""

from __future__ import annotations

from helpers.model.source import ModelSource
from helpers.paths import local_path
from helpers.settings import RunConfig
from helpers.template.chat import project_template
from helpers.template.thoughts import without_open_thought


def load_tokenizer(config: RunConfig, source: str | None = None):
    """The run's tokenizer (or that of the folder `source`), with a chat template and a pad token, no new vocabulary.

    A model without a template gets the project's; `config.chat_template` names another, which is then saved with the
    adapter, so that 05 to 07 and every server ask as in training. A tokenizer without a pad token reuses one it has: padding is
    marked in the labels and the attention mask, so padding with EOS never hides the real EOS.
    Raises ValueError for a tokenizer without EOS, or one that cannot tell which characters a token stands for, and for a
    chat_template that cannot be had.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(**ModelSource.of(config, folder=source).keywords)
    name = source or config.model_id
    if tokenizer.eos_token_id is None:
        raise ValueError(f"The tokenizer of {name} has no EOS token, so replies could never stop: use another model.")
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer of {name} ({type(tokenizer).__name__}) gives no character offsets, so the answers cannot be "
            "found in the tokens: use a model folder with a tokenizer.json."
        )
    if not tokenizer.chat_template:
        tokenizer.chat_template = project_template(tokenizer)
    if config.chat_template and source is None:
        tokenizer.chat_template = _chosen_template(tokenizer, config.chat_template)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def _chosen_template(tokenizer, name: str) -> str:
    if name == "no-thought":
        return without_open_thought(tokenizer)
    file = local_path(name)
    if file is None or not file.is_file():
        raise ValueError(f"chat_template={name!r} is no file here: give the path of a Jinja file, or no-thought.")
    return file.read_text(encoding="utf-8")
