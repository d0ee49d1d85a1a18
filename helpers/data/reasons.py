"""Why a row cannot be used, and what was mended in one: each a member of an Enum, so that none is misspelt."""

from dataclasses import dataclass, field
from enum import StrEnum

from helpers.show.words import N_, _

LONGEST = 40  # characters of somebody's data inside a reason


class Reason(StrEnum):
    """Why a row is dropped. In data_report.json it is the English sentence; on a page the reader's."""

    # readers
    UNREADABLE = N_("not a JSON object, or not one value per column")
    FIELD_TWICE = N_("the field {value} stands twice in one object")
    SWALLOWED = N_("a quotation mark that swallowed rows ({value})")
    BROKEN_BYTES = N_("broken {value}")
    # columns
    NO_COLUMN = N_("without the column {value}")
    COLUMN_NOT_TEXT = N_("{value} is not text")
    CHOICES = N_("the choices {value} belong to the row and cannot be read")
    BELONGS = N_("{value} belongs to the row and cannot be read")
    BELONG = N_("{value} belong to the row and cannot be read")
    MARKED_BAD = N_("marked as bad ({value})")
    NOT_LEARNED = N_("not to be learned ({value})")
    WEIGHT = N_("a {value} other than 0 and 1, which the loss does not know")
    HISTORY_NO_LIST = N_("the history is not a list of turns")
    HISTORY_NO_PAIRS = N_("the history is not made of questions and answers")
    TOOLS = N_("the tools are not a list of JSON schemas")
    # adapters and turns
    TEXT_MISSING = N_("the text is missing")
    THIRD_SPEAKER = N_("a third speaker")
    NO_ROLE_TOKEN = N_("no role token at the start of a line")
    TEXT_BEFORE = N_("text before the first role token")
    NO_LIST = N_("the conversation is not a list of turns")
    COUNTS = N_("{questions} questions and {answers} answers in one row")
    CHOSEN = N_("the chosen answer has no question")
    ROLE = N_("a role that is not trained: {value}")
    TURN_FIELD = N_("{value} of a turn cannot be read")
    PART = N_("a part that is no text: {value}")
    CALL_NAME = N_("a tool call without a name")
    CALL_ARGUMENTS = N_("a tool call whose arguments are not JSON")
    # normalise
    NOT_TEXT = N_("a turn is not text")
    EMPTY = N_("an empty turn")
    OPEN_THOUGHT = N_("a thought that never ends (<think> without </think>)")
    TWO_THOUGHTS = N_("two different thoughts before one answer")
    ONE_NOT_LEARNED = N_("two turns of one speaker, of which one is not to be learned")
    BETWEEN = N_("two answers in a row, with a thought or a tool call between them")
    NO_ANSWER = N_("no question followed by an answer")
    SYSTEM_LOST = N_("a later system turn that no question follows")
    NO_CALL = N_("a tool's answer without a call")
    NO_RESULT = N_("a tool call or a tool's answer that nobody answers")
    NOTHING_LEARNED = N_("no answer in it is to be learned")
    ROLE_TOKEN = N_("a role token inside the text")
    UNICODE = N_("broken Unicode")
    TOOL_JSON = N_("a tool that is not JSON")
    # prepare
    TEMPLATE = "{value}"  # the chat template's own reason
    AGAIN = N_("the same conversation again")
    COPY = N_("held out, but nearly the same as a training conversation")
    HELD_BEFORE = N_("nearly the same as a conversation that was held out before")
    LEFT_OUT = N_("taken out by hand (data/left_out.json)")
    LIGHT = N_("left out by the weight of its data set")


class Repair(StrEnum):
    """What was mended because it has only one meaning."""

    PAIR = N_("a preference pair: the chosen answer is kept, the rejected one left out")
    NO_INPUT = N_('a word that means "no input" left out')
    WORD = N_("true or false as an answer written as a word")
    OBJECT = N_("a list or an object in place of a text written as JSON")
    NULLS = N_("empty fields of a tool call or an object left out: a table adds such")
    DNA = N_("'DN<usr> ' put back to 'DNA: '")
    LETTER_ROLES = N_("'A:' and 'B:' read as roles")
    N_BOT = N_("'n<bot>' read as a new line and <bot>")
    SYSTEM_LATER = N_("a later system turn put into the user's turn")
    JOINED = N_("two turns of one speaker joined")
    NFD = N_("taken-apart letters (NFD) put together")
    RETURN = N_("a carriage return without a line feed read as a new line")
    NUL = N_("NUL characters taken out")
    THOUGHT_TWICE = N_("a thought that stood in its field and in the answer: left in its field")
    HEAD_CUT = N_("answer before the first question cut off")
    TAIL_CUT = N_("question or system turn without an answer cut off")


class Unusable(ValueError):
    """A row that cannot be used: `reason`, and the offending `values` (mostly one, `value`)."""

    def __init__(self, reason: Reason, **values):
        self.reason, self.values = reason, {name: str(value)[:100] for name, value in values.items()}
        super().__init__(reason.format(**self.values))


@dataclass
class UnreadRow:
    """The text of a row that a reader cannot read, and why."""

    text: str
    reason: Reason = Reason.UNREADABLE
    values: dict = field(default_factory=dict)


def reason_in_words(row: dict) -> str:
    """The reason of a row of data_report.json in the reader's language."""
    known = {**Reason.__members__, **Repair.__members__}.get(row.get("code", ""))
    return _(known).format(**row.get("values", {})) if known else row["reason"]
