"""Answer-only labels, for templates of every kind, and in the hands of the real trainer."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.data.labels import CONTEXT, collator, encode, encode_rows, judged_settings, require_green
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import PAD_TO, RunConfig
from helpers.template.chat import fold_system
from helpers.template.spans import training_template
from tests.data.test_prepare import messages
from tests.template.test_chat import TALK
from tests.template.tokenizer_kinds import KINDS, kind

TINY = RunConfig.load("tiny")
ENDS = {"inst": " </s>", "inst late system": "</s>", "no template": "</s>"}
letters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<[⟦▁") | st.sampled_from("가나 뷁🙂\n")
said = st.text(letters, min_size=1).map(str.strip).filter(bool)


def learned(tokenizer, row) -> str:
    return tokenizer.decode([label for label in row["labels"] if label != CONTEXT])


def wanted(name, messages) -> str:
    return "".join(turn["content"] + ENDS.get(name, "<|im_end|>") for turn in messages if turn["role"] == "assistant")


@pytest.mark.parametrize("name", KINDS)
def test_every_answer_and_its_end_is_learned_and_nothing_else(name):
    tokenizer = kind(name)
    row = encode(tokenizer, TALK, 10_000)
    assert learned(tokenizer, row).replace(" ", "") == wanted(name, TALK).replace(" ", "")
    assert all(label in (CONTEXT, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_the_tokens_are_those_of_apply_chat_template(name):
    tokenizer = kind(name)
    expected = tokenizer.apply_chat_template(fold_system(tokenizer, TALK), tokenize=True)["input_ids"]
    assert encode(tokenizer, TALK, 10_000)["input_ids"] == expected


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=40, deadline=None)
@given(questions=st.lists(said, min_size=1, max_size=3), answers=st.lists(said, min_size=3, max_size=3))
def test_any_text(name, questions, answers):
    """Whatever is said, the learned tokens spell the answers: each token's text, put together, is found there."""
    tokenizer = kind(name)
    talk = [turn for pair in zip(questions, answers, strict=False) for turn in messages(*pair)]
    row = encode(tokenizer, talk, 10_000)
    unknown = tokenizer.unk_token_id is not None and tokenizer.unk_token_id in row["input_ids"]
    assert unknown or "".join(learned(tokenizer, row).split()) == "".join(wanted(name, talk).split())


def test_marks_in_the_template_are_preferred():
    assert training_template(kind("marks")) == kind("marks").chat_template and training_template(kind("chatml")) is None
    tokenizer = kind("marks")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{% generation %}{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
    )
    assert "<|im_end|>" not in learned(tokenizer, encode(tokenizer, TALK, 10_000))


def test_without_answer_only_everything_is_learned():
    row = encode(kind("chatml"), TALK, 10_000, answer_only=False)
    assert row["labels"] == row["input_ids"]


def test_a_template_that_rewrites_answers_is_refused_for_those_rows_only():
    tokenizer = kind("forgets thinking")
    thinking = [dict(message) for message in TALK]
    thinking[2]["content"] = "<think>음</think>네."
    with pytest.raises(ValueError, match="The chat template changes the text of this conversation"):
        encode(tokenizer, thinking, 10_000)
    assert len(encode_rows([{"messages": thinking}, {"messages": TALK}], tokenizer, TINY)) == 1


def test_cut_to_max_length_and_left_out_when_nothing_is_left_to_learn():
    tokenizer = kind("chatml")
    assert len(encode(tokenizer, TALK, 20)["input_ids"]) == 20
    long_question = [{"role": "user", "content": "가" * 300}, TALK[2]]
    rows = encode_rows([{"messages": TALK}, {"messages": long_question}], tokenizer, TINY)
    assert rows.column_names == ["input_ids", "labels"] and len(rows) == 1
    assert len(encode_rows([], tokenizer, TINY)) == 0


def test_require_green():
    red = {
        "judged_for": judged_settings(TINY),
        "verdicts": [{"check": "end of turn not learned", "ok": False, "measured": "3 of 3 rows", "fix": "do this"}],
    }
    with pytest.raises(ValueError, match="end of turn not learned: 3 of 3 rows .do this.*allow_label_issues=True"):
        require_green(red, TINY)
    require_green(red, RunConfig.load("tiny", allow_label_issues=True))
    green = {**red, "verdicts": [{**red["verdicts"][0], "ok": True}]}
    require_green(green, TINY)
    for other in ({"max_length": 96}, {"answer_only_loss": False}, {"learn_thinking": "none"}, {"max_rows": 7}):
        why = f"judged for other settings .{next(iter(other))}.*run 03_data_preview.ipynb"
        with pytest.raises(ValueError, match=why):
            require_green(green, replace(TINY, **other))
    with pytest.raises(ValueError, match="judged for other settings"):
        require_green({"verdicts": green["verdicts"]}, TINY)


@pytest.fixture(scope="module")
def tiny(tiny_model):
    """The tiny model in 32 bits, its tokenizer, and 24 encoded conversations of very different length."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(TINY)
    rows = [{"messages": messages(f"{i}번 질문 " * (1 + i % 5), "네, " * (1 + i % 7))} for i in range(24)]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    return model, tokenizer, encode_rows(rows, tokenizer, TINY)


def trainer(tiny, folder, **settings):
    from trl import SFTConfig, SFTTrainer

    model, tokenizer, rows = tiny
    settings |= {"per_device_eval_batch_size": 4, "max_length": TINY.max_length, "pad_to_multiple_of": PAD_TO}
    arguments = SFTConfig(output_dir=str(folder), report_to="none", use_cpu=True, bf16=False, **settings)
    return SFTTrainer(model, arguments, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer)


def test_the_trainer_takes_the_rows_as_they_are(tiny, tmp_path):
    """What the X-ray shows is what SFTTrainer feeds: the same rows, by a collator of the same class and pad token."""
    ready = trainer(tiny, tmp_path)
    batch, ours = next(iter(ready.get_eval_dataloader())), collator(tiny[1])([tiny[2][i] for i in range(4)])
    assert set(batch) >= {"input_ids", "labels", "attention_mask"}
    for name in ("input_ids", "labels", "attention_mask"):
        assert batch[name].tolist() == ours[name].tolist()
    assert ready.data_collator == collator(tiny[1])


def test_packed_and_unpacked_held_out_loss_agree(tiny, tmp_path):
    """TRL's "bfd" packing keeps neighbours apart: the mean NLL per learned token is the same to 1e-3."""
    import torch

    found = {}
    for packing in (False, True):
        ready = trainer(tiny, tmp_path, packing=packing, eval_packing=packing)
        total = count = 0
        for batch in ready.get_eval_dataloader():
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}
            with torch.no_grad():
                logits = ready.model.eval()(**inputs).logits[:, :-1]
            labels = batch["labels"][:, 1:]
            real = labels != CONTEXT
            total += torch.nn.functional.cross_entropy(logits[real], labels[real], reduction="sum")
            count += real.sum()
        found[packing] = (total / count).item(), count.item(), len(ready.eval_dataset)
    assert found[True][2] < found[False][2], "nothing was packed"
    assert found[True][1] == found[False][1], "packing changed which tokens are learned"
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-3)
