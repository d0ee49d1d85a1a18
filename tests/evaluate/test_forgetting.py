"""What was forgotten: the texts, the rows made of them, and what is said about a loss."""

import re

import pytest

from helpers.data.copies import overlap
from helpers.data.formats import convert, recognise
from helpers.evaluate.forgetting import (
    FEW,
    LONGEST,
    forgetting_table,
    forgotten,
    general_questions,
    general_replies,
    general_rows,
    general_texts,
    score_base,
    won_and_lost,
)
from helpers.evaluate.generation import generate_replies
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.evaluate.prompts import FIXED_PROMPTS
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.settings import RunConfig


def test_the_texts_are_enough_in_both_languages_and_none_is_in_the_training_data():
    texts = general_texts()
    spoken = [text["language"] for text in texts]
    assert len(texts) >= 60 and min(spoken.count("ko"), spoken.count("en")) >= 30 and set(spoken) == {"ko", "en"}
    assert len(general_questions()) == 10 and len({str(text) for text in texts}) == len(texts)
    assert {text["language"] for text in texts if text.get("ask")} == {"ko", "en"}
    for path in (PROJECT_ROOT / "notebooks" / "data").glob("*.jsonl"):
        if path.name != "general.jsonl":
            rows = read_jsonl(path)
            taught = [convert(row, recognise(rows[:50])).messages for row in rows]
            asked = [
                [{"role": "user", "content": text.get("question", text.get("text"))}, {"role": "assistant", "content": text.get("answer", text.get("text"))}]
                for text in texts
            ]  # fmt: skip
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
    answers = {"base": generate_replies(model, tokenizer, general_questions(), FEW)}
    assert [list(row) for row in general_replies(answers)] == [["question", "base"]] * 10


def scores(ko: float, en: float, noise: float = 0.01) -> Scores:
    """Every text 10 tokens; the shift in nats per token by language, with a little noise."""
    spoken = [text["language"] for text in general_texts()]
    shift = {"ko": ko, "en": en}
    nll = [20 + 10 * (shift[own] + noise * (-1) ** (i // 2)) for i, own in enumerate(spoken)]
    return Scores(nll, [10] * len(spoken))


WON = [
    {
        "model": "adapter",
        "number": "NLL per token",
        "verdict": "better",
        "difference": -1.2,
        "low": -1.3,
        "high": -1.1,
        "rows": 48,
    }
]


@pytest.mark.parametrize(
    ("ko", "en", "said"),
    [
        (0.0, 0.0, r"Lost: nothing that matters on general text\."),
        (0.0, 0.3, "Lost: general text, English \\+0.30"),
        (-0.4, 0.3, "Lost: general text, English .* Won as well: general text, Korean -0.40"),
        (0.2, 0.3, "Lost: general text, Korean .* and English \\+0.30"),
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
