"""Ask a model a question of your own, and read its reply as it is written."""

from __future__ import annotations


def ask(model, tokenizer, messages: list[dict], max_new_tokens: int) -> str:
    """Prints the greedy reply to `messages` token by token, and returns its answer: the ids and stops that were trained."""
    import torch
    from transformers import TextStreamer

    from helpers.evaluate.generation import cut_reply, generation_settings, left_padded, room_for_reply
    from helpers.template.chat import prompt_ids, render

    ids = prompt_ids(tokenizer, messages)
    settings = generation_settings(tokenizer, min(max_new_tokens, room_for_reply(model, len(ids))))
    stream = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    with torch.inference_mode():
        output = model.generate(**left_padded([ids], tokenizer.pad_token_id, model.device), streamer=stream, **settings)
    asked = render(tokenizer, messages, add_generation_prompt=True)
    reply = cut_reply(output[0, len(ids) :].tolist(), tokenizer, settings["eos_token_id"], len(ids), asked)
    if reply.in_thought:
        print(f"({reply.told[1:-1]} after {len(reply.token_ids)} tokens, so there is no answer: raise max_new_tokens)")
    elif not reply.stopped:
        print(f"(cut at {settings['max_new_tokens']} tokens: the model did not stop by itself)")
    return reply.text
