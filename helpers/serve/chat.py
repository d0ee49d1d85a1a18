"""Ask a model a question of your own, and read its reply as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.evaluate.decoding import answering, decoder, generate_ids, room_for_reply
from helpers.evaluate.generation import cut_reply
from helpers.show.words import _
from helpers.template.chat import prompt_ids, render

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def ask(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, messages: list[dict], max_new_tokens: int) -> str:
    """Prints the greedy reply to `messages` token by token, and returns its answer: ids and stops as trained."""
    from transformers import TextStreamer

    ids = prompt_ids(tokenizer, messages)
    settings = decoder(model, tokenizer, min(max_new_tokens, room_for_reply(model, len(ids))))
    stream = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    with answering(model):
        output = generate_ids(model, [ids], settings, stream)
    prompt = render(tokenizer, messages, add_generation_prompt=True)
    reply = cut_reply(output[0].tolist(), tokenizer, settings.eos_token_id, len(ids), prompt)
    if reply.in_thought:
        sentence = _("(no answer: {tokens} tokens were written, all of them inside the thought; raise max_new_tokens)")
        print(sentence.format(tokens=len(reply.token_ids)))
    elif not reply.stopped:
        print(_("(cut at {tokens} tokens: the model did not stop by itself)").format(tokens=len(reply.token_ids)))
    return reply.text
