"""polite_ko.jsonl: pairs of 반말 and 해요체, all different, each with the skill that 06 checks."""

import re
from collections import Counter

import pytest

from helpers.data.copies import CopyIndex
from helpers.data.formats import convert, recognise
from helpers.evaluate.korean import haeyo
from helpers.files import read_jsonl
from tests.conftest import ROOT
from tests.data.check_files import all_of, module

polite_checks, POLITE = all_of("polite_checks"), module("polite_checks")
DATA = ROOT / "notebooks/data"


@pytest.fixture(scope="module")
def rows():
    return read_jsonl(DATA / "polite_ko.jsonl")


@pytest.fixture(scope="module")
def pairs(rows):
    """(messages up to the answer, answer)"""
    return [(m[:-1], m[-1]["content"]) for m in (convert(row, recognise(rows)).messages for row in rows)]


def test_counts_and_kinds(rows):
    assert len(rows) >= 300
    kinds = Counter(row["source"].removeprefix("polite-") for row in rows)
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"{len(rows)} pairs" in readme and f"{kinds.pop('trap')} traps" in readme
    assert f"short ({kinds.pop('short')}), long ({kinds.pop('long')})" in readme
    assert set(kinds.values()) <= {31, 32} and " ".join(kinds) in re.sub(r"[\s,]+", " ", readme)


def test_every_pair_shows_the_skill_and_no_source_does(pairs):
    assert not [said for asked, said in pairs if not all(polite_checks(asked, said, said).values())]
    assert not [asked for asked, _ in pairs if haeyo(asked, asked[-1]["content"], "")]
    copied = [polite_checks(asked, asked[-1]["content"], said) for asked, said in pairs]
    assert not any(row["polite_form"] or row["as_reference"] for row in copied)  # copying is no solution


def test_a_bare_yo_passes_where_it_is_right_only(pairs):
    replies = [(asked, POLITE.baseline(asked), said) for asked, said in pairs]
    polite = sum(POLITE.polite_form(*row) for row in replies)
    right = sum(POLITE.as_reference(*row) for row in replies)
    sentence = f"{polite} of {len(pairs)} are 해요체 so, and {right} are the reference"
    assert sentence in (DATA / "README.md").read_text(encoding="utf-8")
    assert right <= polite < 0.8 * len(pairs)


def test_all_different_and_asked_alike(pairs):
    asked = [messages[-1]["content"] for messages, _ in pairs]
    assert len(set(asked)) == len({said for _, said in pairs}) == len(pairs)
    assert all(
        messages[0]["role"] == "system" and POLITE.POLITE_ORDER in messages[0]["content"] for messages, _ in pairs
    )
    conversations = [[*messages, {"role": "assistant", "content": said}] for messages, said in pairs]
    index = CopyIndex(conversations)
    assert all(index.copies_of(messages) == [number] for number, messages in enumerate(conversations))


def test_lengths_and_sentence_types_vary(pairs):
    asked = [messages[-1]["content"] for messages, _ in pairs]
    assert min(map(len, asked)) <= 3 and max(map(len, asked)) >= 40
    ends = Counter(text[-1] for text in asked)
    assert set(ends) == set(".?!") and min(ends.values()) >= 30


@pytest.mark.parametrize(
    ("casual", "polite_form"),
    [
        (r"(?<!\w)나(는|도|랑|한테)?(?!\w)", r"(?<!\w)저"),
        (r"^응", "^네,"),
        (r"(?<!\w)내 ", r"(?<!\w)제 "),
        (r"^아니,", "^아니요,"),
    ],
)
def test_the_traps_are_there_and_solved(pairs, casual, polite_form):
    found = [said for messages, said in pairs if re.search(casual, messages[-1]["content"])]
    assert found and all(re.search(polite_form, said) for said in found)


def test_bap_stays_bap(pairs):
    assert any("밥" in messages[-1]["content"] for messages, _ in pairs) and not [s for _, s in pairs if "진지" in s]
