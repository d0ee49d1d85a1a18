"""Before anything is read: which revisions are there?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from helpers.data.sources import data_revision
from helpers.model.elsewhere import start_folder
from helpers.model.source import model_revision
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def start(config: RunConfig, run: RunDir) -> tuple[RunConfig, PreTrainedTokenizerBase]:
    """`config` with the revisions that are there, written to config.json, and the tokenizer."""
    begins = start_folder(run, config)  # an adapter that no training can begin from is refused before anything is read
    config = with_revisions(config, run)
    run.save_config(config)
    tokenizer = load_tokenizer(config)
    theirs = begins / "chat_template.jinja" if begins else None
    if theirs and theirs.exists() and theirs.read_text(encoding="utf-8") != tokenizer.get_chat_template():
        sentence = _("The adapter was trained with another chat template: chat_template={file!r} keeps it.")
        print(sentence.format(file=str(theirs)))
    return config, tokenizer


def with_revisions(config: RunConfig, run: RunDir) -> RunConfig:
    """`config` with the model and data revisions that are really there now, for config.json.

    Prints a line for each that is another than when this run was prepared before: the results may differ too.
    """
    found = {"model_revision": model_revision(config.model_id, config.model_revision)}
    found["dataset_revision"] = data_revision(config)
    if run.config_json.exists():
        before = run.stored_config()
        for name, source in (("model_revision", "model_id"), ("dataset_revision", "dataset_id")):
            old, same = getattr(before, name), getattr(before, source) == getattr(config, source)
            if same and old and old != found[name]:
                sentence = _("{name} is now {new}, and was {old} when this run was prepared before.")
                print(sentence.format(name=name, new=found[name], old=old))
    return replace(config, **found)
