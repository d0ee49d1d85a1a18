"""How often are the Korean checks right? On this project's Korean, and on the same with one 조사 of the wrong sound.

python -m proofs.proof_korean_checks [ChatbotData.csv]    needs Kiwi: bash setup_kernel.sh --korean

2026-11-30, kiwipiepy 0.24.1:

    haeyo      336 of 336 references of polite_ko.jsonl pass, 0 casual sentences, 248 of these with a bare 요 behind
    spelled    of 901 answers of ours 1 is refused (하루 긴), of 461 with one wrong 조사 406, of 1,500 of ChatbotData 5,
               four of them misspelled (친구을, 베터리, 붙어잇는, 벅찰텐대)
"""

from __future__ import annotations

import csv
import random
import re
import sys

from helpers.evaluate.checks import load_checks
from helpers.evaluate.korean import PARTICLES, _kiwi, _slips, haeyo
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT

DATA = PROJECT_ROOT / "notebooks" / "data"
TURNED = PARTICLES | {after: before for before, after in PARTICLES.items()}


def answers(name: str) -> list[str]:
    return [text for row in read_jsonl(DATA / name) for text in re.findall(r"<bot> ([^\n]*)", row["text"])]


def swapped(text: str) -> str | None:
    """`text` with its first 조사 that has two sounds in the other one."""
    for token in _kiwi().tokenize(text):
        if token.tag.startswith("J") and token.form in TURNED and text[token.start : token.end] == token.form:
            return text[: token.start] + TURNED[token.form] + text[token.end :]


def main() -> None:
    sample, polite = answers("sample_ko_instructions.jsonl"), answers("polite_ko.jsonl")
    _checks, baseline = load_checks(str(DATA / "polite_checks.py"))
    casual = [re.search(r"<usr> ([^\n]*)", row["text"])[1] for row in read_jsonl(DATA / "polite_ko.jsonl")]
    with_yo = [baseline([{"role": "user", "content": text}]) for text in casual]
    for name, texts in (("references", polite), ("casual", casual), ("casual with a bare 요", with_yo)):
        print(f"haeyo, {name}: {sum(haeyo([], text, '') for text in texts)} of {len(texts)} pass")
    groups = {"our answers": sample + polite, "with a wrong 조사": [*filter(None, map(swapped, sample))]}
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            groups["ChatbotData"] = random.Random(1).sample([row["A"] for row in csv.DictReader(file)], 1500)
    for name, texts in groups.items():
        wrong = [slips for text in texts if (slips := [*_slips(text)])]
        print(f"spelled, {name}: {len(wrong)} of {len(texts)} are refused", wrong if len(wrong) < 10 else "")


if __name__ == "__main__":
    main()
