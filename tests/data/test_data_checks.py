"""The checks of the project's own skills: Korean that looks right and is not must fail, Korean that is right must pass."""

import pytest

from helpers.data.copies import pieces
from helpers.data.formats import convert, recognise
from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.evaluate.voting import without_label
from helpers.files import read_jsonl
from tests.conftest import ROOT
from tests.data.check_files import all_of, module

keyword_checks, polite_checks = all_of("keyword_checks"), all_of("polite_checks")
KEYWORD, POLITE = module("keyword_checks"), module("polite_checks")
SAMPLE = ROOT / "notebooks/data/sample_ko_instructions.jsonl"
QUESTION = [{"role": "user", "content": "빨래가 끝나면 세탁기 문은 어떻게 둬요?"}]
REFERENCE = "안이 마르도록 열어 두세요.\n핵심어: 세탁기"


@pytest.mark.parametrize(
    ("reply", "passed"),
    [
        (REFERENCE, "1111"),
        ("문을 열어 둡니다.\n핵심어: 세탁기", "1111"),
        ("문을 열어 두면 좋죠!\n핵심어: 세탁기", "1111"),
        ("열어 두세요. 🧺\n핵심어: 세탁기\n", "1111"),
        ("열어 두세요.\n핵심어: 문", "1110"),  # a word of the question, another one than the reference's
        ("열어 두세요.\n핵심어: 빨래", "1110"),
        ("열어 두세요.\n핵심어: ㅁㄴㅇㄹ", "1100"),
        ("열어 두세요.\n핵심어: 세탁", "1100"),  # half a word
        ("열어 두세요.\n핵심어: 탁기", "1100"),
        ("열어 두세요.\n핵심어: 냉장고", "1100"),
        ("열어 두세요.\n핵심어:", "1000"),
        ("열어 두세요.\n핵심 낱말: 세탁기", "1000"),
        ("열어 두세요. 핵심어: 세탁기", "0000"),  # no line of its own
        ("핵심어: 세탁기", "0111"),
        ("핵심어: 세탁기\n열어 두세요.", "0000"),
        ("핵심어: 세탁기\n핵심어: 세탁기", "0011"),  # a loop of labels
        ("열어 둬.\n핵심어: 세탁기", "0111"),  # 반말
        ("문이 아니다.\n핵심어: 세탁기", "0111"),  # ends in 니다 and is plain
        ("세탁기가 중요.\n핵심어: 세탁기", "0111"),  # ends in 요 and is a noun
        ("문이 있요.\n핵심어: 세탁기", "0111"),  # no word of Korean
        ("아니요.\n핵심어: 세탁기", "0111"),  # no sentence
        ("아니요, 열어 두세요.\n핵심어: 세탁기", "1111"),
        ("열어 두세요. 그래야 말라요.\n핵심어: 세탁기", "0111"),  # two sentences
        ("열어 두세요.\n그래야 말라요.\n핵심어: 세탁기", "0111"),
        ("The door stays open.\n핵심어: 세탁기", "0111"),
        ("", "0000"),
    ],
)
def test_four_columns(reply, passed):
    assert "".join(str(int(ok)) for ok in keyword_checks(QUESTION, reply, REFERENCE).values()) == passed


@pytest.mark.parametrize(
    "text",
    "돼요 좋아요 그렇죠 해요? 갈게요! 책이에요~ 제_거예요 합니다 갑니까? 오십시오 먹었는데요… 네,_그래요 서울요 늦었죠 가겠죠?".split(),
)
def test_polite(text):
    assert POLITE._polite(text.replace("_", " "))


@pytest.mark.parametrize(
    "text",
    "돼 좋아 아니다 다니다 필요 매우_중요 담요 갔요 없요 좋요 요 네 네. 죠 가세요_응 가요._싫어. ... 먹어_요".split(),
)
def test_not_polite(text):
    assert not POLITE._polite(text.replace("_", " "))


@pytest.mark.parametrize(
    ("keyword", "question", "found"),
    [
        ("제주도", "이번에 제주도에서는 뭘 봐요?", True),
        ("도에서", "이번에 제주도에서는 뭘 봐요?", False),
        ("제주도에서", "이번에 제주도에서는 뭘 봐요?", False),  # a noun with its particle
        ("겨울에", "겨울에 손이 자꾸 터요.", False),
        ("겨울", "겨울에 손이 자꾸 터요.", True),
        ("손이 자꾸", "겨울에 손이 자꾸 터요.", True),  # not told from a noun; the known keyword tells
        ("세탁기는", "세탁기는 어떻게 닦아?", False),
        ("알로에", "알로에는 어떻게 키워?", True),
        ("석굴", "석굴암은 어디예요?", False),
        ("친구 생일", "친구 생일 선물이 고민이야.", True),
        ("일 선물", "친구 생일 선물이 고민이야.", False),
        ("질투", "자꾸 질투하는 내가 싫어.", True),
        ("가을", "가을에 뭐 해?", True),
        ("표기", "옳은 '표기'는 뭐야?", True),
        ("...", "뭐야...", False),
        ("", "뭐야?", False),
    ],
)
def test_a_word_of_the_question(keyword, question, found):
    assert KEYWORD._word_of(keyword, question) is found


@pytest.mark.parametrize(
    ("order", "yes", "no"),
    [
        ("짧게 답해 주세요.", "별의 모양만 누르세요.", "별들의 모양만 누르세요."),  # 12 and 13 characters
        ("이모지를 하나 붙여 주세요.", "쉬세요. 🛌", "쉬세요. 🛌🛌"),
        ("숫자를 넣어 답해 주세요.", "7개예요.", "일곱 개예요."),
        ("격식체로 답해 주세요.", "부족합니다.", "부족해요."),
        ("느낌표로 끝내 주세요.", "힘내세요!", "힘내세요."),
    ],
)
def test_system_lines_are_obeyed_or_not(order, yes, no):
    assert KEYWORD._obeys(order, f"{yes}\n핵심어: 별") and not KEYWORD._obeys(order, f"{no}\n핵심어: 별")


def asked_politely(sentence):
    return [{"role": "system", "content": "문장을 해요체로 바꿔 주세요."}, {"role": "user", "content": sentence}]


@pytest.mark.parametrize(
    ("reply", "passed"),
    [
        ("저 오늘 좀 늦어요.", "1111"),
        ("저, 오늘 좀 늦어요", "1111"),
        ("오늘 좀 늦어요.", "1110"),
        ("나 오늘 좀 늦어요.", "1010"),  # polite ending, casual word
        ("나 오늘 좀 늦어.", "0010"),  # only copied
        ("저 오늘 늦으니까 좀 가요.", "1110"),  # 니까 within a sentence
        ("저 오늘 좀 늦습니다.", "0110"),  # another politeness than asked for
        ("저 오늘 좀 늦어.", "0110"),
        ("네, 알겠어요. 도와 드릴까요?", "1100"),  # answered instead of rewritten
        ("저 오늘 좀 늦어요.\n핵심어: 오늘", "0110"),
        (".", "0000"),
        ("I am late.", "0000"),
        ("", "0000"),
    ],
)
def test_casual_to_polite(reply, passed):
    found = polite_checks(asked_politely("나 오늘 좀 늦어."), reply, "저 오늘 좀 늦어요.")
    assert "".join(str(int(ok)) for ok in found.values()) == passed


def test_a_bare_yo_is_the_baseline():
    assert POLITE.baseline(asked_politely("나 오늘 좀 늦어.")) == "나 오늘 좀 늦어요."


def test_the_label_line_can_be_hidden():
    assert without_label("첫째\n핵심어: 빵 ") == "첫째"
    assert without_label("첫째\n핵심어:") == "첫째\n핵심어:" and without_label("핵심어: 빵\n끝") == "핵심어: 빵\n끝"


def conversations(path):
    rows = read_jsonl(path)
    return [convert(row, recognise(rows)).messages for row in rows]


def too_near(question: str, training: list[list[dict]]) -> bool:
    """Does training ask about one of the question's words, or in much the same words (see `helpers.data.copies`)?"""
    mine = set(pieces([{"role": "user", "content": question}]).tolist())
    for messages in training:
        for turn, answer in zip(messages, messages[1:], strict=False):
            if turn["role"] == "user":
                known = set(pieces([turn]).tolist())
                if len(mine & known) > 0.2 * len(mine | known) or KEYWORD._word_of(
                    answer["content"].rpartition(": ")[2], question
                ):
                    return True
    return False


def test_no_fixed_question_is_near_a_training_question():
    training = conversations(SAMPLE)
    assert not [row["question"] for row in FIXED_PROMPTS if too_near(row["question"], training)]
    for once in ("잠이 안 올 때는 어떻게 하면 좋을까요?", "친구 생일 선물을 추천해 주세요.", "물은 몇 도에서 끓나요?"):
        assert too_near(once, training)
    assert too_near(training[0][1]["content"], training)
