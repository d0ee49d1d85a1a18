"""What exports leave in texts: counted with one example each, and amber above one row in a hundred. Nothing is
changed."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum

from helpers.data.limits import Check, verdict
from helpers.data.tally import as_example
from helpers.show.verdict import Verdict
from helpers.show.words import N_, _

AMBER_ABOVE = 0.01  # share of the rows


class Leftover(StrEnum):
    ESCAPES = N_("a line break or tab as two characters (\\n, \\t)")
    ENTITIES = N_("HTML entities or tags (&lt;, <br>)")
    INVISIBLE = N_("letters that nobody sees (U+200B, U+FEFF, fillers)")
    CONTROL = N_("control characters (colours of a terminal, backspace)")
    LOST = N_("characters that were lost before (U+FFFD)")
    TEMPLATE = N_("tokens of a chat template (<|im_start|>, [INST])")
    SPEAKER = N_('a speaker\'s name at the start ("Human:", "Assistant:")')
    NO_INPUT = N_('a word that means "no input" at the end of a question')


TAGS = "p|br|hr|div|span|b|i|u|a|li|ul|ol|em|strong|h[1-6]|img|table|tr|td|th|font|sup|sub|blockquote|pre|code"
FAMILIES = "im_start|im_end|im_sep|endoftext|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|end_of_text|end|"
FAMILIES += (
    "user|assistant|system|human|bot|prompter|endofprompt|startoftext|start_of_role|end_of_role|END_OF_TURN_TOKEN"
)
PATTERNS = {
    Leftover.ENTITIES: re.compile(
        rf"&(?:[a-zA-Z]{{2,8}}|#\d{{1,6}}|#[xX][0-9a-fA-F]{{1,5}});|</?(?:{TAGS})(?:\s[^<>]*)?/?>", re.I
    ),
    # joiners belong into emoji and Indian scripts; between Latin letters or Hangul they are left over
    Leftover.INVISIBLE: re.compile(
        "[\u200b\u2060-\u2064\ufeff\u00ad\u180e\u115f\u1160\u3164\uffa0\u200e\u200f\u202a-\u202e\u2066-\u2069]"
        "|(?<=[A-Za-z가-힣])[\u200c\u200d]|[\u200c\u200d](?=[A-Za-z가-힣])"
    ),
    Leftover.CONTROL: re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
    Leftover.LOST: re.compile("\ufffd"),
    Leftover.TEMPLATE: re.compile(
        rf"<\|(?:{FAMILIES})\|>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|<[｜|][A-Za-z▁_]+[｜|]>"
        r"|\[gMASK\]|^### ?(?:Instruction|Response|Input)\b",
        re.M,
    ),
}
SPEAKER = re.compile(r"\s*(?:Human|Assistant|User|Bot|질문자|사용자|챗봇|상담사|어시스턴트) ?[:\uff1a]")
NO_INPUT = ("<noinput>", "<no input>", "\nn/a", "\nno input", "\nnone", "\n없음")
ESCAPED = re.compile(r"\\[nrt](?![a-z])")  # \nabla and \text are LaTeX
# one look for all: most texts have none of these
RARE = "\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\u3164\ufeff\uffa0\ufffd"
ANY = re.compile(rf"[\\&<\[{RARE}]|###")


class Leftovers:
    """Rows that hold each kind, with the first example."""

    def __init__(self):
        self.counts: Counter[Leftover] = Counter()
        self.examples: dict[Leftover, str] = {}

    def look(self, messages: list[dict]) -> None:
        found = set()
        for message in messages:
            found.update(kinds(message["content"], message["role"]))
        for kind in found:
            self.counts[kind] += 1
            if kind not in self.examples:
                self.examples[kind] = as_example(messages)

    def rows(self, read: int) -> list[dict]:
        """One row per kind that was seen: reason, rows, verdict, example."""
        return [
            {
                "reason": str(kind),
                "rows": count,
                "verdict": str(Verdict.AMBER if count > AMBER_ABOVE * read else Verdict.GREEN),
                "example": self.examples[kind],
            }
            for kind, count in self.counts.most_common()
        ]


def leftovers_verdict(rows: list[dict], read: int) -> dict:
    """Amber when one kind is in more than one row of a hundred."""
    amber = [row for row in rows if row["verdict"] == Verdict.AMBER]
    measured = "; ".join(f"{_(row['reason'])}: {row['rows']:,}" for row in amber) or _("no kind above the limit")
    fix = _("look at the examples, and clean the texts before training: what is there is learned")
    state = Verdict.AMBER if amber else Verdict.GREEN
    return verdict(Check.LEFTOVERS, state, measured, _("1% of the rows, of each kind"), fix)


def kinds(text: str, role: str) -> list[Leftover]:
    """What exports left in one text of `role`."""
    found = []
    if ANY.search(text):
        found = [kind for kind, pattern in PATTERNS.items() if pattern.search(text)]
        if "\n" not in text and ESCAPED.search(text):  # code writes "\n", in a text of several lines
            found.append(Leftover.ESCAPES)
    if SPEAKER.match(text):
        found.append(Leftover.SPEAKER)
    if role == "user" and text.lower().endswith(NO_INPUT):
        found.append(Leftover.NO_INPUT)
    return found
