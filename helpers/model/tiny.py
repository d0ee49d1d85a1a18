"""The test model: a Llama of about 1 M parameters and its tokenizer, built and briefly pretrained here.

It has no chat template, like Llama-2-7b, and a BOS token, so the tests meet both.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any, cast

from helpers.paths import PROJECT_ROOT

SUBJECTS = "친구 동생 선생님 고양이 강아지 할머니 이웃 아이 가수 요리사 학생 농부 의사 기자 작가".split()
PLACES = "집 학교 공원 시장 바다 산 도서관 식당 병원 버스 교실 마당 강가 가게 운동장".split()
OBJECTS = "사과 책 물 노래 빵 편지 우산 꽃 그림 신발 김치 커피 사진 라면 모자".split()
VERBS = "찾아요 좋아해요 골라요 나눠요 가져와요 기다려요 생각해요 보여줘요 알아봐요 준비해요".split()
WHEN = "오늘 어제 아침에 저녁에 주말에 봄에 여름에 가을에 겨울에 점심에".split()
PEOPLE = "a friend,my brother,the teacher,a student,the farmer,our neighbour,the cook,a writer".split(",")
DOES = "looks for,likes,chooses,shares,brings,waits for,thinks of,shows".split(",")
THINGS = "an apple,the book,some water,a song,the bread,a letter,the flowers,a picture,coffee,a hat".split(",")
WHERE = "at home,at school,in the park,at the market,by the sea,in the library,on the bus,in the garden".split(",")
# They only shape the vocabulary; the weights never see them
TEXTS = [PROJECT_ROOT / "notebooks" / "data" / f"{name}.jsonl" for name in ("calendar_en", "sample_ko_instructions")]


def recipe() -> str:
    """A short hash of all that the model is made from, so that one of an older recipe is not taken for it."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in (Path(__file__), *TEXTS))).hexdigest()[:8]


def build_tiny_model(folder: Path) -> None:
    """Write model and tokenizer to `folder`: about 1.3 M parameters, 300 steps of plain sentences (under 1 min)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sentences = _sentences(6000)
    tokenizer = _train_tokenizer(sentences)
    config = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(0)
        model = cast(Any, LlamaForCausalLM(config))
        _pretrain(model, tokenizer, sentences)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _sentences(count: int) -> list[str]:
    """Plain sentences, Korean and English by turns, from word lists: but none of the skill of the sample data."""
    pick = random.Random(0).choice
    sentences = []
    for _ in range(count // 2):
        sentences.append(f"{pick(WHEN)} {pick(PLACES)}에서 {pick(SUBJECTS)}도 {pick(OBJECTS)}만 {pick(VERBS)}.")
        sentences.append(f"{pick(PEOPLE)} {pick(DOES)} {pick(THINGS)} {pick(WHERE)}.")
    return sentences


def _train_tokenizer(sentences: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*sentences, *(path.read_text(encoding="utf-8") for path in TEXTS)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def _pretrain(model, tokenizer, sentences: list[str], steps: int = 300, rows: int = 32) -> None:
    """Next-token training on the sentences, `rows` of them per step."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    encoded = [torch.tensor(ids + [tokenizer.eos_token_id]) for ids in tokenizer(sentences).input_ids]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    model.train()
    for step in range(steps):
        batch = [encoded[(step * rows + i) % len(encoded)] for i in range(rows)]
        inputs = pad_sequence(batch, batch_first=True, padding_value=tokenizer.eos_token_id)
        labels = pad_sequence(batch, batch_first=True, padding_value=-100)
        model(input_ids=inputs, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
