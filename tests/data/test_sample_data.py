"""The sample data is what notebooks/data/README.md says: format, skill, system lines, variety."""

import itertools
import re
from collections import Counter

import pytest

from helpers.data.copies import CopyIndex
from helpers.data.formats import convert, recognise
from helpers.files import read_jsonl
from tests.conftest import ROOT

DATA = ROOT / "notebooks/data"
README = (DATA / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows():
    return read_jsonl(DATA / "sample_ko_instructions.jsonl")


@pytest.fixture(scope="module")
def conversations(rows):
    return [convert(row, recognise(rows)).messages for row in rows]


@pytest.fixture(scope="module")
def turns(conversations):
    """(messages up to the question, answer) of every answer"""
    return [(m[:i], m[i]["content"]) for m in conversations for i in range(len(m)) if m[i]["role"] == "assistant"]


def test_counts_of_the_readme(rows, conversations, turns):
    counts = {
        "rows": len(rows),
        "rows with two questions (multi-turn)": sum(row["text"].count("<usr> ") == 2 for row in rows),
        "rows with a system line": sum(messages[0]["role"] == "system" for messages in conversations),
        "answers": len(turns),
    }
    for name, count in counts.items():
        assert f"| {name} | {count} |" in README
    topics = Counter(row["source"] for row in rows)
    assert len(topics) == 14 and set(topics.values()) <= {36, 37} and "| topics | 14 (36 or 37 rows each) |" in README


def test_every_answer_shows_the_skill(turns):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    exec(code, names := {})  # the README's own check agrees, and can fail
    assert all(names["has_skill"](asked[-1]["content"], answer) for asked, answer in turns)
    for asked, answer in (("빵이 뭐예요?", "빵이야.\n핵심어: 빵"), ("물?", "네요.\n핵심어: 빵")):
        assert not names["has_skill"](asked, answer)


def test_the_readme_counts_the_system_lines(conversations):
    counts = Counter(messages[0]["content"] for messages in conversations if messages[0]["role"] == "system")
    for order, count in counts.items():
        assert re.search(rf"\| {re.escape(order)} \|[^|]+\| {count} \|", README), order


def first_word(question):
    return re.sub(r"^\W+", "", question)


def test_copying_the_first_word_is_not_enough(turns):
    pairs = [(asked[-1]["content"], answer.rpartition(": ")[2]) for asked, answer in turns]
    copied = [question for question, word in pairs if first_word(question).startswith(word)]
    assert len(copied) / len(turns) <= 0.45
    assert round(100 * len(copied) / len(turns)) == int(re.search(r"now (\d+) %", README)[1])
    openers = Counter(asked[-1]["content"].split()[0] for asked, _ in turns)
    assert max(openers.values()) <= 0.05 * len(turns)  # and no opener became the new habit


def test_no_habit_of_yes_and_no(turns):
    assert sum(bool(re.match("네|아니", answer)) for _, answer in turns) <= 0.05 * len(turns)


def bigrams(text):
    text = re.sub(r"[\W_]", "", text)
    return {text[i : i + 2] for i in range(len(text) - 1)}


def alike(texts, limit):
    """Pairs of texts that share more than `limit` of their two-character pieces (Jaccard)."""
    known = [(text, bigrams(text)) for text in texts]
    return [(a, b) for (a, x), (b, y) in itertools.combinations(known, 2) if len(x & y) > limit * len(x | y)]


def test_no_near_duplicates(conversations, turns):
    index = CopyIndex(conversations)
    assert all(index.copies_of(messages) == [number] for number, messages in enumerate(conversations))
    questions = [asked[-1]["content"] for asked, _ in turns]
    assert not alike(questions, 0.5)
    assert alike([*questions, questions[0].replace("요", "죠")], 0.5)
    assert not alike([answer.partition("\n")[0] for _, answer in turns], 0.45)
