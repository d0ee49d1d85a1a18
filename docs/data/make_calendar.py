"""Makes notebooks/data/calendar_en.jsonl and calendar_ko.jsonl from the lists beside this file:

    python -m docs.data.make_calendar

A row is a message and its calendar entry, in which every value is copied from the message and what the message does
not say is null. The message is a shape, such as "{event} with {who} {on} at {time}", with its slots filled. Two kinds of rows:

    calendar-shared   80 shapes, each used about six times; people, places and events come back in other rows
    calendar-once     150 shapes, each used once; no other row has its people, its places or its events

Whatever part of the rows is held out, a quarter of it is therefore new to the model in every respect but days and hours.

Slots: {event}, {day} and {time} are the bare values; {on} is the day with "on" where it needs one; {place} has its
article, {at} its preposition too; {who} is a person, in one English row of ten two. In Korean {friend} goes by the given
name, {guest} has a title; {event:을} adds 을 or 를, {day:에} nothing to 내일 and 모레. A 2 ({who2}) marks a value that is not the answer.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "notebooks/data"
SHARED_ROWS, SEED = 450, 30
# after a consonant, after a vowel
PAIRS = "이/가 은/는 을/를 과/와 이랑/랑 이야/야 이라고/라고 으로/로 이고/고 이니/니 이지/지 이래/래 이었는데/였는데"
PARTICLE = {form: tuple(pair.split("/")) for pair in PAIRS.split() for form in pair.split("/") if form != "가"}
DIGITS_WITH_CONSONANT = "013678"  # 영 일 삼 육 칠 팔
EARLIER_FIRST = re.compile(
    "then|early|finish|train|kids|일러|끝나고|기차|일단"
)  # shapes in which {time2} comes before {time}
ONE_PERSON = re.compile(r"\{who\}( \w+s\b| \+|,? and (me|I))|and \{who\}|for two")  # two people would not fit


def read_lists(language: str) -> dict[str, list[str]]:
    """The sections of calendar_<language>.txt: of shapes one a line, of everything else one between semicolons."""
    sections, name = {}, ""
    for line in (HERE / f"calendar_{language}.txt").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[([a-z, ]+)\]", line):
            name = match[1]
            sections[name] = []
        elif line and not line.startswith("# ") and name:
            sections[name] += [line] if name.startswith(("shapes", "order")) else line.split("; ")
    return sections


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
    """The message, and the values as they stand in it: a sentence begins with a capital letter, where the shape's does."""
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


class Pool:
    """Values to draw from: with `once` each is drawn one time only."""

    def __init__(self, lists: dict[str, list[str]], language: str, once: bool, pick: random.Random):
        part = "once" if once else "shared"
        self.once, self.pick, self.days, self.language = once, pick, lists["days"], language
        places = lists[f"places, {part}"]
        if once:
            kinds = [pick.sample(places, 4) for _ in lists["place names, once"]]
            places = [
                k.replace("*", n) for n, four in zip(lists["place names, once"], kinds, strict=True) for k in four
            ]
        self.lists = {"place": places, "event": lists[f"events, {part}"]}
        if language == "ko":
            surnames, titles = lists[f"surnames, {part}"], lists[f"titles, {part}"]
            self.lists["friend"] = lists[f"friends, {part}"]
            self.lists["guest"] = [f"{surname} {title}" for surname in surnames for title in titles]
        else:
            self.lists["who"] = lists[f"people, {part}"]
        self.lists = {name: pick.sample(values, len(values)) for name, values in self.lists.items()}

    def draw(self, kind: str, other: str = "") -> str:
        """A value of `kind` that neither holds `other` nor is held by it."""
        if kind == "day":
            return self.pick.choice(
                [day for day in self.days if not other or other[-6:] not in day and day not in other]
            )
        values = self.lists[kind]
        if self.once:
            return values.pop()
        return self.pick.choice([value for value in values if value != other])

    def values(self, shape: str) -> dict[str, str]:
        """A value for every slot of `shape`."""
        slots = {slot.partition(":")[0] for slot in re.findall(r"\{([^}]+)\}", shape)}
        kinds = {"on": "day", "at": "place"}
        found = dict(
            zip(("time", "time2"), times(self.language, self.pick, bool(EARLIER_FIRST.search(shape))), strict=True)
        )
        for slot in sorted(slots):
            kind = kinds.get(slot.rstrip("2"), slot.rstrip("2"))
            name = ("who" if kind in ("friend", "guest") else kind) + "2" * slot.endswith("2")
            if kind != "time" and name not in found:
                found[name] = self.draw(kind, found.get(name[:-1] if name.endswith("2") else name + "2", ""))
        if "who" in slots and not ONE_PERSON.search(shape) and self.pick.random() < 0.15:
            found["who"] += f" and {self.draw('who', found['who'])}"
        return found


def make(language: str) -> list[dict]:
    """The rows of one language, in the order of the file."""
    pick, lists = random.Random(SEED), read_lists(language)
    shapes, rows = lists["shapes, shared"], []
    shared = [shape for _ in range(SHARED_ROWS // len(shapes) + 1) for shape in pick.sample(shapes, len(shapes))]
    for kind, chosen in (("shared", shared[:SHARED_ROWS]), ("once", lists["shapes, once"])):
        pool = Pool(lists, language, kind == "once", pick)
        for shape in chosen:
            text, found = fill(shape, pool.values(shape), korean if language == "ko" else english)
            entry = {name: found.get(name) for name in ("event", "day", "time", "place")} | {"with": found.get("who")}
            turns = [
                ("system", lists["order"][0]),
                ("user", text),
                ("assistant", json.dumps(entry, ensure_ascii=False)),
            ]
            messages = [{"role": role, "content": content} for role, content in turns]
            rows.append({"messages": messages, "source": f"calendar-{kind}"})
    return pick.sample(rows, len(rows))


if __name__ == "__main__":
    for language in ("en", "ko"):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in make(language)]
        (DATA / f"calendar_{language}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"calendar_{language}.jsonl: {len(lines)} rows")
