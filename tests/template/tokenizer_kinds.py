"""Small real tokenizers of the kinds that models come with, trained on the sample data in a second."""

import functools
import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from helpers.template.chat import project_template
from tests.conftest import ROOT

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# writes BOS itself, trims, refuses a system turn, knows no generation prompt: Llama-2-chat and Mistral do the like
INST = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system turn') }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# puts the system turn into the last user turn, as later Mistral templates do
INST_LATE_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set note = messages[0]['content'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set note = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + (note if loop.index >= turns | length - 1 else '') + message['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
# another ending after the last turn than after the others, as Phi-3 has
TWO_ENDINGS = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
)
# takes the thinking out of all answers but the last, as Qwen3 does
FORGETS_THINKING = CHATML.replace(
    "message['content'] + '<|im_end|>\n'",
    "(message['content'] if loop.last else message['content'].split('</think>')[-1]) + '<|im_end|>\n'",
)
# "### Answer: ..." with nothing that ends it, as Alpaca wrote
NO_ENDING = (
    "{% for message in messages %}{{ '### ' + message['role'] + ': ' + message['content'] + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:' }}{% endif %}"
)


@functools.cache
def byte_level(bos: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    how = {"special_tokens": special, "initial_alphabet": alphabet, "show_progress": False}
    trainer = trainers.BpeTrainer(vocab_size=900, **how)
    tokenizer.train_from_iterator(_texts(), trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


@functools.cache
def sentencepiece_like() -> Tokenizer:
    """Like Llama-2's: a blank becomes ▁, one is put first, what is not in the vocabulary falls back to bytes."""
    letters = sorted({char for text in _texts() for char in text if not char.isspace() and char.isascii()})
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    how = {"special_tokens": ["<unk>", "<s>", "</s>", *fallback], "initial_alphabet": [*letters, "▁"]}
    trainer = trainers.BpeTrainer(vocab_size=1200, limit_alphabet=300, show_progress=False, **how)
    tokenizer.train_from_iterator(_texts(), trainer)
    # the byte pieces are ordinary vocabulary, only <unk>, <s> and </s> are special
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    strip = decoders.Strip(content=" ", left=1)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def kind(name: str) -> PreTrainedTokenizerFast:
    """A fresh tokenizer of one of KINDS, as `chat.load_tokenizer` would hand it out."""
    if name in ("inst", "inst late system"):
        special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
        template = INST if name == "inst" else INST_LATE_SYSTEM
        return PreTrainedTokenizerFast(tokenizer_object=sentencepiece_like(), chat_template=template, **special)
    if name == "no template":
        special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(bos=True), **special)
        tokenizer.chat_template = project_template(tokenizer)
        return tokenizer
    special = {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    special["additional_special_tokens"] = ["<|im_start|>", "<|endoftext|>"]
    return PreTrainedTokenizerFast(tokenizer_object=byte_level(), chat_template=TEMPLATES[name], **special)


TEMPLATES = {"chatml": CHATML, "marks": CHATML_MARKED, "two endings": TWO_ENDINGS}
TEMPLATES |= {"forgets thinking": FORGETS_THINKING, "no ending": NO_ENDING}
KINDS = ["inst", "inst late system", "chatml", "marks", "no template", "two endings"]


@functools.cache
def _texts() -> list[str]:
    lines = (ROOT / "notebooks/data/sample_ko_instructions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[:250]]
