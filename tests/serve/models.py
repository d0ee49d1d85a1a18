"""Small models with real tokenizers of the kinds that converters treat apart: random weights, made in a second."""

import json
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from tests.template.tokenizer_kinds import FORGETS_THINKING, INST, kind

ASKED = ("얼음은 왜 물에 떠요?", "Hello  there,\n\n it's 12,345 o'clock", "  두 칸 띄고 🐢 café ㅋㅋ", "a\tb <think> c")
TALKS = [[{"role": "user", "content": text}] for text in ASKED]


def llama(folder: Path, tokenizer, seed: int = 0) -> Path:
    """A random Llama whose rows are 256 long, so that every quantisation applies, beside `tokenizer`."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=512, **sizes, **ids)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():  # away from the tiny first values: replies and choices differ
            parameter.data.mul_(4 if parameter.dim() == 2 else 1)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentencepiece(folder: Path):
    """A base model's folder as Llama-2 has it: tokenizer.model, trained here by sentencepiece itself."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    lines = (ROOT / "notebooks/data/sample_ko_instructions.jsonl").read_text(encoding="utf-8").splitlines()[:300]
    texts = [json.loads(line)["text"].replace("\n", " ") for line in lines]
    texts += ["Hello there, it is twelve o'clock."] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=1500,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "legacy": False, "add_bos_token": True}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template, tokenizer.pad_token = INST, "<unk>"
    return tokenizer


def thinking():
    """Byte-level, ChatML, with <think> in its vocabulary; its template takes the thinking out of past answers."""
    tokenizer = kind("forgets thinking")
    special = {"additional_special_tokens": ["<think>", "</think>"]}
    tokenizer.add_special_tokens(special, replace_extra_special_tokens=False)
    tokenizer.chat_template = FORGETS_THINKING
    return tokenizer
