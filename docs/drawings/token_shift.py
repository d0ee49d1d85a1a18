"""Token shift and -100: which guess is compared with which label."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.settings import RunConfig
from helpers.show.words import _

QUESTION, ANSWER = "At how many degrees does water boil?", "100"
SHOWN = 12  # tokens at the end of the row
TOP, LABELS = 150, 318  # y of the two rows of tiles


def end_of_row() -> list[tuple[str, int, int]]:
    """The last tokens of one conversation as the demo's tokenizer and our labels make them: text, id, label."""
    from helpers.data.labels import encode
    from helpers.model.tokenizer import load_tokenizer

    config = RunConfig.load("demo")
    tokenizer = load_tokenizer(config)
    talk = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    row = encode(tokenizer, talk, config.max_length)
    tokens = [tokenizer.decode([i]).replace("\n", "↵") for i in row["input_ids"]]
    return list(zip(tokens, row["input_ids"], row["labels"], strict=True))[-SHOWN:]


def draw() -> Drawing:
    row = end_of_row()
    learned = [text for text, _id, label in row if label != -100]
    alt = _(
        "The end of one row, {row}. Each token has an arrow to the label of the next one, which it has to guess. "
        "The labels of the question and of the template are -100, so these guesses do not count. The {count} labels of "
        "the answer ({answer}) are token ids: they are learned, the end of the turn among them."
    ).format(row=f"{QUESTION} {ANSWER}", count=len(learned), answer=" ".join(learned))
    sheet = Drawing("token_shift", alt, 530)
    under = _("The end of one row:  … {question}  →  {answer}").format(question=QUESTION, answer=ANSWER)
    sheet.head(_("Each token guesses the next one"), under)

    # tiles as wide as their text, the rest shared out
    needed = [max(9.8 * len(text) + 12, 50) for text, _id, _label in row]
    gap = (WIDTH - 2 * SIDE - 30 - sum(needed)) / len(row)
    lefts = [SIDE + 30 + sum(needed[:i]) + gap * (i + 0.5) for i in range(len(row))]
    middles = [left + width / 2 for left, width in zip(lefts, needed, strict=True)]

    sheet.text(SIDE, TOP - 18, _("input_ids: what the model reads"), 17, "soft", bold=True)
    sheet.text(SIDE, LABELS + 90, _("labels: what the loss compares with"), 17, "soft", bold=True)
    for here, there, (_text, _id, label) in zip(middles, middles[1:], row[1:], strict=False):
        counts = label != -100
        start, end = (here, TOP + 72), (there, LABELS - 4)
        sheet.path([start, end], "green" if counts else "soft", 3 if counts else 1.5, not counts, arrow=True)
    sheet.text(SIDE + 8, TOP + 40, "…", 24, "soft", "middle")
    sheet.text(SIDE + 8, LABELS + 38, "…", 24, "soft", "middle")
    for left, width, middle, (text, token, label) in zip(lefts, needed, middles, row, strict=True):
        counts = label != -100
        sheet.box(left, TOP, width, 66, "blue-wash", "blue", thick=1.5)
        sheet.text(middle, TOP + 29, text, 16, anchor="middle", mono=True)
        sheet.text(middle, TOP + 54, token, 15, "soft", "middle")
        sheet.box(
            left, LABELS, width, 60, *(("green-wash", "green") if counts else ("paper", "soft")), dashed=not counts
        )
        sheet.text(middle, LABELS + 37, label, 18 if counts else 15, "ink" if counts else "soft", "middle", bold=counts)
        if counts:
            sheet.box(left + 8, LABELS + 46, width - 16, 4, "green", radius=2)

    sheet.path([(SIDE, LABELS + 112), (WIDTH - SIDE, LABELS + 112)], "rule", 1.5)
    y = LABELS + 150
    sheet.path([(SIDE + 4, y - 6), (SIDE + 56, y - 6)], "green", 3, arrow=True)
    counted = _("**this guess counts:** the loss is the mean of −ln p over the underlined labels")
    sheet.text(SIDE + 70, y, counted, 18)
    sheet.path([(SIDE + 4, y + 26), (SIDE + 56, y + 26)], "soft", 1.5, True, arrow=True)
    sheet.text(SIDE + 70, y + 32, _("**−100:** the token is read as context; guessing it is not learned"), 18)
    sheet.text(WIDTH - SIDE, LABELS + 90, _("the end of the turn is learned too"), 17, "green", "end", bold=True)
    return sheet
