"""The slots of a sentence shape, filled: hours, English articles and prepositions, Korean particles, capital
letters."""

import random
import re
from collections.abc import Callable

# after a consonant, after a vowel
PAIRS = "이/가 은/는 을/를 과/와 이랑/랑 이야/야 이라고/라고 으로/로 이고/고 이니/니 이지/지 이래/래 이었는데/였는데"
PARTICLE = {form: tuple(pair.split("/")) for pair in PAIRS.split() for form in pair.split("/") if form != "가"}
DIGITS_WITH_CONSONANT = "013678"  # 영 일 삼 육 칠 팔


def times(language: str, pick: random.Random, later_first: bool) -> list[str]:
    """Two different hours at which people meet, written in one way."""
    if language == "ko":
        words = "한 두 세 네 다섯 여섯 일곱 여덟 아홉 열 열한 열두".split()
        half, hours = pick.choice(
            [("오전", range(7, 12)), ("오후", range(1, 6)), ("저녁", range(6, 10)), ("아침", range(6, 10))]
        )
        forms = [
            "{half} {hour}시",
            "{half} {word} 시",
            "{hour}시 {minute}분",
            "{word} 시 반",
            "{half} {hour}시 {minute}분",
        ]
    else:
        words = "one two three four five six seven eight nine ten eleven twelve".split()
        half, hours = pick.choice([("am", range(7, 12)), ("pm", range(1, 10))])
        forms = ["{hour} {half}", "{hour}:{minute}", "half past {word}", "{hour} o'clock", "{hour}:{minute} {half}"]
        forms += ["quarter to {word}", "{word} thirty", "{late}:{minute}"]
    form, minute = pick.choice(forms), pick.choice(["15", "20", "30", "40", "45"])
    chosen = pick.sample(hours, 2)
    chosen = sorted(chosen, reverse=True) if later_first else chosen
    late = {hour: hour + 12 * (hour < 7) for hour in chosen}
    return [form.format(hour=h, late=late[h], word=words[h - 1], half=half, minute=minute) for h in chosen]


def closed(word: str) -> bool:
    """Whether the Korean `word` ends in a consonant."""
    last = word[-1]
    return (
        last in DIGITS_WITH_CONSONANT if last.isdigit() else "가" <= last <= "힣" and (ord(last) - ord("가")) % 28 > 0
    )


def korean(slot: str, value: str, particle: str) -> tuple[str, str, str]:
    """(before, value, after): `value` with its particle."""
    stem = value + "이" if slot == "friend" and particle and closed(value) else value  # 민준: 민준이랑, 민준이가
    after = stem.removeprefix(value)
    if particle == "에" and value in ("내일", "모레"):
        return "", value, ""
    if particle in ("로", "으로") and closed(stem) and (ord(stem[-1]) - ord("가")) % 28 == 8:  # ㄹ: 서울로
        return "", value, after + "로"
    pair = PARTICLE.get(particle)
    return "", value, after + (pair[not closed(stem)] if pair else particle)


def english(slot: str, value: str, _: str) -> tuple[str, str, str]:
    """(before, value, after): a day with its "on", a place with its article and preposition."""
    if slot == "on":
        return ("" if re.match("tomorrow|next|this", value) else "on "), value, ""
    if slot in ("at", "place"):
        preposition, article, name = re.fullmatch(r"(at|in|on) (the )?(.+)", value).groups()
        return (preposition + " " if slot == "at" else "") + (article or ""), name, ""
    return "", value, ""


def fill(shape: str, values: dict[str, str], write: Callable) -> tuple[str, dict[str, str]]:
    """The message, and the values as they stand in it: a sentence begins with a capital letter, where the shape's
    does."""
    text, found = "", {}
    for piece in re.split(r"(\{[^}]+\})", shape):
        if not piece.startswith("{"):
            text += piece
            continue
        slot, _, particle = piece[1:-1].partition(":")
        kind = {"on": "day", "at": "place", "friend": "who", "guest": "who"}
        name = kind.get(slot.rstrip("2"), slot.rstrip("2")) + "2" * slot.endswith("2")
        before, value, after = write(slot.rstrip("2"), values[name], particle)
        if not shape[0].islower() and re.search(r'(^|[.!?] |[.!?]: |: "|^")$', text):
            before, value = (before[:1].upper() + before[1:], value) if before else ("", value[0].upper() + value[1:])
        text += before + value + after
        found.setdefault(name, value)
    return text, found
