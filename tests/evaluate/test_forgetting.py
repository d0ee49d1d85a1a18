"""What was forgotten: the texts, the rows made of them, and what is said about a loss."""

import re

import pytest

from helpers.data.copies import overlap
from helpers.data.formats import convert, recognise
from helpers.evaluate.forgetting import (
    LONGEST,
    forgetting_table,
    forgotten,
    general_rows,
    general_texts,
    score_base,
    won_and_lost,
)
from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.evaluate.known import (
    KNOWN,
    changed_answers,
    is_known,
    known_answers,
    known_questions,
    known_rows,
    known_table,
)
from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.fields import BadSetting
from helpers.files import read_jsonl, write_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.settings import RunConfig


def test_the_texts_are_enough_in_both_languages_and_none_is_in_the_training_data():
    texts = general_texts()
    spoken = [text["language"] for text in texts]
    assert len(texts) >= 60 and min(spoken.count("ko"), spoken.count("en")) >= 30 and set(spoken) == {"ko", "en"}
    assert len({str(text) for text in texts}) == len(texts)
    pairs = [(text.get("question", text.get("text")), text.get("answer", text.get("text"))) for text in texts]
    asked = [[{"role": "user", "content": one}, {"role": "assistant", "content": two}] for one, two in pairs]
    for path in (PROJECT_ROOT / "notebooks" / "data").glob("*.jsonl"):
        if path.name not in ("general.jsonl", KNOWN.name):
            rows = read_jsonl(path)
            taught = [convert(row, recognise(rows[:50])).messages for row in rows]
            assert overlap([messages for messages in taught if messages], asked)[0] == 0, path.name
    assert not {text.get("question") for text in texts} & {prompt["question"] for prompt in FIXED_PROMPTS}


@pytest.fixture(scope="module")
def model_and_tokenizer(tiny_model):
    from helpers.model.load import load_base_model
    from helpers.model.tokenizer import load_tokenizer

    config = RunConfig.load("tiny")
    return load_base_model(config), load_tokenizer(config)


def test_base_against_itself_has_forgotten_nothing_and_another_model_has(model_and_tokenizer):
    import torch

    model, tokenizer = model_and_tokenizer
    rows = general_rows(tokenizer)
    for row, text in zip(rows, general_texts(), strict=True):
        learned = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
        said = text.get("answer") or text["text"]
        assert said.startswith(tokenizer.decode(learned).strip()[:20]) and len(learned) <= LONGEST
        assert "question" not in text or text["question"] in tokenizer.decode(row["input_ids"])
    scores = {"base": score_base(model, rows)}
    reference = scores["base"].logits
    scores["adapter"] = held_out_nll(model, rows, reference=reference)
    found = forgotten(scores)["adapter"]
    assert found["difference"] == 0 and found["kl"] == pytest.approx(0, abs=1e-5) and found["agreement"] == 1
    assert {part["verdict"] for part in found["languages"].values()} == {"no difference that matters"}
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head.add_(torch.randn_like(head) * head.std())
    scores["adapter"] = held_out_nll(model, rows, reference=reference)
    found = forgotten(scores)
    assert found["adapter"]["kl"] > 0.01 and found["adapter"]["agreement"] < 1


def scores(ko: float, en: float, noise: float = 0.01) -> Scores:
    """Every text 10 tokens; the shift in nats per token by language, with a little noise."""
    spoken = [text["language"] for text in general_texts()]
    shift = {"ko": ko, "en": en}
    nll = [20 + 10 * (shift[own] + noise * (-1) ** (i // 2)) for i, own in enumerate(spoken)]
    return Scores(nll, [10] * len(spoken))


GAP = {"difference": -1.2, "low": -1.3, "high": -1.1, "rows": 48}
WON = [{"model": "adapter", "number": "NLL per token", "verdict": "better", **GAP}]


@pytest.mark.parametrize(
    ("ko", "en", "said"),
    [
        (0.0, 0.0, r"On general text nothing that matters was lost\."),
        (0.0, 0.3, "Lost: general text, English \\+0.30"),
        (-0.4, 0.3, "Lost: general text, English .* Won as well: general text, Korean -0.40"),
        (0.2, 0.3, "Lost: general text, Korean .*, English \\+0.30"),
        (0.02, 0.0, "Whether general text was lost is unclear."),  # at the margin
    ],
)
def test_a_loss_in_one_language_is_not_hidden_by_the_other(ko, en, said):
    found = forgotten({"base": scores(0, 0, 0.0), "adapter": scores(ko, en), "merged": scores(0, 0)})
    told = won_and_lost(WON, found)
    assert told.startswith("Won: the held-out rows: NLL -1.20 (-1.30 to -1.10, 48 rows).") and re.search(said, told)
    assert len(forgetting_table(found).rows) == 6 and found["merged"]["verdict"] == "no difference that matters"
    assert found["adapter"]["level"] == pytest.approx(1 - 0.05 / 6)


def test_nothing_won_is_said_too():
    found = forgotten({"base": scores(0, 0, 0.0), "adapter": scores(0, 0)})
    assert won_and_lost([{**WON[0], "verdict": "unclear"}], found).startswith("Nothing proven won: NLL")
    assert won_and_lost([{**WON[0], "verdict": "worse"}], found).startswith("Lost: even the held-out rows")


def test_each_question_has_one_answer_that_passes_and_is_nowhere_in_the_data():
    rows = read_jsonl(KNOWN)
    kinds = {(row["language"], row["kind"]) for row in rows}
    assert len(rows) == len({row["question"] for row in rows}) == 40 and len(kinds) == 8
    assert [row["question"] for row in rows if not is_known(row, row["answer"])] == []
    assert [row["question"] for row in rows if is_known(row, row["question"]) and row["kind"] != "nonsense"] == []
    for other in rows:  # an answer to another question passes hardly anywhere
        assert sum(is_known(row, other["answer"]) for row in rows if row["kind"] != "nonsense") <= 3, other
    taught = "".join(path.read_text() for path in KNOWN.parent.glob("*.jsonl") if path != KNOWN)
    assert [row["question"] for row in rows if row["question"] in taught] == []


@pytest.mark.parametrize(
    ("question", "reply", "known"),
    [
        ("15 plus 27", "The answer is 42.", True),
        ("15 plus 27", "It is 421.", False),
        ("15 plus 27", "42.5", False),
        ("15 plus 27", "Forty-two, of course", True),
        ("river", "RIVER", True),
        ("river", "river", False),
        ("snow cold", "Yes.", True),
        ("snow cold", "Yes, snow is cold.", False),
        ("walk on the sun", "In 1969.", False),
        ("walk on the sun", "Nobody has ever done that.", True),
        ("90의 절반", "45입니다", True),
        ("90의 절반", "145입니다", False),
    ],
)
def test_what_counts_as_an_answer(question, reply, known):
    (row,) = [row for row in read_jsonl(KNOWN) if question in row["question"]]
    assert is_known(row, reply) is known


def answered(right: int, first: int = 0) -> list[Reply]:
    """`right` right answers from the question `first` on, the others empty."""
    rows = read_jsonl(KNOWN)
    said = [row["answer"] if first <= i < first + right else "" for i, row in enumerate(rows)]
    return [Reply(text, (1,), True, 3) for text in said]


@pytest.mark.parametrize(
    ("base", "adapter", "en", "forgot", "said"),
    [
        (answered(30), answered(30), 0.0, False, "Of 40 questions the base answers 30, this model 30: 0 lost, 0 won."),
        (answered(30), answered(20), 0.0, True, "Knowledge was lost."),
        (answered(30), answered(28), 0.0, True, "2 lost, 0 won. So it cannot be said that nothing was forgotten."),
        (answered(30), answered(30, first=3), 0.0, False, "3 lost, 3 won."),
        (answered(30), answered(30), 0.3, True, "Lost: general text, English"),
        (answered(30), answered(30), 0.02, True, "Whether general text was lost is unclear."),
        (answered(3), answered(3), 0.0, True, "The base knows too few of them to show a loss."),
    ],
)
def test_nothing_was_forgotten_only_where_both_agree(base, adapter, en, forgot, said):
    found = forgotten({"base": scores(0, 0, 0.0), "adapter": scores(0.0, en)})
    known = known_answers({"base": base, "adapter": adapter})
    told = won_and_lost(WON, found, known)
    assert said in told and ("Nothing was forgotten" in told) is not forgot
    assert known["models"]["base"]["passed"] == sum(bool(reply.text) for reply in base)
    change = known["changes"][0]
    assert len(changed_answers(known, {"base": base, "adapter": adapter}).rows) == len(change["won"] + change["lost"])
    assert len(known_table(known).rows) == 2 and len(known_questions()) == 40


def test_facts_of_ones_own_are_asked_too_and_counted_apart(tmp_path):
    facts = tmp_path / "facts.jsonl"
    write_jsonl(
        facts, [{"question": "Who runs Quorl?", "answer": "Ada (senior)"}, {"question": "And Vim?", "answer": "Bo"}]
    )
    asked = known_questions(str(facts))
    assert len(asked) == 42 and asked[40][0]["content"] == "Who runs Quorl?"
    wrong, right = Reply("?", (), True, 1), Reply("Ada (senior).", (), True, 1)
    known = known_answers({"base": [*answered(40), wrong, wrong], "adapter": [*answered(40), right, wrong]}, str(facts))
    assert (known["of"], known["own"]) == (40, 2) and [m["own"] for m in known["models"].values()] == [0, 1]
    assert all(not change["won"] and not change["lost"] for change in known["changes"])
    assert known_table(known).rows[1]["your facts"].startswith("1 of 2")
    with pytest.raises(FileNotFoundError):
        known_questions("none.jsonl")


@pytest.mark.parametrize(("row", "told"), [
    ({"q": "Who?", "a": "Ada"}, "row 2 cannot be asked"),
    ({"question": "Who?", "answer": " "}, "row 2 cannot be asked"),  # it would be in every reply
    ({"question": "When?", "answer": 1999}, "row 2 cannot be asked"),
    (["Who?", "Ada"], "row 2 cannot be asked"),
    ({"question": "Who?", "answer": "Ada", "accept": "("}, "no regular expression"),
])  # fmt: skip
def test_facts_that_cannot_be_asked_are_refused_with_their_row(tmp_path, row, told):
    write_jsonl(tmp_path / "facts.jsonl", [{"question": "Who?", "answer": "Ada"}, row])
    with pytest.raises(BadSetting, match=told):
        known_questions(str(tmp_path / "facts.jsonl"))


@pytest.mark.parametrize(("answer", "reply", "right"), [
    ("5", "It was in 1950.", False), ("5", "There are 5.", True), ("3.5", "13.5 km", False), ("10", "10월입니다", True),
    ("서울", "서울입니다", True),
])  # fmt: skip
def test_a_number_of_ones_own_facts_is_no_part_of_a_longer_one(tmp_path, answer, reply, right):
    write_jsonl(tmp_path / "facts.jsonl", [{"question": "How many?", "answer": answer}])
    assert is_known(known_rows(str(tmp_path / "facts.jsonl"))[-1], reply) is right


def test_facts_saved_on_windows_are_read_or_refused_with_the_way_out(tmp_path):
    text, file = '{"question": "수도는?", "answer": "서울"}\n', tmp_path / "facts.jsonl"
    file.write_text(text, encoding="utf-8-sig")
    assert known_rows(str(file))[-1]["answer"] == "서울"
    file.write_text(text, encoding="cp949")
    with pytest.raises(BadSetting, match="facts.jsonl is no UTF-8: save it so"):
        known_rows(str(file))
