"""Every check by its name: its limit, and what to do when it fails."""

from enum import StrEnum

from helpers.show.verdict import Verdict
from helpers.show.words import N_, _


class Check(StrEnum):
    """The name of a verdict: in data_report.json in English, on a page in the reader's language."""

    # of the rows as they were read
    ROWS_LOST = N_("rows lost")
    MARKS = N_("answers taken away by a mark")
    LEFTOVERS = N_("leftovers of an export")
    # of the labels, row by row
    TEMPLATE = N_("template changes the text")
    NOTHING = N_("nothing to learn")
    CUT_OFF = N_("answer cut off by max_length")
    LONGER = N_("longer than max_length")
    PLACE = N_("label of another place")
    NOT_LEARNED = N_("answer not learned")
    NO_END = N_("end of turn not learned")
    USER_LEARNED = N_("user text learned")
    BOS = N_("BOS missing or twice")
    ASKED = N_("asked otherwise than trained")
    CONTROL = N_("control token inside the text")
    UNKNOWN = N_("unknown characters")
    # of the whole
    SHARE = N_("share of tokens learned")
    POSITIONS = N_("longer than the model reads")
    COPIED = N_("held out and trained on")
    FEW_HELD_OUT = N_("held-out conversations")
    FEW_STEPS = N_("training steps")


AGAIN = N_("make the labels with labels.encode_rows")
SHORTER = N_("raise max_length, or leave out the longest rows")
# the largest share of rows that may fail, and what to do when more do
LIMITS: dict[Check, tuple[float, str]] = {
    Check.ROWS_LOST: (0.2, N_("look at the reasons for which rows were dropped, and mend the data or its format")),
    Check.TEMPLATE: (0.01, N_("write the two parts again with data.prepare, which says why for every such row")),
    Check.NOTHING: (0.01, N_("raise max_length, or shorten the prompts")),
    Check.CUT_OFF: (0.05, SHORTER),
    Check.LONGER: (0.10, SHORTER),
    Check.POSITIONS: (0.0, N_("lower max_length: the model was not made for texts as long")),
    Check.PLACE: (0.0, N_("each label must be -100 or the token of its own place: the model itself shifts them")),
    Check.NOT_LEARNED: (0.0, AGAIN),
    Check.NO_END: (0.0, N_("replies would never stop: use a chat template that writes EOS after an answer")),
    Check.USER_LEARNED: (0.0, AGAIN),
    Check.BOS: (0.0, N_("tokenise the rendered text with add_special_tokens=False")),
    Check.ASKED: (0.0, N_("let the template's generation prompt end exactly where an answer begins")),
    Check.CONTROL: (0.001, N_("remove texts such as </s> or <bot> from the data")),
    Check.UNKNOWN: (0.01, N_("the tokenizer cannot write some characters: choose another model")),
    Check.COPIED: (0.0, N_("write the two parts again with data.prepare")),
}


def verdict(check: Check, state: Verdict, measured: str, limit: str, fix: str) -> dict:
    """One verdict for data_report.json; `ok` is False for red alone."""
    found = {"check": str(check), "ok": state is not Verdict.RED, "verdict": str(state)}
    return {**found, "measured": measured, "limit": limit, "fix": fix}


def rows_verdict(check: Check, failed: int, of: int, fix: str = "") -> dict:
    """Red when more than the share of LIMITS has failed."""
    limit, advice = LIMITS[check]
    measured = _("{failed:,} of {of:,} rows").format(failed=failed, of=of)
    shown = f"{limit:.1%}".replace(".0%", "%") if limit else _("no row")
    state = Verdict.RED if failed > limit * of else Verdict.GREEN
    return verdict(check, state, measured, shown, fix or _(advice))
