"""Every verdict is turned red by labels broken on purpose, and is green on their healthy twin."""

from dataclasses import replace

import pytest

from helpers.data.checks import ROW_CHECKS, Check
from helpers.data.formats import Format, convert
from helpers.data.labels import CONTEXT, encoded
from helpers.data.verdicts import inspect, judge
from helpers.files import read_jsonl
from helpers.settings import RunConfig
from tests.conftest import ROOT
from tests.template.tokenizer_kinds import KINDS, kind

CONFIG = RunConfig.load("tiny", max_length=600)
SAMPLE = read_jsonl(ROOT / "notebooks/data/sample_ko_instructions.jsonl")
ROWS = [{"messages": convert(row, Format("open-korean-instructions", ("text",))).messages} for row in SAMPLE[:60]]


def loss_on_everything(case):
    for row in case["encoded"]:
        row["labels"] = list(row["input_ids"])


def nothing_learned(case):
    for row in case["encoded"]:
        row["labels"] = [CONTEXT] * len(row["labels"])


def refused_by_the_template(case):
    case["encoded"][:2] = [None, None]


def empty_mask(case):
    for row in case["encoded"][:2]:
        row["labels"] = [CONTEXT] * len(row["labels"])


def max_length_inside_the_answers(case):
    lengths = sorted(len(row["input_ids"]) for row in case["encoded"])
    case["config"] = replace(CONFIG, max_length=lengths[len(lengths) // 2] - 5)


def first_tokens_of_the_answers_masked(case):
    for row in case["encoded"][:1]:
        learned = [i for i, label in enumerate(row["labels"]) if label != CONTEXT]
        for i in learned[:4]:
            row["labels"][i] = CONTEXT


def labels_one_place_late(case):
    for row in case["encoded"]:
        shown = [CONTEXT, *[label != CONTEXT for label in row["labels"]][:-1]]
        row["labels"] = [
            token if show is True else CONTEXT for token, show in zip(row["input_ids"], shown, strict=True)
        ]


def labels_shifted_by_one(case):
    for row in case["encoded"][:1]:
        row["labels"] = [*row["labels"][1:], CONTEXT]


def one_label_of_another_token(case):
    labels = case["encoded"][0]["labels"]
    place = next(i for i, label in enumerate(labels) if label != CONTEXT)
    case["encoded"][0]["labels"] = [label + 1 if i == place else label for i, label in enumerate(labels)]


def eos_masked_as_padding(case):
    for row in case["encoded"][:1]:
        pad = case["tokenizer"].eos_token_id
        row["labels"] = [CONTEXT if label == pad else label for label in row["labels"]]


def bos_added_by_the_tokenizer_too(case):
    for row in case["encoded"][:1]:
        row["input_ids"] = [case["tokenizer"].bos_token_id, *row["input_ids"]]
        row["labels"] = [CONTEXT, *row["labels"]]


def bos_forgotten(case):
    for row in case["encoded"][:1]:
        row["input_ids"], row["labels"] = row["input_ids"][1:], row["labels"][1:]


def generation_prompt_says_more(case):
    case["tokenizer"].chat_template += "{% if add_generation_prompt %}{{ 'Answer!' }}{% endif %}"


def one_label_too_many(case):
    case["encoded"][0]["labels"].append(CONTEXT)


def one_label_too_few(case):
    case["encoded"][0]["labels"].pop(0)


def context_by_another_number(case):
    for row in case["encoded"]:
        row["labels"] = [-1 if label == CONTEXT else label for label in row["labels"]]


def eos_said_by_the_user(case):
    first = case["rows"][0]["messages"]
    said = [{**message, "content": message["content"] + case["tokenizer"].eos_token} for message in first]
    case["rows"] = [{"messages": said}, *case["rows"][1:]]


def role_token_said_by_the_user(case):
    case["rows"] = [{"messages": [{"role": "user", "content": "a <usr> b"}, {"role": "assistant", "content": "네."}]}]


def unknown_token(case):
    for row in case["encoded"][:1]:
        row["input_ids"][-4] = case["tokenizer"].unk_token_id


BREAKS = [
    (loss_on_everything, Check.SHARE),
    (loss_on_everything, "user text learned"),
    (nothing_learned, Check.SHARE),
    (refused_by_the_template, "template changes the text"),
    (empty_mask, "nothing to learn"),
    (max_length_inside_the_answers, "answer cut off by max_length"),
    (max_length_inside_the_answers, "longer than max_length"),
    (first_tokens_of_the_answers_masked, "answer not learned"),
    (labels_one_place_late, "answer not learned"),
    (labels_shifted_by_one, "label of another place"),
    (one_label_of_another_token, "label of another place"),
    (one_label_too_many, "label of another place"),
    (one_label_too_few, "label of another place"),
    (context_by_another_number, "label of another place"),
    (eos_masked_as_padding, "end of turn not learned"),
    (bos_added_by_the_tokenizer_too, "BOS missing or twice"),
    (bos_forgotten, "BOS missing or twice"),
    (generation_prompt_says_more, "asked otherwise than trained"),
    (eos_said_by_the_user, "control token inside the text"),
    (role_token_said_by_the_user, "control token inside the text"),
    (unknown_token, "unknown characters"),
]


def red(verdicts: list[dict]) -> set[str]:
    return {verdict["check"] for verdict in verdicts if not verdict["ok"]}


@pytest.mark.parametrize("name", KINDS)
def test_the_healthy_twin_is_green(name):
    tokenizer = kind(name)
    assert red(judge(ROWS, encoded(ROWS, tokenizer), tokenizer, CONFIG)["verdicts"]) == set()


def possible(name: str, check: str) -> bool:
    """A tokenizer without a BOS or an unknown token cannot have the fault."""
    needs = {"BOS missing or twice": "bos_token", "unknown characters": "unk_token"}
    return check not in needs or getattr(kind(name), needs[check]) is not None


FOUR = ["inst", "chatml", "no template", "marks"]
CASES = [(name, fault, check) for name in FOUR for fault, check in BREAKS if possible(name, check)]


@pytest.mark.parametrize(("name", "fault", "check"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_turns_its_verdict_red(name, fault, check):
    tokenizer = kind(name)
    case = {"tokenizer": tokenizer, "rows": ROWS, "encoded": list(encoded(ROWS, tokenizer)), "config": CONFIG}
    fault(case)
    if case["rows"] is not ROWS:
        case["encoded"] = list(encoded(case["rows"], tokenizer))
    assert check in red(judge(case["rows"], case["encoded"], tokenizer, case["config"])["verdicts"])


def test_every_verdict_has_a_fault():
    assert {check for _, check in BREAKS} >= {*ROW_CHECKS, Check.SHARE, Check.TEMPLATE, Check.NOTHING, Check.ASKED}
    assert {check for _, _, check in CASES} == {check for _, check in BREAKS}


def test_a_template_without_an_end_of_turn_is_red():
    tokenizer = kind("no ending")
    assert red(judge(ROWS, encoded(ROWS, tokenizer), tokenizer, CONFIG)["verdicts"]) == {"end of turn not learned"}


def test_loss_on_everything_is_green_when_asked_for():
    tokenizer, config = kind("chatml"), replace(CONFIG, answer_only_loss=False)
    assert red(inspect(ROWS[:40], ROWS[40:], tokenizer, config)["verdicts"]) == set()


def test_a_training_row_among_the_held_out_ones_is_red():
    tokenizer = kind("chatml")
    nearly = [{**message, "content": message["content"] + " !"} for message in ROWS[3]["messages"]]
    assert red(inspect(ROWS[:40], ROWS[40:], tokenizer, CONFIG)["verdicts"]) == set()
    found = inspect(ROWS[:40], [*ROWS[40:], {"messages": nearly}], tokenizer, CONFIG)
    assert red(found["verdicts"]) == {"held out and trained on"}


def test_rows_longer_than_the_models_positions_are_red(tiny_model):
    long = {"messages": [{"role": "user", "content": "물"}, {"role": "assistant", "content": "물 " * 2100}]}
    for length, expected in ((2048, set()), (4096, {"longer than the model reads"})):  # the tiny model has 2048
        found = inspect(ROWS + [long], ROWS[:0], kind("chatml"), replace(CONFIG, max_length=length))
        assert red(found["verdicts"]) & {"longer than the model reads"} == expected


def test_figures_and_lengths():
    tokenizer = kind("inst")
    found = inspect(ROWS[:40], ROWS[40:], tokenizer, CONFIG)
    lengths = [len(row["input_ids"]) for row in encoded(ROWS, tokenizer)]
    assert found["lengths"] == lengths[:40] and found["numbers"]["tokens"] == sum(lengths)
    assert found["numbers"]["tokens in the longest row"] == max(lengths)
    assert 0 < found["numbers"]["tokens that are only a part of a character, %"] < 100
