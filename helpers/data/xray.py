"""The X-ray: every token of a batch as the loss sees it. Green is learned, plain is context, grey is padding."""

import html
from dataclasses import dataclass
from typing import NamedTuple

from helpers.data.labels import CONTEXT, collator, encode, thought_tokens
from helpers.settings import RunConfig
from helpers.show.tables import as_written
from helpers.show.words import N_, _

# Transparent colours over the page's own background: readable on white and on black. Learned text is underlined too.
STYLES = {
    N_("learned"): "background:rgba(46,160,67,.28);border-bottom:2px solid rgb(46,160,67)",
    N_("thought, learned"): "background:rgba(130,80,223,.25);border-bottom:2px solid rgb(130,80,223)",
    N_("thought, only read"): "background:rgba(130,80,223,.12)",
    N_("context"): "background:rgba(128,128,128,.10)",
    N_("padding"): "border:1px dashed rgba(128,128,128,.6)",
}
CHIP = "font-size:85%;font-weight:600;border-radius:3px;padding:0 3px"
ROW = (
    "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.9;padding:8px 12px;margin:6px 0;"
    "border:1px solid rgba(128,128,128,.4);border-radius:6px;text-align:left"
)


class Piece(NamedTuple):
    """Neighbouring tokens that are shown as one: one character or more, or a run of padding."""

    text: str
    kind: str  # a key of STYLES
    special: bool  # a control token such as </s>
    ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class XRay:
    """Rows of a batch, token by token: coloured in a notebook, in [brackets] where learned elsewhere."""

    rows: list[list[Piece]]

    def _repr_html_(self) -> str:
        there = {piece.kind for row in self.rows for piece in row} | {"learned", "context", "padding"}
        known = ((style, html.escape(_(kind))) for kind, style in STYLES.items() if kind in there)
        legend = " ".join(f'<span style="{style};padding:1px 6px">{name}</span>' for style, name in known)
        rows = "".join(f"<div style='{ROW}'>{''.join(map(_html, row))}</div>" for row in self.rows)
        hint = html.escape(_("hover a token for its id and label"))
        return as_written(f'<div style="margin:4px 0">{legend} &nbsp; {hint}</div>{rows}')

    __html__ = _repr_html_  # for templates

    def __repr__(self) -> str:
        return "\n\n".join("".join(_plain(piece) for piece in row) for row in self.rows)


def xray(rows: list[dict], tokenizer, config: RunConfig) -> XRay:
    """The conversations `rows` as one batch, made by the collator that SFTTrainer uses."""
    encoded, thoughts = [], []
    for row in rows:
        tools = row.get("tools") or ()
        asked = (tokenizer, row["messages"], config.max_length, config.answer_only_loss, tools, config.learn_thinking)
        encoded.append(encode(*asked))
        thoughts.append(thought_tokens(tokenizer, row["messages"], tools, config.learn_thinking))
    return look_at(encoded, tokenizer, thoughts)


def look_at(encoded: list[dict], tokenizer, thoughts: list[set[int]] | None = None) -> XRay:
    """Rows {"input_ids", "labels"} from anywhere, after the collator; `thoughts`: places of each row's thoughts."""
    batch = collator(tokenizer)(encoded)
    tensors = (batch["input_ids"], batch["labels"], batch["attention_mask"])
    rows = zip(*tensors, thoughts or [set()] * len(encoded), strict=True)
    return XRay([_pieces(i.tolist(), labels.tolist(), m.tolist(), tokenizer, thinks) for i, labels, m, thinks in rows])


def cut_into(text: str, tokenizer) -> list[str]:
    """The tokens of a plain text; a character that takes several stands there once, with their number: 뷁·3."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = _pieces(ids, ids, [1] * len(ids), tokenizer, set())
    return [f"{piece.text}·{len(piece.ids)}" if len(piece.ids) > 1 else piece.text for piece in pieces]


def _pieces(ids: list[int], labels: list[int], mask: list[int], tokenizer, thoughts: set[int]) -> list[Piece]:
    """One row's tokens; those that are parts of one character are put together, and so is padding."""
    from tokenizers.decoders import DecodeStream

    controls = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
    stream, found, open_ids, open_labels = DecodeStream(skip_special_tokens=False), [], [], []
    for position, (token, label, real) in enumerate(zip(ids, labels, mask, strict=True)):
        if not real:
            rest = len(ids) - position
            name = f"{tokenizer.convert_ids_to_tokens(token)} × {rest}"
            return [*found, Piece(name, "padding", True, ids[position:], labels[position:])]
        text = stream.step(tokenizer.backend_tokenizer, token)
        open_ids.append(token)
        open_labels.append(label)
        if text is None and position + 1 < len(ids) and mask[position + 1]:
            continue  # the character goes on in the next token
        kind = "context" if all(label == CONTEXT for label in open_labels) else "learned"
        if position in thoughts:
            kind = "thought, only read" if kind == "context" else "thought, learned"
        found.append(Piece(controls.get(token, text or "�"), kind, token in controls, open_ids, open_labels))
        open_ids, open_labels = [], []
    return found


def _html(piece: Piece) -> str:
    numbers = ", ".join(map(str, piece.ids[:8])) + (" ..." if len(piece.ids) > 8 else "")
    labels = ", ".join(dict.fromkeys(map(str, piece.labels[:8])))
    hover = _("id {ids} · label {labels} · {kind}").format(ids=numbers, labels=labels, kind=_(piece.kind))
    hover = html.escape(hover, quote=True)
    text = html.escape(piece.text).replace("\n", '<span style="opacity:.7">↵</span>\n')
    style = f"{STYLES[piece.kind]};margin-right:1px" + (f";{CHIP}" if piece.special else "")
    return f'<span title="{hover}" style="{style}">{text}</span>'


def _plain(piece: Piece) -> str:
    return f"[{piece.text}]" if piece.kind.endswith("learned") else piece.text
