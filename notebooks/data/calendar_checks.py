"""Checks for the calendar data (calendar_en.jsonl, calendar_ko.jsonl), and for yours: copy this file and change it.

Every public function (messages, reply, reference) -> bool is a check, and its first line says what it asks. `messages`
is what the model was asked, a list of {"role", "content"}; `reply` what it wrote; `reference` the right answer of the
row. `baseline(messages) -> str` is no check: it answers by rules, without any model, and stands beside the models in
the table. A check that the base passes too, or that even the baseline passes, shows nothing about the training.
"""

import json
import re

FIELDS = ("event", "day", "time", "place", "with")


def valid_json(messages: list[dict], reply: str, reference: str) -> bool:
    """The reply is one JSON object with the five fields and nothing else; each is a text or null."""
    return _entry(reply) is not None


def exact(messages: list[dict], reply: str, reference: str) -> bool:
    """All five fields are right; a capital letter or a space around a value makes no difference."""
    return all(_same(field, reply, reference) for field in FIELDS)


def event_right(messages: list[dict], reply: str, reference: str) -> bool:
    """What takes place is right."""
    return _same("event", reply, reference)


def day_right(messages: list[dict], reply: str, reference: str) -> bool:
    """The day is right."""
    return _same("day", reply, reference)


def time_right(messages: list[dict], reply: str, reference: str) -> bool:
    """The hour is right: after "no, make it five" it is the last one."""
    return _same("time", reply, reference)


def place_right(messages: list[dict], reply: str, reference: str) -> bool:
    """The place is right, and null where the message names none."""
    return _same("place", reply, reference)


def person_right(messages: list[dict], reply: str, reference: str) -> bool:
    """Who will be met is right, and not somebody else of the message."""
    return _same("with", reply, reference)


def copied(messages: list[dict], reply: str, reference: str) -> bool:
    """Every value stands in the message: nothing is made up."""
    entry, text = _entry(reply), messages[-1]["content"].casefold()
    return entry is not None and all(value is None or value.casefold() in text for value in entry.values())


def nothing_added(messages: list[dict], reply: str, reference: str) -> bool:
    """What the message does not say stays null."""
    entry, right = _entry(reply), _entry(reference)
    return entry is not None and right is not None and all(entry[f] is None for f in FIELDS if right[f] is None)


def baseline(messages: list[dict]) -> str:
    """The entry by regular expressions alone: what half an hour of rules gets right."""
    text = messages[-1]["content"]
    rules = KOREAN if re.search("[가-힣]", text) else ENGLISH
    found = {field: _first(rules[field], text) for field in FIELDS}
    return json.dumps(found, ensure_ascii=False)


WEEKDAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
NUMBER = "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
NAME = r"(?:(?:Dr|Mrs|Mr|Ms)\. |(?:Aunt|Uncle|Coach|Professor|Captain|Cousin|Nurse|Grandma) )?[A-Z][a-z]+"
ENGLISH = {  # each rule has one group; of several rules the first that fits is taken
    "event": [
        r"\b(?:the|our|your|this) ([\w' -]+?) (?:with|at|in|on|is|will|has|begins|starts|stays|that|needs|can)\b",
        r"^(?:[a-z]+, )?([\w' -]+?) (?:with|on|at|in|next|this|tomorrow)\b",
        r"[:.!,] ([\w' -]+?) (?:with|on|at|in|next|this|tomorrow)\b",
        r"[:.!] ([\w' -]+?)[,.]",
    ],
    "day": [rf"\b((?:(?:[Nn]ext|[Tt]his) )?{WEEKDAY}|{MONTH} \d+|\d+ {MONTH}|[Tt]omorrow)\b"],
    "time": [
        rf"(?:no|wait|changed|not)\W.*?\b(\d+:\d+(?: [ap]m)?|\d+ [ap]m|\d+ o'clock|{NUMBER} thirty)\b",
        rf"\b(\d+:\d+(?: [ap]m)?|\d+ [ap]m|\d+ o'clock|(?:half past|quarter to) {NUMBER}|{NUMBER} thirty|noon)\b",
    ],
    "place": [
        r"\b(?:[Aa]t|[Ii]n|[Oo]n|(?:[Cc]ome|go|child) to) the ((?!same)[\w' ]+?)(?:[,.!?;)]|$| on | at | with | next | this | tomorrow)",
        rf"\b(?:[Aa]t|[Ii]n|[Oo]n|(?:[Cc]ome|go|child) to) ((?!{MONTH}|{WEEKDAY})[A-Z][\wé]*(?: [A-Z\d][\wé]*)*)",
        r"(?:Where|Place|Room|Location)[^:]*: (?:the )?([\w é]+?)[.,]",
    ],
    "with": [
        rf"\b(?:[Ww]ith|and|\+|Who:|Host:) ({NAME}(?: and {NAME})?)",
        rf"\b({NAME}) (?:will|and I|said|has|wants)",
    ],
}
KIND = "레슨|강습|수업|교육|회의|검사|검진|진료|모임|대회|시합|경기|연습|견학|체험|시험|촬영|파티|점검|공연|관광|상담|예약|발표|식사|약속"
HALF, HOUR = "(?:오전|오후|저녁|아침)", "(?:한|두|세|네|다섯|여섯|일곱|여덟|아홉|열|열한|열두)"
BEFORE = "(?:카페|공원|학교|버스|안내|지하|본관|서울|제?[0-9]층|[0-9]번) "
KOREAN = {
    "event": [
        rf"((?:[가-힣]+ )?[가-힣]*(?:{KIND}))",
        r"님?[과랑] ([가-힣]+)(?: |,|은|는|을|를)",
        r"(?:^|[.,:!?/] )([가-힣]+)(?:이|가|은|는|을|를| 있|[.,?!])",
    ],
    "day": [r"((?:다음 주 |이번 주 )?[월화수목금토일]요일|\d+월 \d+일|내일|모레)"],
    "time": [
        rf"(?:아니|변경|취소).*?((?:{HALF} )?(?:\d+시|{HOUR} 시)(?: \d+분| 반)?)",
        rf"((?:{HALF} )?(?:\d+시|{HOUR} 시)(?: \d+분| 반)?)",
    ],
    "place": [
        rf"((?:{BEFORE})?[가-힣\d]+)에서",
        r"(?:장소는?|어디:?|방:?) ([가-힣\d ]+?)(?:[.,]|입니다)",
        rf"((?:{BEFORE})?[가-힣\d]+?)(?:이야|야|으로 와|로 와|으로 오|로 오|입니다)[ .!]",
        r"(?:시|분|반)[,.]? ([가-힣\d ]+?)[.,\")]",
    ],
    "with": [
        r"([가-힣] [가-힣]+님)(?:과|께서)",
        r"(?<![가-힣])([가-힣]{2})이?랑",
        r"(?:담당은|진행|주최|누구와:|인솔|손님|안내:) ([가-힣]+(?: [가-힣]+님)?)",
        r"(?<![가-힣])([가-힣]{2})(?:이가|가|이도|도)(?![가-힣])",
    ],
}


def _first(rules: list[str], text: str) -> str | None:
    return next((match[1] for rule in rules if (match := re.search(rule, text))), None)


def _entry(text: str) -> dict | None:
    """The entry in `text`; None where it is no JSON object of the five fields, each a text or null."""
    try:
        entry = json.loads(text, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError):
        return None
    good = isinstance(entry, dict) and sorted(entry) == sorted(FIELDS)
    return entry if good and all(value is None or isinstance(value, str) for value in entry.values()) else None


def _each_key_once(pairs: list[tuple]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a field stands twice")
    return dict(pairs)


def _same(field: str, reply: str, reference: str) -> bool:
    entry, right = _entry(reply), _entry(reference)
    if entry is None or right is None or entry[field] is None or right[field] is None:
        return entry is not None and right is not None and entry[field] is right[field]
    return entry[field].strip().casefold() == right[field].strip().casefold()
