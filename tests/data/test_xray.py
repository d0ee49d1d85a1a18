"""The X-ray shows each token of the collator's batch once, in its colour, and never as live HTML."""

import re

import pytest

from helpers.data.labels import CONTEXT, collator, encode
from helpers.data.xray import look_at, xray
from helpers.settings import RunConfig
from tests.template.test_chat import TALK
from tests.template.tokenizer_kinds import KINDS, kind

CONFIG = RunConfig.load("tiny", max_length=600)
SHORT = {"messages": [{"role": "user", "content": "<b>뷁</b>"}, {"role": "assistant", "content": '뙇🎉 & "끝"'}]}


@pytest.mark.parametrize("name", KINDS)
def test_it_shows_the_collator_s_batch_token_for_token(name):
    tokenizer = kind(name)
    encoded = [encode(tokenizer, row, CONFIG.max_length) for row in (TALK, SHORT["messages"])]
    batch, rows = collator(tokenizer)(encoded), look_at(encoded, tokenizer).rows
    for number, pieces in enumerate(rows):
        assert [i for piece in pieces for i in piece.ids] == batch["input_ids"][number].tolist()
        assert [i for piece in pieces for i in piece.labels] == batch["labels"][number].tolist()
        assert sum(len(p.ids) for p in pieces if p.kind == "padding") == (batch["attention_mask"][number] == 0).sum()
    for piece in rows[1]:
        assert (piece.kind == "learned") == any(label != CONTEXT for label in piece.labels)


@pytest.mark.parametrize("name", KINDS)
def test_parts_of_a_character_are_shown_as_the_character(name):
    shown = xray([SHORT], kind(name), CONFIG).rows[0]
    assert [piece.text for piece in shown if "🎉" in piece.text] and not any("�" in piece.text for piece in shown)
    assert any(len(piece.ids) > 1 for piece in shown if piece.text.strip() in ("뷁", "뙇", "🎉"))


def test_html_is_escaped_and_says_id_and_label():
    tokenizer = kind("chatml")
    page = xray([SHORT, {"messages": TALK}], tokenizer, CONFIG)._repr_html_()
    inside = re.sub(r"</?(?:span|div)\b[^>]*>", "", page)
    assert not re.search(r"<[a-z/|]", inside), "a tag from the data is live"
    assert (
        "&lt;|im_end|&gt; × " in page
        and f"id {tokenizer.eos_token_id} · label {tokenizer.eos_token_id} · learned" in page
    )


def test_text_form_puts_what_is_learned_in_brackets():
    shown = repr(xray([{"messages": TALK[1:3]}], kind("no template"), CONFIG))
    assert shown.startswith("<s><usr> ") and "[ 네]" in shown
    assert re.search(r"\[</s>\]\s*</s> × \d$", shown), "the end is learned, the padding behind it is not"
