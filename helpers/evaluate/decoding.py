"""One decoder for every model: what a base's generation_config.json sets must not make of two models two decoders."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.model.generation import OF_THE_MODEL
from helpers.model.source import longest_text
from helpers.show.words import _
from helpers.template.chat import stop_ids

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


class PromptTooLong(ValueError):
    """No room for a reply; `tokens` of the prompt, `limit` of the model."""

    def __init__(self, tokens: int, limit: int):
        self.tokens, self.limit = tokens, limit
        sentence = _(
            "A prompt of {tokens} tokens leaves no room for a reply: the model was made for texts of {limit} tokens. "
            "Lower max_length in 03, or shorten the prompt."
        )
        super().__init__(sentence.format(tokens=f"{tokens:,}", limit=f"{limit:,}"))


@dataclass(frozen=True)
class Sampling:
    """Replies that are drawn; the same seed and prompts give every model the same random numbers."""

    temperature: float
    seed: int = 42

    @classmethod
    def of(cls, config) -> Sampling | None:
        """As the settings say; None: greedy."""
        return cls(config.temperature, config.seed) if config.temperature else None


def decoder(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int, sampling: Sampling | None = None
) -> GenerationConfig:
    """A fresh GenerationConfig: nothing of the model's own but OF_THE_MODEL, and the stops that were trained."""
    from transformers import GenerationConfig

    settings = {name: getattr(model.generation_config, name, None) for name in OF_THE_MODEL}
    settings |= {"eos_token_id": stop_ids(tokenizer), "pad_token_id": tokenizer.pad_token_id, "do_sample": False}
    if sampling:
        settings |= {"do_sample": True, "temperature": sampling.temperature, "top_k": 0}
    return GenerationConfig(max_new_tokens=max_new_tokens, **settings)


def generate_ids(model, rows: list[list[int]], settings: GenerationConfig, streamer=None):
    """New token ids, (rows, longest reply), behind prompts of token ids; prompts are flush right. Within `answering`.

    `generate` counts positions from the mask, so a padded prompt gets the positions it has alone.
    """
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[settings.pad_token_id] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    with torch.inference_mode():
        output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, streamer=streamer)
    return output[:, width:]


@contextmanager
def answering(model):
    """While the block runs, `generate_ids` asks for what its settings say, and for nothing else.

    `generate` fills what they leave open from the model's own; so these are empty for a moment, and a `decoder` is
    made before. And the head gets the last tokens as a tensor of their own: a slice of (rows, tokens, width) is
    multiplied row by row, on a CPU with a copy of the whole head for each.
    """
    from transformers import GenerationConfig

    inner, head = getattr(model, "get_base_model", lambda: model)(), model.get_output_embeddings()
    kept, inner.generation_config = inner.generation_config, GenerationConfig()
    hook = head.register_forward_pre_hook(lambda module, args: (args[0].contiguous(),))
    try:
        yield
    finally:
        inner.generation_config = kept
        hook.remove()


def room_for_reply(model: PreTrainedModel, prompt_tokens: int) -> int:
    """How many tokens fit behind a prompt within the longest text that the model was made for. Raises PromptTooLong."""
    limit = longest_text(model.config) or sys.maxsize
    if prompt_tokens >= limit:
        raise PromptTooLong(prompt_tokens, limit)
    return limit - prompt_tokens
