"""The parts of a data set (train, validation, test), by the names of its files and folders, or by README.md."""

import re
import unicodedata
from pathlib import Path

from helpers.data.readers import TEXTS
from helpers.show.words import _

PARTS = {
    "train": "train training 학습 훈련",
    "validation": "validation valid val dev 검증",
    "test": "test testing eval evaluation 시험 평가 테스트",
}
PART_OF = {word: part for part, words in PARTS.items() for word in words.split()}
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[가-힣]+|\d+")  # trainData, train2017, 학습_데이터
PLAIN = re.compile(rf"({'|'.join(PART_OF)})(?:data|set|용|셋|데이터|데이터셋)?")
SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}.*")  # train_sft-00000-of-00002, as the hub names its files
# what is left of train_1, train-part2, train_b
PIECE = re.compile(r"part|shard|chunk|file|v|data|set|\d+|[a-z]|데이터|셋")
GLOB = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def nfc(name: object) -> str:
    """A name as it is typed: a Mac takes letters apart in the names of files."""
    return unicodedata.normalize("NFC", str(name))


def _words(name: str) -> list[str]:
    return [word.lower() for word in WORD.findall(nfc(name))]


def _part(word: str) -> str | None:
    match = PLAIN.fullmatch(word)
    return PART_OF[match[1]] if match else None


def part_word(name: str) -> str | None:
    """train, validation or test, when a word of the name says so; the last one counts."""
    return next(filter(None, map(_part, reversed(_words(name)))), None)


def part_of(name: Path) -> str | None:
    """The part that a file's name or folder tells, None when it tells none: train, or train_sft where there is more."""
    stem = nfc(name.stem)
    if name.suffix.lower() in TEXTS and not _part(stem.lower()):
        stem = ""  # "test-driven.md" is a text, not a part
    shard = SHARD.fullmatch(stem.lower())
    if shard and part_word(shard[1]):
        return shard[1]
    first, *more = _words(stem) or [""]
    if _part(first) and not all(map(PIECE.fullmatch, more)) and not any(map(_part, more)):
        return stem.lower()
    return next(filter(None, map(part_word, (stem, *reversed(name.parts[:-1])))), None)


def wanted_parts(parts: set[str | None], split: str, folder: str) -> set[str | None]:
    """The parts that `split` means: that of this name, else those of its kind; files of no part where none is named.

    Raises ValueError for none, or for several that are no pieces of one.
    """
    split = nfc(split)
    if split in parts:
        return {split}
    kind = part_word(split)
    alike = {part for part in parts if part and kind and part_word(part) == kind}
    if len(alike) > 1 and not alike <= PART_OF.keys():
        sentence = _("{folder} has several parts that dataset_split={split!r} may mean: set it to {parts}.")
        raise ValueError(sentence.format(folder=folder, split=split, parts=_(" or ").join(sorted(alike))))
    found: set[str | None] = {*alike} or {part for part in parts if part is None and kind == "train"}
    if not found:
        sentence = _("{folder} has no part {split!r}: set dataset_split to {parts}.")
        known = sorted({part or "train" for part in parts})
        raise ValueError(sentence.format(folder=folder, split=split, parts=_(" or ").join(known)))
    return found


def described(folder: Path) -> tuple[dict[str, list[tuple[str, str]]], str]:
    """Subset -> (split or "", pattern of its files), from the head of README.md as the hub reads it; the default."""
    import yaml

    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8-sig", errors="replace") if readme.exists() else ""
    head = re.match(r"\s*---\n(.*?)\n---", text, re.S)
    try:
        known = yaml.safe_load(head[1])["configs"] if head else []
    except (yaml.YAMLError, LookupError, TypeError):
        known = []
    known = [subset for subset in known if isinstance(subset, dict)] if isinstance(known, list) else []
    found = {nfc(subset.get("config_name", "default")): _patterns(subset) for subset in known}
    marked = [nfc(subset.get("config_name")) for subset in known if subset.get("default")]
    return found, [*marked, *(name for name in found if name == "default" or len(found) == 1), ""][0]


def _patterns(subset: dict) -> list[tuple[str, str]]:
    files, home, found = subset.get("data_files") or "**", str(subset.get("data_dir") or "."), []
    if isinstance(files, dict):
        files = [{"split": split, "path": paths} for split, paths in files.items()]
    for file in files if isinstance(files, list) else [files]:
        split, paths = (file.get("split", ""), file.get("path", [])) if isinstance(file, dict) else ("", file)
        found += [(nfc(split), Path(home, str(p)).as_posix()) for p in (paths if isinstance(paths, list) else [paths])]
    return found


def fits(name: Path, pattern: str) -> bool:
    """Does a pattern of README.md mean this file? A star does not go over folders, two stars do."""
    pieces = re.split(r"(\*\*/?|\*|\?|\[[^]]*\])", nfc(pattern))
    regex = "".join(GLOB.get(piece, piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    return bool(re.fullmatch(regex, nfc(name.as_posix())))
