"""Makes notebooks/data/calendar_en.jsonl, calendar_ko.jsonl and preferences_calendar.jsonl from the lists beside this
file:

    python -m docs.data.make_calendar

A row is a message and its calendar entry, in which every value is copied from the message and what the message does
not say is null. The message is a shape, such as "{event} with {who} {on} at {time}", with its slots filled. Two kinds
of rows:

    calendar-shared   80 shapes, each used about six times; people, places and events come back in other rows
    calendar-once     150 shapes, each used once; no other row has its people, its places or its events

Of whatever part of the rows is held out, about a quarter is therefore new to the model in everything but days and
hours.

Slots: {event}, {day} and {time} are the bare values; {on} is the day with "on" where it needs one; {place} has its
article, {at} its preposition too; {who} is a person, in one English row of ten two. In Korean {friend} goes by the
given name, {guest} has a title; {event:을} adds 을 or 를, {day:에} nothing to 내일 and 모레. A 2 ({who2}) marks a
value that is not the answer.
"""

import json
import random
import re
from pathlib import Path

from docs.data.slots import english, fill, korean, times

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "notebooks/data"
SHARED_ROWS, SEED = 450, 30
# shapes in which {time2} comes before {time}
EARLIER_FIRST = re.compile("then|early|finish|train|kids|일러|끝나고|기차|일단")
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


def row(shape: str, pool: Pool, order: str) -> tuple[list[dict], dict, dict[str, str]]:
    """What is asked, the right entry, and every value of the message, those of a 2 with it."""
    text, found = fill(shape, pool.values(shape), korean if pool.language == "ko" else english)
    entry = {name: found.get(name) for name in ("event", "day", "time", "place")} | {"with": found.get("who")}
    return [{"role": "system", "content": order}, {"role": "user", "content": text}], entry, found


def answer(entry: dict) -> dict:
    return {"role": "assistant", "content": json.dumps(entry, ensure_ascii=False)}


def make(language: str) -> list[dict]:
    """The rows of one language, in the order of the file."""
    pick, lists = random.Random(SEED), read_lists(language)
    shapes, rows = lists["shapes, shared"], []
    shared = [shape for _ in range(SHARED_ROWS // len(shapes) + 1) for shape in pick.sample(shapes, len(shapes))]
    for kind, chosen in (("shared", shared[:SHARED_ROWS]), ("once", lists["shapes, once"])):
        pool = Pool(lists, language, kind == "once", pick)
        for shape in chosen:
            asked, entry, _ = row(shape, pool, lists["order"][0])
            rows.append({"messages": [*asked, answer(entry)], "source": f"calendar-{kind}"})
    return pick.sample(rows, len(rows))


def make_pairs() -> list[dict]:
    """English pairs for A2: the right entry, and the same one with a value of the message that is not the answer."""
    pick, lists = random.Random(SEED + 1), read_lists("en")
    pool, pairs = Pool(lists, "en", False, pick), []
    for shape in 2 * lists["shapes, shared"]:
        asked, entry, found = row(shape, pool, lists["order"][0])
        wrong = [name for name in found if name.endswith("2")]
        if wrong:
            name = pick.choice(wrong)
            field = "with" if name == "who2" else name[:-1]
            pairs.append(
                {"prompt": asked, "chosen": [answer(entry)], "rejected": [answer(entry | {field: found[name]})]}
            )
    return pick.sample(pairs, len(pairs))


def write(name: str, rows: list[dict]) -> None:
    (DATA / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    write("calendar_en.jsonl", make("en"))
    write("calendar_ko.jsonl", make("ko"))
    write("preferences_calendar.jsonl", make_pairs())
