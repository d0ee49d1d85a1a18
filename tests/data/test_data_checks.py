"""The checks of the project's own skills: Korean that looks right and is not must fail, Korean that is right must
pass."""

import sys

import pytest

from helpers.data.copies import pieces
from helpers.data.formats import convert, recognise
from helpers.evaluate.checks import BadChecks, load_checks
from helpers.evaluate.korean import haeyo, hapsyo, spelled
from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.files import read_jsonl
from tests.conftest import ROOT
from tests.data.check_files import all_of, module

polite_checks, POLITE = all_of("polite_checks"), module("polite_checks")


@pytest.mark.parametrize(
    "text",
    "돼요 좋아요 그렇죠 해요? 갈게요! 책이에요~ 제_거예요 합니다 갑니까? 오십시오 먹었는데요… 네,_그래요 서울요 늦었죠 가겠죠?"
    " 푹_자요 몰라요 자라요 정말요? 저는_자장면이요. 예뻐요_😀 바라요 가나요 할걸요 그럼요 크네요 하거든요 여기요".split(),
)
def test_polite(text):
    row = ([], text.replace("_", " "), "")
    assert haeyo(*row) is not hapsyo(*row)


@pytest.mark.parametrize(
    "text",
    "돼 좋아 아니다 다니다 필요 매우_중요 담요 갔요 없요 좋요 요 네 네. 죠 가세요_응 가요._싫어. ... 먹어_요"
    " 시야요 예쁘다요! 가자요 가라요 마라요 가니요 하냐요 가는구나요 먹요 잡요 예쁘요 보시요 안_되요. 간다요".split(),
)
def test_not_polite(text):
    row = ([], text.replace("_", " "), "")
    assert not haeyo(*row) and not hapsyo(*row)


@pytest.mark.parametrize("text", "친구을_만나요. 서울으로_가요. 책를_읽어요. 떄문이에요. 끝가_보여요. I_see.".split())
def test_misspelled(text):
    assert not spelled([], text.replace("_", " "), "")


@pytest.mark.parametrize(
    "text", "친구를_만나요. 서울로_가요. 집으로_가요. 책을_읽어요. OpenAI가_좋아요. 때문이에요.".split()
)
def test_spelled(text):
    assert spelled([], text.replace("_", " "), "")


def test_without_kiwi_the_file_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    monkeypatch.delitem(sys.modules, "helpers.evaluate.korean")
    monkeypatch.delattr("helpers.evaluate.korean")
    with pytest.raises(BadChecks, match="setup_kernel.sh --korean"):
        load_checks("notebooks/data/polite_checks.py")


def asked_politely(sentence):
    return [{"role": "system", "content": "문장을 해요체로 바꿔 주세요."}, {"role": "user", "content": sentence}]


@pytest.mark.parametrize(
    ("reply", "passed"),
    [
        ("저 오늘 좀 늦어요.", "11111"),
        ("저, 오늘 좀 늦어요", "11111"),
        ("오늘 좀 늦어요.", "11101"),
        ("나 오늘 좀 늦어요.", "10101"),  # polite ending, casual word
        ("나 오늘 좀 늦어.", "00101"),  # only copied
        ("저 오늘 늦으니까 좀 가요.", "11101"),  # 니까 within a sentence
        ("저 오늘 좀 늦습니다.", "01101"),  # another politeness than asked for
        ("저 오늘 좀 늦어.", "01101"),
        ("네, 알겠어요. 도와 드릴까요?", "11001"),  # answered instead of rewritten
        ("저 오늘 좀 늦어요.\n핵심어: 오늘", "01101"),
        (".", "00000"),
        ("I am late.", "00000"),
        ("", "00000"),
    ],
)
def test_casual_to_polite(reply, passed):
    found = polite_checks(asked_politely("나 오늘 좀 늦어."), reply, "저 오늘 좀 늦어요.")
    assert "".join(str(int(ok)) for ok in found.values()) == passed


def test_a_bare_yo_is_the_baseline():
    assert POLITE.baseline(asked_politely("나 오늘 좀 늦어.")) == "나 오늘 좀 늦어요."


@pytest.mark.parametrize("text", "나에게_말해요 내게_줘요 나의_것이에요 너의_것이에요 내_책이에요".split())
def test_a_word_of_casual_speech(text):
    assert not POLITE.no_casual_word([], text.replace("_", " "), "")


@pytest.mark.parametrize("text", ["한 시간 내에 와요.", "1년 내 끝나요.", "나 씨가 왔어요.", "집 안내 데스크예요."])
def test_no_word_of_casual_speech(text):
    assert POLITE.no_casual_word([], text, "")


def conversations(path):
    rows = read_jsonl(path)
    return [convert(row, recognise(rows)).messages for row in rows]


def too_near(question: str, training: list[list[dict]]) -> bool:
    """Does training ask in much the same words (see `helpers.data.copies`)?"""
    mine = set(pieces([{"role": "user", "content": question}]).tolist())
    asked = [set(pieces([turn]).tolist()) for messages in training for turn in messages if turn["role"] == "user"]
    return any(len(mine & known) > 0.2 * len(mine | known) for known in asked)


@pytest.mark.parametrize("name", ["calendar_en", "calendar_ko", "sample_ko_instructions"])
def test_no_fixed_question_is_near_a_training_question(name):
    training = conversations(ROOT / f"notebooks/data/{name}.jsonl")
    assert not [row["question"] for row in FIXED_PROMPTS if too_near(row["question"], training)]
    assert too_near(next(turn["content"] for turn in training[0] if turn["role"] == "user"), training)
