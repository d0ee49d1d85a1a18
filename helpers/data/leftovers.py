"""What exports leave in texts: counted with an example, amber above one row in a hundred, and never changed."""

import re
from collections import Counter
from enum import StrEnum

from helpers.data.columns import is_no_input
from helpers.data.limits import Check, verdict
from helpers.data.normalise import texts_of
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
    ALPHABET = N_("UTF-8 that was read as another alphabet (Ã©, ì•ˆ)")
    PROGRAM = N_("a program's word in place of a text (#N/A, undefined, [object Object])")
    PRINTED = N_("lists as Python prints them (array([…]), [{'role': …}])")
    TEMPLATE = N_("tokens of a chat template (<|im_start|>, [INST])")
    SPEAKER = N_('a speaker\'s name at the start ("Human:", "Assistant:")')
    NO_INPUT = N_('a word that means "no input" at the end of a question')


TAGS = (
    "p|br|hr|div|span|b|i|u|a|li|ul|ol|em|strong|h[1-6]|img|table|tbody|thead|tr|td|th|font|sup|sub|blockquote|pre|code|"
    "html|head|body|script|style|center|button|iframe|label|form|section|article|figure|small|strike|del|mark|o:p"
)
WORDS = "Instruction|Response|Input|Human|Assistant|User|System|Question|Answer|질문|답변|응답|명령어|명령|지시|입력"
# at the start of a text
NAMES = "human|assistant|user|bot|system|gpt|chatgpt|AI|질문자|사용자|챗봇|상담사|어시스턴트|질문|답변"
SMALL = "\x80-\xbf€‚ƒ„†‡ˆ‰Š‹ŒŽ•˜™š›œžŸ"  # what CP1252 makes of the second byte of a character
PATTERNS = {
    Leftover.ENTITIES: re.compile(
        r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#[xX][0-9a-fA-F]{1,5});|&(?:nbsp|quot|amp|lt|gt)\b|<!--"
        rf"|</?(?:{TAGS})(?:\s+[\w:-]+\s*=[^<>]*)?\s*/?>",
        re.I,
    ),
    # joiners belong into emoji and Indian scripts; between Latin letters or Hangul they are left over. The French write
    # a blank that does not break before some signs
    Leftover.INVISIBLE: re.compile(
        "[\u200b\u2060-\u2064\ufeff\u00ad\u180e\u115f\u1160\u3164\uffa0\u2800\u200e\u200f\u202a-\u202e\u2066-\u2069]"
        "|(?<=[A-Za-z가-힣])[\u200c\u200d]|[\u200c\u200d](?=[A-Za-z가-힣])|(?<!«)\xa0(?![:;!?»%€])"
    ),
    Leftover.CONTROL: re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]|_x000[dD]_"),
    Leftover.LOST: re.compile("[\ufffc\ufffd\ue000-\uf8ff]"),
    Leftover.ALPHABET: re.compile(f"[ÂÃ][{SMALL}]|â[€„‚†‰]|[êëìíãäåæçè][{SMALL}–—‘’“”…]{{2}}"),
    Leftover.PRINTED: re.compile(r"\A\s*(?:\[\{'(?:role|from)':|[\[{].*?\barray\(\[|array\(\[.*dtype=object\))", re.S),
    Leftover.TEMPLATE: re.compile(
        r"[<\[][｜|][\w▁ ]{1,40}[｜|][>\]]|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|\[gMASK\]"
        r"|\[(?:PAD|SEP|CLS|UNK|MASK|BOS|EOS|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
        r"|</?s>|<(?:bos|eos|pad|unk|mask|eot|eod|extra_id_\d+|0x[0-9A-F]{2})>|<(?:human|bot|user|assistant)>:|Ċ|[▁Ġ](?=\w)"
        rf"|^### ?(?:{WORDS}) ?(?:[:：]|$)",
        re.M,
    ),
}
SPEAKER = re.compile(rf"\s*(?:{NAMES}) ?[:：]", re.I)
LETTER = {"user": re.compile(r"\s*Q ?[:：]"), "assistant": re.compile(r"\s*A ?[:：]")}
PROGRAM = re.compile(
    r"\s*(?:\[object Object\]|#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!)|undefined|nan|null|<NA>|(?-i:None|\\N))\s*", re.I
)
# \nabla and \text are LaTeX, and C:\new is a path
ESCAPED = re.compile(r"(?:\\[nrt]){2}|\\[nrt](?![a-z])|(?<=[.!?,;)])\\[nrt]|\\u[0-9a-fA-F]{4}|\\[\"/]")
# one look for all: most texts have none of these
RARE = "\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069"
RARE += "\u2800\u3164\ue000-\uf8ff\ufeff\uffa0\ufffc\ufffdÂÃâêëìíãäåæçèĊĠ▁"
ANY = re.compile(rf"[\\&<\[{RARE}]|###|_x0")


class Leftovers:
    """Rows that hold each kind, with the first example."""

    def __init__(self):
        self.counts: Counter[Leftover] = Counter()
        self.examples: dict[Leftover, str] = {}

    def look(self, messages: list[dict]) -> None:
        found = set()
        for message in messages:
            found.update(kind for text in texts_of(message) for kind in kinds(text, message["role"]))
        for kind in found:
            self.counts[kind] += 1
            if kind not in self.examples:
                self.examples[kind] = as_example(messages)

    def rows(self, read: int) -> list[dict]:
        """One row per kind that was seen: reason, rows, verdict, example."""
        found = []
        for kind, count in self.counts.most_common():
            state = Verdict.AMBER if count > AMBER_ABOVE * read else Verdict.GREEN
            found.append({"reason": str(kind), "rows": count, "verdict": str(state), "example": self.examples[kind]})
        return found


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
        # code writes "\n", in a text of several lines; and so does JSON
        if "\n" not in text and not text.lstrip().startswith(("{", "[")) and ESCAPED.search(text):
            found.append(Leftover.ESCAPES)
    if PROGRAM.fullmatch(text):
        found.append(Leftover.PROGRAM)
    if SPEAKER.match(text) or (role in LETTER and LETTER[role].match(text)):
        found.append(Leftover.SPEAKER)
    if role == "user":
        before, _line, last = text.rpartition("\n")
        alone = before and len(last) < 40 and any(map(str.isalpha, last)) and is_no_input(last)
        if alone or text.lower().endswith(("<noinput>", "<no input>", "<nooutput>")):
            found.append(Leftover.NO_INPUT)
    return found
