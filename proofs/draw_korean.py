"""Draw sentences of the Korean edition, to be read aloud: does each sound like a Korean, or like a translation?

python -m proofs.draw_korean [SEED [COUNT]]

From all blocks of pages, labs, README, workshop, glossary, drawings and from what the code prints. 2026-11-30, seed 37,
100 of 3,711 sentences, read by their editor: 3 sounded like a translation, as "잃은 것: 검증용 행까지도" (mended then),
0 could not be understood.
"""

from __future__ import annotations

import random
import re
import sys

from helpers.paths import PROJECT_ROOT
from helpers.translate import messages, pairs, translated

SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[^\s)])|\n+")


def sentences(language: str = "ko") -> list[tuple[str, str]]:
    """(where, sentence) of everything that a reader of the edition can meet."""
    texts = [
        (f"{target.name} {name}", re.sub(r"```.*?```|<[^>]+>", "", block.text, flags=re.S))
        for _, target in pairs(language)
        for name, block in translated(target).items()
    ]
    texts += [(file, message.string) for file, message in messages(language, PROJECT_ROOT)]
    found = [(where, part.strip(" |#-*")) for where, text in texts for part in SENTENCE.split(text)]
    return sorted({(where, part) for where, part in found if len(re.findall("[가-힣]", part)) >= 8})


def main() -> None:
    seed, count = [*map(int, sys.argv[1:]), *(37, 100)[len(sys.argv) - 1 :]]
    every = sentences()
    print(f"{count} of {len(every):,} sentences, seed {seed}")
    for number, (where, sentence) in enumerate(random.Random(seed).sample(every, count), start=1):
        print(f"{number:3} {where}: {sentence}")


if __name__ == "__main__":
    main()
