"""What a base's generation_config.json asks of every reply: what belongs to the model, and what cannot be done."""

from __future__ import annotations

import json
from typing import Any

from helpers.model.meta import one_line
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.settings import RunConfig
from helpers.show.words import _

# Settings with which `generate` needs more than prompts, or answers with more than one reply
IMPOSSIBLE = (
    "stop_strings return_dict_in_generate output_scores output_logits output_attentions output_hidden_states "
    "constraints force_words_ids penalty_alpha dola_layers custom_generate assistant_confidence_threshold"
).split()
# What a model may never say belongs to it: every reply keeps to it, and 05 writes it into merged/. The rest of a base's
# settings is a way to ask.
OF_THE_MODEL = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "sequence_bias")
ONLY_ONE = ("num_return_sequences", "num_beam_groups")


def require_usable(config: RunConfig) -> None:
    """Raises Refused where it asks for what a reply on a page, or a measurement, cannot be."""
    from transformers import GenerationConfig

    source = ModelSource.of(config)
    try:
        settings = GenerationConfig.from_pretrained(source.path, revision=source.revision).to_dict()
        wrong = [f"{name}={value!r}" for name, value in settings.items() if value and not _usable(name, value)]
        reason = ", ".join(wrong)
    except OSError as error:  # it has none, or half of one: 05 would read it after the training
        if isinstance(error.__context__, (json.JSONDecodeError, UnicodeDecodeError)):
            sentence = _("{path} cannot be read as JSON ({reason}): download it again.")
            path, reason = f"{config.model_id}/generation_config.json", one_line(error.__context__)
            raise Refused(Reason.GENERATION, sentence.format(path=path, reason=reason)) from None
        reason = ""
    except Exception as error:
        reason = one_line(error)
    if reason:
        sentence = _(
            "The generation_config.json of {name} asks for what 04 to 07 cannot do: {reason}. Take it out of that file "
            "(for a model on the hub: in a copy of its folder, which model_id then names)."
        )
        raise Refused(Reason.GENERATION, sentence.format(name=config.model_id, reason=reason))


def _usable(name: str, value: Any) -> bool:
    """Whether a reply can keep to a setting; of what a model may never say, `generate` is asked."""
    from transformers.generation import logits_process as library

    if name not in OF_THE_MODEL:
        return value <= 1 if name in ONLY_ONE else name not in IMPOSSIBLE
    kinds = {"bad_words_ids": library.NoBadWordsLogitsProcessor, "sequence_bias": library.SequenceBiasLogitsProcessor}
    try:
        kinds.get(name, library.SuppressTokensLogitsProcessor)(value)
    except (ValueError, TypeError):
        return False
    return True
