import re

import pytest

from helpers.show.tables import Table
from helpers.show.units import human_bytes, human_time


def test_table_escapes_strangers_text():
    page = Table([{"<b>": "<script>alert(1)</script>"}], caption="<i>")._repr_html_()
    assert "<script>" not in page and "<i>" not in page and "<b></th>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_long_run_may_be_broken_and_a_short_one_may_not():
    page = Table([{"reply": "<" * 70 + " 짧은 답"}])._repr_html_()
    assert "&lt;" * 30 + "<wbr>" + "&lt;" * 30 + "<wbr>" + "&lt;" * 10 + " 짧은 답" in page
    assert "<wbr>" not in Table([{"model": "dequantised-base"}])._repr_html_()


def test_columns_of_texts_are_equally_wide_whatever_is_in_them():
    rows = [{"no": 1, "base": "가 " * 200, "adapter": "짧은 답이지만 글이에요. " * 2 + "네네네", "reference": "x" * 30}]
    heads = re.findall(r"<th style=\"(.+?)\">", Table(rows)._repr_html_())
    assert [re.findall(r"(?<!-)width:(\d+)%", head) for head in heads] == [[], ["38"], ["38"], ["23"]]
    korean = {"what": "x" * 45, "before": "x" * 40, "after": "user: 물은 몇 도에서 끓어?"}  # 17 signs, the room of 26
    assert re.findall(r"(?<!-)width:(\d+)%", Table([korean])._repr_html_()) == ["41", "36", "23"]
    for interval in ("(89% to 100%)", "(-0.06에서 +0.14)"):
        whole = f'<span style="white-space:nowrap">{interval}</span>'
        assert whole in Table([{"adapter": f"98% of 48 {interval}"}])._repr_html_()
    assert "(a b) and (1 or 2)" in Table([{"reply": "(a b) and (1 or 2)"}])._repr_html_()
    one = Table([{"check": "a", "fix": "x" * 31}])._repr_html_()
    assert "%" not in one, "a single column of text takes what is left"
    assert 'class="texts"' in one and 'data-of="fix"' in one, "and is cards on a phone, where nothing is left"
    assert "texts" not in Table([{"check": "a", "loss": 1.5}])._repr_html_()


def test_table_as_text_is_aligned():
    text = repr(Table([{"name": "disk", "ok": True}, {"name": "RAM", "ok": False}]))
    assert text.splitlines() == ["name  ok", "disk  ok", "RAM   no"]


def test_empty_table_is_no_error():
    assert "<table>" in Table([])._repr_html_() and repr(Table([])) == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (269_060_552, "269 MB"),
        (13.5e9, "13.5 GB"),
        (2.5e15, "2500 TB"),
    ],
)
def test_human_bytes(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "3 s"), (90, "2 min"), (720, "12 min"), (11_100, "3 h 05 min"), (72_000, "20 h 00 min")]
)
def test_human_time(seconds, text):
    assert human_time(seconds) == text
