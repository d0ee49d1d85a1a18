"""Any format becomes messages; every trap of open-korean-instructions is repaired or dropped with its reason."""

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.data.columns import READ_AS, meaning
from helpers.data.formats import FORMATS, Format, convert, fields_read, recognise
from helpers.data.normalise import ROLE_TOKEN
from helpers.data.reasons import Repair, Unusable

TEXT = Format("open-korean-instructions", ("text",))


def parse(text, source=""):
    return convert({"source": source, "text": text}, TEXT)


def read(row):
    return convert(row, recognise([row]))


def why(convert_it) -> str:
    """The reason for which a row is dropped."""
    with pytest.raises(Unusable) as raised:
        convert_it()
    return str(raised.value)


def turns(done):
    return [(message["role"][0], message["content"]) for message in done.messages]


def test_plain_and_multi_turn():
    done = parse("<sys> 짧게.\n<usr> 안녕?\n<bot> 네.\n\n반가워요.\n<usr> 뭐 해?\n<bot> 쉬어요.")
    assert turns(done) == [("s", "짧게."), ("u", "안녕?"), ("a", "네.\n\n반가워요."), ("u", "뭐 해?"), ("a", "쉬어요.")]
    assert not done.repairs


@pytest.mark.parametrize(
    ("source", "text", "expected", "repair"),
    [
        # 1. the Alpaca input comes as <sys> after <usr>: it belongs to the user's turn
        ("koalpaca-v1.0", "<usr> 번역\n<sys> tea\n<bot> 차", [("u", "번역\n\ntea"), ("a", "차")], "system turn put into"),
        # 2. <sys> without a blank, over several lines
        ("korquad-chat", "<sys>첫 줄\n둘째 줄\n<usr> 몇 줄?\n<bot> 둘", [("s", "첫 줄\n둘째 줄"), ("u", "몇 줄?"), ("a", "둘")], ""),
        # 3. <|user|> and <|bot|> are names inside the text
        ("korquad-chat", "<usr> <|bot|>아, 안녕?\n<bot> 네, <|user|>님.", [("u", "<|bot|>아, 안녕?"), ("a", "네, <|user|>님.")], ""),
        # 4. "A: " was replaced everywhere, in the middle of words too
        ("korquad-chat", "<usr> 뭐?\n<bot> DN<usr> 유전자", [("u", "뭐?"), ("a", "DNA: 유전자")], "put back to 'DNA: '"),
        ("korquad-chat", "<usr> 뭐?\nB: 유전자\nA : 왜?\nB: 네", [("u", "뭐?"), ("a", "유전자"), ("u", "왜?"), ("a", "네")], "read as roles"),
        # 5. ShareGPT rows begin with the bot, end with the user, hold blank lines
        ("sharegpt", "<bot> 무엇을?\n<usr> 시\n<bot> 봄\n\n밤\n<usr> 고마워", [("u", "시"), ("a", "봄\n\n밤")], "cut off"),
        ("sharegpt", "<usr> 하나\n<usr> 둘\n<bot> 셋", [("u", "하나\n\n둘"), ("a", "셋")], "one speaker joined"),
        # the tutorials of 2023 lost the backslash of "\n<bot>"
        ("", "<usr> 안녕n<bot> 네", [("u", "안녕"), ("a", "네")], "read as a new line"),
        ("korquad-chat", "<usr> 안녕n<bot> 네", [("u", "안녕"), ("a", "네")], "read as a new line"),
        ("", "<usr> 안녕\\n<bot> 네", [("u", "안녕"), ("a", "네")], "read as a new line"),
        # Korean letters taken apart, as macOS writes file names
        ("", "<usr> \u1112\u1161\u11ab?\n<bot> 글", [("u", "한?"), ("a", "글")], "NFD"),
        ("", "<usr> 안녕\r\n<bot> 네\r\n", [("u", "안녕"), ("a", "네")], ""),
    ],
)  # fmt: skip
def test_repaired(source, text, expected, repair):
    done = parse(text, source)
    assert turns(done) == expected
    assert any(repair in name for name in done.repairs) if repair else not done.repairs


@pytest.mark.parametrize(
    ("source", "text", "reason"),
    [
        ("korquad-chat", "<usr> 언제?\n<bot> 9시\nC: 나도", "a third speaker"),  # 6.
        ("sharegpt", "<usr> DN<usr> 뭐?\n<bot> 네", "a role token inside the text"),  # only korquad is known to do this
        ("", "<usr> 질문만", "no question followed by an answer"),
        ("", "<bot> 답만", "no question followed by an answer"),
        ("", "<usr> 안녕\n<bot> ", "an empty turn"),
        ("", "그냥 글", "no role token at the start of a line"),
        ("", "머리말\n<usr> 안녕\n<bot> 네", "text before the first role token"),
        ("", "<usr> \ud83d\n<bot> 네", "broken Unicode"),
        ("", None, "the text is missing"),
    ],
)
def test_dropped_with_a_reason(source, text, reason):
    assert why(lambda: parse(text, source)) == reason


WELL_FORMED = {
    "messages": {"messages": [{"role": "user", "content": "물"}, {"role": "assistant", "content": "불"}]},
    "conversations": {"conversations": [{"from": "human", "value": "물"}, {"from": "gpt", "value": "불"}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "물"}]}, {"role": "model", "content": "불"}]},
    "instruction": {"instruction": "물", "input": "", "output": "불"},
    "response": {"instruction": "물", "context": "", "response": "불"},
    "prompt": {"prompt": "물", "completion": " 불"},
    "prompt of messages": {"prompt": [{"role": "user", "content": "물"}], "completion": [{"role": "assistant", "content": "불"}]},
    "Q and A": {"Q": "물", "A": "불", "label": "0"},
    "question": {"id": 1, "Question": "물", "Answer": "불"},
    "Korean columns": {"질문": "물", "답변": "불"},
    "text": {"text": "<usr> 물\n<bot> 불"},
}  # fmt: skip


@pytest.mark.parametrize("row", WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_every_format_is_recognised_by_its_columns(row):
    assert turns(read(row)) == [("u", "물"), ("a", "불")]


def test_input_is_the_system_turn_of_the_later_set_and_may_come_later():
    said = [("input", "지문"), ("human", "질문"), ("bot", "답"), ("input", "새 지문"), ("human", "또?"), ("bot", "네")]
    done = convert({"talk": [{"from": f, "value": v} for f, v in said]}, Format("messages", ("talk",)))
    assert turns(done) == [("s", "지문"), ("u", "질문"), ("a", "답"), ("u", "새 지문\n\n또?"), ("a", "네")]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([{"role": "user", "content": "물"}, {"role": "narrator", "content": "불"}], "a role that is not trained: narrator"),
        ([{"role": "user", "content": "물"}, {"role": "assistant", "content": None}], "a turn is not text"),
        ("물", "the conversation is not a list of turns"),
        ([], "no question followed by an answer"),
    ],
)  # fmt: skip
def test_messages_that_cannot_be_used(said, reason):
    assert why(lambda: convert({"messages": said}, Format("messages", ("messages",)))) == reason


@pytest.mark.parametrize(
    ("row", "wanted", "why"),
    [
        ({"id": 1, "body": "x"}, "auto", r"in the columns id, body.*question-answer: q\+a or question\+answer"),
        ({"text": "plain text", "label": 1}, "auto", r"columns text, label\. .*dataset_format says how to read it"),
        ({"instruction": "a", "output": "b"}, "alpaca", "dataset_format='alpaca' is not known: use auto or one of preference, messages"),
        ({"Q": "a", "A": "b"}, "messages", "No known format 'messages' in the columns Q, A"),
        ({"Q": "물", "A": "불", "q ": "바람"}, "auto", "The columns 'Q' and 'q ' have one name: rename or remove one."),
    ],
)  # fmt: skip
def test_an_unknown_format_names_the_columns_found_and_the_formats_known(row, wanted, why):
    with pytest.raises(ValueError, match=why):
        recognise([row], wanted)


def test_the_format_can_be_set():
    row = {"messages": None, "Q": "물", "A": "불"}
    assert recognise([row]).name == "messages" and recognise([row], "question-answer").columns == ("Q", "A")


def assert_valid(convert_it):
    """A conversation, or Unusable: nothing else is ever raised."""
    try:
        done = convert_it()
    except Unusable as unusable:
        assert str(unusable)
        return
    assert done.messages
    roles = [message["role"] for message in done.messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    assert spoken == ["user", "assistant"] * (len(spoken) // 2) or roles == ["document"]
    for message in done.messages:
        assert message["content"] == message["content"].rstrip() != "" and not message["content"].startswith("\n")
        assert message["role"] == "assistant" or message["content"] == message["content"].strip()
        assert not ROLE_TOKEN.search(message["content"])
    json.dumps(done.messages, ensure_ascii=False).encode()


fragments = st.sampled_from(
    ["<usr> ", "<bot> ", "<sys>", "<usr>", "\n", "\r\n", "A: ", "B :", "C: ", "n<bot>", "\\n", "가", " "]
)
wild = st.lists(fragments | st.text(max_size=5) | st.characters(categories=["Cs"]), max_size=12).map("".join)


@settings(max_examples=500, deadline=None)
@given(wild, st.sampled_from(["", "korquad-chat", "sharegpt"]))
def test_never_raises_on_any_text(text, source):
    assert_valid(lambda: parse(text, source))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | wild, lambda inner: st.lists(inner, max_size=4), max_leaves=6
)
turn = st.dictionaries(
    st.sampled_from(["role", "content", "from", "value"]), st.sampled_from(["user", "assistant"]) | anything
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.lists(anything | st.lists(turn, max_size=4), min_size=2, max_size=2))
@example("text", ["A: ", None])
def test_never_raises_on_any_row(name, values):
    for columns in FORMATS[name]:
        row = dict(zip(columns, values, strict=False))
        for one in (row, values[0]):
            assert_valid(lambda: convert(one, Format(name, columns)))  # noqa: B023


# text that no rule touches: no role tokens, no speaker letters, no blank at the ends, letters put together
calm = st.text(st.sampled_from("가나다라 마바\n사?!abc🙂"), min_size=1, max_size=30).map(str.strip).filter(bool)


@settings(max_examples=300, deadline=None)
@given(st.none() | calm, st.lists(st.tuples(calm, calm), min_size=1, max_size=4))
def test_round_trip(system, pairs):
    """A well-formed conversation, written in each format, comes back as it was."""
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in pairs:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    tokens = {"system": "<sys>", "user": "<usr>", "assistant": "<bot>"}
    names = {"system": "input", "user": "human", "assistant": "gpt"}
    text = "\n".join(f"{tokens[m['role']]} {m['content']}" for m in messages)
    listed = [{"from": names[m["role"]], "value": m["content"]} for m in messages]
    assert parse(text).messages == messages
    assert convert({"messages": messages}, Format("messages", ("messages",))).messages == messages
    assert convert({"conversations": listed}, Format("messages", ("conversations",))).messages == messages


# --- what stands beside the question and the answer: read, or a reason, never lost


QA = {"question": "몇 시에 열어요?", "answer": "아홉 시요."}
SAID = [{"from": "human", "value": "몇 시에 열어요?"}, {"from": "gpt", "value": "아홉 시요."}]
NAN = float("nan")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"conversations": SAID, "system": "존댓말로."}, "s:존댓말로. u:몇 시에 열어요? a:아홉 시요."),
        ({"conversations": SAID, "System_Prompt": "존댓말로.", "tools": "[]"}, "s:존댓말로. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "system": NAN, "context": None}, "u:몇 시에 열어요? a:아홉 시요."),
        ({"instruction": "번역해 줘", "input": "tea", "output": "차"}, "u:번역해 줘\n\ntea a:차"),
        ({"instruction": "번역해 줘", "context": "tea", "response": "차"}, "u:번역해 줘\n\ntea a:차"),
        ({**QA, "context": "가게는 9시에 연다."}, "u:몇 시에 열어요?\n\n가게는 9시에 연다. a:아홉 시요."),
        ({**QA, "passage": ["하나.", "둘."]}, "u:몇 시에 열어요?\n\n하나.\n\n둘. a:아홉 시요."),
        ({**QA, "history": [["안녕?", "네."]]}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": '[["안녕?", "네."]]'}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": ["안녕?", "네."]}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "네."}]}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": [{"role": "human", "content": "안녕?"}, {"role": "bot", "content": ["네", "."]}]}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": [["안녕?", "네."]], "system": "짧게.\n"}, "s:짧게. u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": ["안녕?", "네.", "몇 시에  열어요?"]}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({"messages": [{"role": "system", "content": "짧게."}, *SAID], "system": "짧게.\n"}, "s:짧게. u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "history": [{"role": "User", "content": "안녕?"}, {"role": "Assistant", "content": "네."}]}, "u:안녕? a:네. u:몇 시에 열어요? a:아홉 시요."),
        ({"questions": ["하나?", "둘?"], "answers": ["1", "2"]}, "u:하나? a:1 u:둘? a:2"),
        ({"question": "몇?", "answers": {"text": ["셋", "3"], "answer_start": [1, 2]}, "context": "셋이다."}, "u:몇?\n\n셋이다. a:셋"),
        ({"question": "3 + 4?", "answer": 7}, "u:3 + 4? a:7"),
        ({"instruction": "옮겨", "input": NAN, "output": "차"}, "u:옮겨 a:차"),
        ({"messages": json.dumps(SAID)}, "u:몇 시에 열어요? a:아홉 시요."),
        ({"messages": str(SAID)}, "u:몇 시에 열어요? a:아홉 시요."),
        ({"conversation": ["안녕?", "네."]}, "u:안녕? a:네."),
        ({"prompt": "안녕?", "chosen": "네.", "rejected": "몰라."}, "u:안녕? a:네."),
        ({"chosen": [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "네."}], "rejected": []}, "u:안녕? a:네."),
        ({"prompt": "안녕?", "chosen": [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "네."}], "rejected": []}, "u:안녕? a:네."),
        ({"conversations": SAID[:1], "chosen": SAID[1], "rejected": {"from": "gpt", "value": "몰라."}}, "u:몇 시에 열어요? a:아홉 시요."),
        ({"chosen": "\n\nHuman: 안녕?\n\nAssistant: 네.", "rejected": "\n\nHuman: 안녕?\n\nAssistant: 흥."}, "u:안녕? a:네."),
        ({"chosen": "존댓말로.\n\nHuman: 안녕?\n\nAssistant: 네.", "rejected": "\n\nHuman: 안녕?\n\nAssistant: 흥."}, "s:존댓말로. u:안녕? a:네."),
        ({"prompt": "안녕?", "completion": "네.", "label": True}, "u:안녕? a:네."),
        ({**QA, "label": "2"}, "u:몇 시에 열어요? a:아홉 시요."),  # a class, not a judgement
        ({**QA, "is_correct": "1", "deleted": 0, "correct": 0, "bad": 1}, "u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "label": 0}, "u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "score": 0.3, "weight": 1.0}, "u:몇 시에 열어요? a:아홉 시요."),
        ({**QA, "images": [], "rejected": False}, "u:몇 시에 열어요? a:아홉 시요."),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "물", "image": None}, "은?"]}, {"role": "assistant", "content": "불"}]}, "u:물은? a:불"),
        ({"messages": [{"role": "developer", "content": "짧게"}, {"role": "user", "content": "물"}, {"role": "assistant", "content": "불"}]}, "s:짧게 u:물 a:불"),
        ({"instruction": "def f():", "output": "    if x:\n        return 0"}, "u:def f(): a:    if x:\n        return 0"),
    ],
)  # fmt: skip
def test_read(row, expected):
    done = read(row)
    assert " ".join(f"{role}:{text}" for role, text in turns(done)) == expected, done


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "안녕?", "completion": "흥.", "label": False}, "marked as bad (label: False)"),
        ({"prompt": "안녕?", "completion": "흥.", "label": 0}, "marked as bad (label: 0)"),
        ({"prompt": "안녕?", "completion": "흥.", "label": "False"}, "marked as bad (label: False)"),
        ({"prompt": "안녕?", "completion": "흥.", "label": -1}, "marked as bad (label: -1)"),
        ({**QA, "label": False}, "marked as bad (label: False)"),
        ({"messages": SAID, "label": False}, "marked as bad (label: False)"),
        ({**QA, "deleted": True}, "marked as bad (deleted: True)"),
        ({**QA, "deleted": 1}, "marked as bad (deleted: 1)"),
        ({**QA, "is_correct": 0.0}, "marked as bad (is_correct: 0.0)"),
        ({**QA, "Is Correct": "N"}, "marked as bad (Is Correct: N)"),
        ({**QA, "feedback": "thumbs_down"}, "marked as bad (feedback: thumbs_down)"),
        ({**QA, "rating": -1}, "marked as bad (rating: -1)"),
        ({**QA, "weight": 0}, "not to be learned (weight: 0)"),
        ({**QA, "train": False}, "not to be learned (train: False)"),
        ({**QA, "weight": 0.5}, "a weight other than 0 and 1, which the loss does not know"),
        ({**QA, "choices": ["가", "나"]}, "choices belong to the row and cannot be read"),
        ({**QA, **dict.fromkeys("ABCD", "가")}, "the choices A, B, C, D belong to the row and cannot be read"),
        ({"q": "몇?", **dict.fromkeys("abcd", "가"), "answer": "b"}, "the choices a, b, c, d belong to the row and cannot be read"),
        ({**QA, "선택지": ["가", "나"]}, "선택지 belongs to the row and cannot be read"),
        ({"messages": [SAID[0], {**SAID[1], "loss_mask": 0}]}, "no answer in it is to be learned"),
        ({"messages": [SAID[0], {**SAID[1], "masked": True}]}, "no answer in it is to be learned"),
        ({**QA, "option_1": "가", "option_2": "나"}, "the choices option_1, option_2 belong to the row and cannot be read"),
        ({**QA, "보기1": "가", "보기2": "나"}, "the choices 보기1, 보기2 belong to the row and cannot be read"),
        ({**QA, "table": [["가", 1]]}, "table is not text"),
        ({"messages": SAID, "documents": [{"title": "가게"}]}, "documents is not text"),
        ({"messages": [{**SAID[0], "tools": [{"name": "f"}]}, SAID[1]]}, "tools of a turn cannot be read"),
        ({"messages": [SAID[0], {**SAID[1], "context": "가게"}]}, "context of a turn cannot be read"),
        ({"messages": [{**SAID[0], "history": [["가?", "나."]]}, SAID[1]]}, "history of a turn cannot be read"),
        ({**QA, "image": "a.png"}, "image belongs to the row and cannot be read"),
        ({**QA, "context": {"title": "가게"}}, "context is not text"),
        ({**QA, "history": [["안녕?"]]}, "the history is not made of questions and answers"),
        ({**QA, "history": [{"role": "narrator", "content": "밤."}]}, "a role that is not trained: narrator"),
        ({**QA, "history": [{"question": "가?", "answer": "나."}]}, "the history is not made of questions and answers"),
        ({"question": "몇?", "answer": None}, "a turn is not text"),
        ({"question": "몇?", "answer": NAN}, "a turn is not text"),
        ({"question": NAN, "answer": "네"}, "a turn is not text"),
        ({"questions": ["하나?", "둘?"], "answers": ["1"]}, "2 questions and 1 answers in one row"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "뭐?"}, {"type": "image", "text": None}]}, SAID[1]]}, "a part that is no text: image"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, SAID[1]]}, "a part that is no text: image_url"),
        ({"messages": [SAID[0], {**SAID[1], "weight": 0}]}, "no answer in it is to be learned"),
        ({"messages": [SAID[0], {**SAID[1], "weight": 0.3}]}, "a weight other than 0 and 1, which the loss does not know"),
        ({"messages": [SAID[0], {"role": "tool", "content": "9"}, SAID[1]]}, "a tool's answer without a call"),
        ({"messages": [SAID[0], {"role": "assistant", "tool_calls": [{"function": {}}]}]}, "a tool call without a name"),
        ({"messages": [SAID[0], {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]}, "a tool call whose arguments are not JSON"),
        ({"messages": SAID, "tools": "get_time"}, "the tools are not a list of JSON schemas"),
    ],
)  # fmt: skip
def test_dropped_since_the_meaning_would_change(row, reason):
    assert why(lambda: read(row)) == reason


@pytest.mark.parametrize("number", [10**400, -(10**310)])
def test_a_number_of_hundreds_of_digits_is_its_text(number):
    for row in ({"question": "몇?", "answer": number}, {**QA, "context": number}, {**QA, "rating": number}):
        assert all(isinstance(text, str) for _, text in turns(read(row)))


def test_what_is_no_multiple_choice_is_read():
    """Three letters, one option: columns like any other, which 03 lists as not read."""
    for more in (dict.fromkeys("ABC", "가"), {"option": "빠르게"}, {"option_1": "가"}):
        assert read({**QA, **more}).messages == read(QA).messages


def test_what_a_turn_brings_along_is_joined_to_it():
    done = read({"messages": [{**SAID[0], "context": "가게는 9시에 열어요."}, SAID[1]]})
    assert done.messages[0]["content"] == f"{SAID[0]['value']}\n\n가게는 9시에 열어요."
    assert read({"messages": [{**SAID[0], "context": None}, SAID[1]]}).messages == read({"messages": SAID}).messages


LONG = "가게는 평일 아침 아홉 시에 열고, 저녁 일곱 시에 닫으며, 주말에는 쉽니다."


@pytest.mark.parametrize(
    ("question", "context", "there"),
    [
        *((f"모음(a, e, i, o, u)과 자음 중 어느 쪽?{end}", letter, False) for letter in "aeb자" for end in ("", "\n끝")),
        ("1부터 30까지의 수", "3", False), ("다음을 옮겨 줘: tea 마셔요", "tea", False), ("옮겨\nteacher", "tea", False),
        ("옮겨\n\ntea", "tea", True), ("옮겨\ntea\n부탁해", "tea\n", True), ("tea", "tea", True),
        ("옮겨\n둘\n셋", "둘\n셋", True), (f"읽고 답해: {LONG} 언제?", LONG, True),
    ],
)  # fmt: skip
def test_a_context_is_left_out_only_where_the_question_holds_it(question, context, there):
    expected = question if there else f"{question}\n\n{context.strip()}"
    for row in (
        {"instruction": question, "input": context, "output": "네."},
        {"messages": [{"role": "user", "content": question, "context": context}, SAID[1]]},
    ):
        assert read(row).messages[0]["content"] == expected


def test_turns_that_are_not_to_be_learned_stay_as_context():
    for flag in ({"weight": 0}, {"train": False}, {"training": "false"}, {"loss": False}):
        done = read({"messages": [SAID[0], {**SAID[1], **flag}, *SAID]})
        assert [turn.get("train", True) for turn in done.messages] == [True, False, True, True]


def test_the_turns_of_a_history_say_what_is_learned_and_called_as_any_others():
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "shelf", "arguments": '{"item": 3}'}]}
    bad = [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "흥.", "weight": 0}]
    found = [
        {"role": "user", "content": "책?"},
        call,
        {"role": "tool", "content": "B열"},
        {"role": "assistant", "content": "B열.", "weight": 1},
    ]
    done = read({**QA, "history": [*bad, *found]}).messages
    assert [turn.get("train", True) for turn in done if turn["role"] == "assistant"] == [False, True, True, True]
    assert done[3]["tool_calls"] == CALL


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_a_thought_is_kept_apart(key):
    expected = {"role": "assistant", "content": "아홉 시요.", "reasoning_content": "시계를 보자."}
    assert read({"messages": [SAID[0], {**SAID[1], key: "시계를 보자."}]}).messages[1] == expected
    assert read({**QA, key: "시계를 보자."}).messages[1] == expected
    parts = [{"type": "thinking", "thinking": "시계를 보자."}, {"type": "text", "text": "아홉 시요."}]
    assert read({"messages": [SAID[0], {"role": "assistant", "content": parts}]}).messages[1] == expected


CALL = [{"type": "function", "function": {"name": "shelf", "arguments": {"item": 3}}}]


@pytest.mark.parametrize(
    "called",
    [
        {"tool_calls": CALL},
        {"tool_calls": [{"name": "shelf", "arguments": '{"item": 3}'}]},
        {"function_call": {"name": "shelf", "arguments": '{"item": 3}'}},
    ],
)
def test_tools_in_every_spelling(called):
    listed = [
        SAID[0],
        {"role": "assistant", "content": "찾을게요.", **called},
        {"role": "tool", "content": "B열", "name": "shelf"},
        SAID[1],
    ]
    schema = {"name": "shelf", "parameters": {"type": "object"}}
    done = read({"messages": listed, "tools": json.dumps([schema])})
    assert done.messages[1] == {"role": "assistant", "content": "찾을게요.", "tool_calls": CALL}
    assert [turn["role"] for turn in done.messages] == ["user", "assistant", "tool", "assistant"]
    assert done.tools == ({"type": "function", "function": schema},)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (["A열", "B열"], '["A열", "B열"]'),
        ([{"type": "hotel", "name": "가"}], '[{"type": "hotel", "name": "가"}]'),
        ([{"title": "책", "text": "B열"}], '[{"title": "책", "text": "B열"}]'),
        ([{"type": "text", "text": "B열"}], "B열"),
    ],
)
def test_a_list_that_a_tool_answers_is_its_data(result, text):
    listed = [SAID[0], {"role": "assistant", "tool_calls": CALL}, {"role": "tool", "content": result}, SAID[1]]
    assert read({"messages": listed}).messages[2]["content"] == text


@pytest.mark.parametrize(
    ("called", "answered", "reason"),
    [
        ("12", "1", "a tool call or a tool's answer that nobody answers"),
        ("1", "12", "a tool's answer without a call"),
        ("1", "9", "a tool call or a tool's answer that nobody answers"),
        ("12", "21", ""),
        ("12", [None], ""),  # one answer for all, as sharegpt has it
    ],
)
def test_every_call_has_its_answer_where_both_have_a_number(called, answered, reason):
    calls = {"role": "assistant", "tool_calls": [{**CALL[0], "id": number} for number in called]}
    results = [{"role": "tool", "content": "B열", "tool_call_id": number} for number in answered]
    row = {"messages": [SAID[0], calls, *results, SAID[1]]}
    assert (why(lambda: read(row)) == reason) if reason else len(read(row).messages) == 3 + len(answered)


def test_tools_of_two_columns_are_read_and_a_word_for_none_is_none():
    tools = {"tools": [{"name": "a"}], "functions": '[{"name": "b"}, {"name": "a"}]'}
    assert [tool["function"]["name"] for tool in read({"messages": SAID, **tools}).tools] == ["a", "b"]
    assert read({"messages": SAID, "tools": "None"}).tools == ()


def test_two_system_turns_at_the_head_are_said_to_be_joined():
    heads = [{"role": role, "content": role} for role in ("system", "developer")]
    done = read({"messages": [*heads, *SAID]})
    assert turns(done)[0] == ("s", "system\n\ndeveloper") and done.repairs == (Repair.JOINED,)


def test_sharegpt_s_function_call_is_a_tool_call():
    call = {"from": "function_call", "value": '{"name": "shelf", "arguments": {"item": 3}}'}
    done = read({"conversations": [SAID[0], call, {"from": "observation", "value": "B열"}, SAID[1]]})
    assert done.messages[1] == {"role": "assistant", "content": "", "tool_calls": CALL}


def test_a_pair_says_that_the_rejected_answer_was_left_out():
    assert read({"prompt": "안녕?", "chosen": "네.", "rejected": "몰라."}).repairs == (Repair.PAIR,)


def test_every_field_is_told_as_read_or_not_read():
    row = {"conversations": [{**SAID[0], "mood": "gut"}, SAID[1]], "system": "짧게", "topic": "가게"}
    told = fields_read(recognise([row]), Counter(row), Counter(key for turn in row["conversations"] for key in turn))
    assert {one["field"]: one["read as"] for one in told} == {
        "conversations": "the conversation", "system": "system turn", "topic": "not read",
        "conversations[].from": "the turn", "conversations[].value": "the turn", "conversations[].mood": "not read",
    }  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(set(" ".join(READ_AS.values()).split()))),
    anything | st.floats() | st.lists(turn, max_size=3),
)
@example("past_messages", [[False, False], [[], []]])  # a pair of objects: their JSON, as in a question or an answer
def test_no_python_object_becomes_text(column, value):
    """Whatever stands in a known column: never "nan" or "None" in a text, no "{" or "[" that is not told, never an
    exception."""
    assert meaning(column)
    row, form = {"question": "물", "answer": "불", column: value}, Format("question-answer", ("question", "answer"))
    try:
        done = convert(row, form)
    except Unusable:
        return
    for text in (m[key] for m in done.messages for key in ("content", "reasoning_content") if key in m):
        assert not any(mark in text for mark in ("nan", "None", "inf", "True"))
        assert Repair.OBJECT in done.repairs or not any(mark in text for mark in "{[")
