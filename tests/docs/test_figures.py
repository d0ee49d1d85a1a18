"""What the pages quote of the demo is what the demo printed, in both languages, and every number is quoted."""

import json
import re

import pytest

from docs import figures
from docs.figures import FIGURES, QUOTED, figure, fill, quoting, with_figures
from helpers.translate import english, pairs, translated
from tests.conftest import ROOT


@pytest.mark.parametrize("files", quoting(), ids=lambda files: files[0].stem)
def test_a_page_quotes_what_the_demo_printed(files):
    for file in files:
        text = file.read_text(encoding="utf-8")
        wrong = [found[0] for found in QUOTED.finditer(text) if figure(found[2]) != found[1]]
        assert not wrong, f"{file.name}: {wrong}: python -m docs.figures"
        assert len(re.findall(r"<!--[a-z]", text)) == len(QUOTED.findall(text)), "a name stands behind no number"


def test_both_languages_quote_the_same_numbers():
    for source, target in pairs("ko", ROOT):
        ours = translated(target)
        for name, text in english(source, source.read_text(encoding="utf-8")).items():
            names = [sorted(found[2] for found in QUOTED.finditer(block)) for block in (text, ours[name].text)]
            assert names[0] == names[1], f"{target.name} {name}"


def test_another_demo_changes_the_pages_and_keeps_the_translation_up_to_date(tmp_path, monkeypatch):
    (tmp_path / "ko").mkdir()
    monkeypatch.setattr(figures, "quoting", lambda: [(source, target)])
    cell = {"id": "a", "cell_type": "markdown", "source": ["It is 7<!--first.right--> of 20."]}
    source, target = tmp_path / "p.ipynb", tmp_path / "ko/p.md"
    source.write_text(json.dumps({"cells": [cell]}))
    old = english(source, source.read_text())["a"]
    words, was = "20개 중 7<!--first.right-->개.", figures.fingerprint(old)
    target.write_text(f"<!-- a en:{was} ko:{figures.fingerprint(was + words)} -->\n{words}\n")
    assert fill() == [source, target]
    new, told = english(source, source.read_text())["a"], translated(target)["a"]
    assert new == with_figures(old) and figure("first.right") in new and f"{figure('first.right')}<" in told.text
    now = figures.fingerprint(new)
    assert (told.english, told.both) == (now, figures.fingerprint(now + told.text)) and fill() == []


def test_another_demo_signs_nothing_that_was_not_read(tmp_path, monkeypatch):
    (tmp_path / "ko").mkdir()
    monkeypatch.setattr(figures, "quoting", lambda: [(tmp_path / "p.ipynb", tmp_path / "ko/p.md")])
    text, words = "It is 7<!--first.right--> of 20.", "20개 중 7<!--first.right-->개."
    cells = [{"id": name, "cell_type": "markdown", "source": [f"{name}: {text}"]} for name in "abc"]
    (tmp_path / "p.ipynb").write_text(json.dumps({"cells": cells}))
    old = english(tmp_path / "p.ipynb", json.dumps({"cells": cells}))
    heads = [
        f"a en:{figures.fingerprint(old['a'])}",
        f"b en:{figures.fingerprint(old['b'])} ko:0000",
        "c en:0000 ko:0000",
    ]
    (tmp_path / "ko/p.md").write_text("\n".join(f"<!-- {head} -->\n{words}\n" for head in heads))
    assert fill() and fill() == []
    now = english(tmp_path / "p.ipynb", (tmp_path / "p.ipynb").read_text())
    unsigned, unread, stale = (translated(tmp_path / "ko/p.md")[name] for name in "abc")
    assert (unsigned.english, unsigned.both) == (figures.fingerprint(now["a"]), "")
    assert (unread.english, unread.both) == (figures.fingerprint(now["b"]), "0000") and not unread.signed
    assert (stale.english, stale.both) == ("0000", "0000")


def test_a_number_that_the_gallery_lost_is_named(monkeypatch):
    monkeypatch.setitem(FIGURES, "first.right", ("00_first_look", "no such (line)"))
    with pytest.raises(ValueError, match=r"00_first_look.html has no first.right"):
        figure("first.right")


@pytest.mark.parametrize("more", ["-0.001", "+0.001"])
def test_a_difference_keeps_its_sign(monkeypatch, more):
    monkeypatch.setattr(figures, "printed", lambda page: f"model-q4_k_m.gguf | 1 MB | 0.02 | {more} | 8 of 9 |")
    assert with_figures("It is +0.5<!--serve.q4_more-->.") == f"It is {more}<!--serve.q4_more-->."
    dropped = [name for name, (_page, pattern) in FIGURES.items() if "[+-](" in pattern]
    assert not dropped, "a number whose sign may be either is SIGNED"
