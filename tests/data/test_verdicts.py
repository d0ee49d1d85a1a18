"""Every verdict is turned red by labels broken on purpose, and is green on their healthy twin."""

import json
from dataclasses import replace

import pytest

from helpers.data.checks import ROW_CHECKS, Check, Row, Special
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


def in_the_rows(change, rows=1):
    """A fault in the encoding of the first rows: `change(ids, labels, tokenizer)` gives the new ids and labels."""

    def fault(case):
        for row in case["encoded"][:rows]:
            row["input_ids"], row["labels"] = change(row["input_ids"], row["labels"], case["tokenizer"])

    return fault


def in_the_labels(change, rows=1):
    """A fault in the labels alone: `change(labels)`."""
    return in_the_rows(lambda ids, labels, tokenizer: (ids, change(labels)), rows)


def places(labels):
    return [i for i, label in enumerate(labels) if label != CONTEXT]


def one_place_late(ids, labels, tokenizer):
    shown = [False, *[label != CONTEXT for label in labels][:-1]]
    return ids, [token if show else CONTEXT for token, show in zip(ids, shown, strict=True)]


def refused_by_the_template(case):
    case["encoded"][:2] = [None, None]


def max_length_inside_the_answers(case):
    lengths = sorted(len(row["input_ids"]) for row in case["encoded"])
    case["config"] = replace(CONFIG, max_length=lengths[len(lengths) // 2] - 5)


def generation_prompt_says_more(case):
    case["tokenizer"].chat_template += "{% if add_generation_prompt %}{{ 'Answer!' }}{% endif %}"


def eos_said_by_the_user(case):
    first = case["rows"][0]["messages"]
    said = [{**message, "content": message["content"] + case["tokenizer"].eos_token} for message in first]
    case["rows"] = [{"messages": said}, *case["rows"][1:]]


def role_token_said_by_the_user(case):
    case["rows"] = [{"messages": [{"role": "user", "content": "a <usr> b"}, {"role": "assistant", "content": "네."}]}]


def eos_in_a_thought(case):
    *asked, answer = case["rows"][0]["messages"]
    thinking = answer | {"reasoning_content": f"생각 하나{case['tokenizer'].eos_token} 그리고"}
    case["rows"] = [{"messages": [*asked, thinking]}, *case["rows"][1:]]


FAULTS = {
    "loss on everything": in_the_rows(lambda ids, labels, tokenizer: (ids, [*ids]), 60),
    "nothing learned": in_the_labels(lambda labels: [CONTEXT] * len(labels), 60),
    "refused by the template": refused_by_the_template,
    "empty mask": in_the_labels(lambda labels: [CONTEXT] * len(labels), 2),
    "max_length inside the answers": max_length_inside_the_answers,
    "first tokens of the answers masked": in_the_labels(lambda labels: [CONTEXT if i in places(labels)[:4] else label for i, label in enumerate(labels)]),
    "labels one place late": in_the_rows(one_place_late, 60),
    "labels shifted by one": in_the_labels(lambda labels: [*labels[1:], CONTEXT]),
    "one label of another token": in_the_labels(lambda labels: [label + (i == places(labels)[0]) for i, label in enumerate(labels)]),
    "one label too many": in_the_labels(lambda labels: [*labels, CONTEXT]),
    "one label too few": in_the_labels(lambda labels: labels[1:]),
    "context by another number": in_the_labels(lambda labels: [-1 if label == CONTEXT else label for label in labels], 60),
    "EOS masked as padding": in_the_rows(lambda ids, labels, tokenizer: (ids, [CONTEXT if label == tokenizer.eos_token_id else label for label in labels])),
    "BOS added by the tokenizer too": in_the_rows(lambda ids, labels, tokenizer: ([tokenizer.bos_token_id, *ids], [CONTEXT, *labels])),
    "BOS forgotten": in_the_rows(lambda ids, labels, tokenizer: (ids[1:], labels[1:])),
    "generation prompt says more": generation_prompt_says_more,
    "EOS said by the user": eos_said_by_the_user,
    "role token said by the user": role_token_said_by_the_user,
    "EOS in a thought": eos_in_a_thought,
    "unknown token": in_the_rows(lambda ids, labels, tokenizer: ([*ids[:-4], tokenizer.unk_token_id, *ids[-3:]], labels)),
}  # fmt: skip
BREAKS = [
    ("loss on everything", Check.SHARE),
    ("loss on everything", "user text learned"),
    ("nothing learned", Check.SHARE),
    ("refused by the template", "template changes the text"),
    ("empty mask", "nothing to learn"),
    ("max_length inside the answers", "answer cut off by max_length"),
    ("max_length inside the answers", "longer than max_length"),
    ("first tokens of the answers masked", "answer not learned"),
    ("labels one place late", "answer not learned"),
    ("labels shifted by one", "label of another place"),
    ("one label of another token", "label of another place"),
    ("one label too many", "label of another place"),
    ("one label too few", "label of another place"),
    ("context by another number", "label of another place"),
    ("EOS masked as padding", "end of turn not learned"),
    ("BOS added by the tokenizer too", "BOS missing or twice"),
    ("BOS forgotten", "BOS missing or twice"),
    ("generation prompt says more", "asked otherwise than trained"),
    ("EOS said by the user", "control token inside the text"),
    ("role token said by the user", "control token inside the text"),
    ("EOS in a thought", "control token inside the text"),
    ("unknown token", "unknown characters"),
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


@pytest.mark.parametrize(("name", "fault", "check"), CASES)
def test_a_fault_turns_its_verdict_red(name, fault, check):
    tokenizer = kind(name)
    case = {"tokenizer": tokenizer, "rows": ROWS, "encoded": list(encoded(ROWS, tokenizer)), "config": CONFIG}
    FAULTS[fault](case)
    if case["rows"] is not ROWS:
        case["encoded"] = list(encoded(case["rows"], tokenizer))
    assert check in red(judge(case["rows"], case["encoded"], tokenizer, case["config"])["verdicts"])


def test_every_verdict_has_a_fault():
    assert {check for _, check in BREAKS} >= {*ROW_CHECKS, Check.SHARE, Check.TEMPLATE, Check.NOTHING, Check.ASKED}
    assert {check for _, _, check in CASES} == {check for _, check in BREAKS}
    assert {fault for fault, _ in BREAKS} == FAULTS.keys()


@pytest.mark.parametrize("arguments", [{"q": "가{}나"}, {"q": {"at": [1, "가{}나"]}}, {"{}": None}])
def test_a_control_token_in_a_tool_call_is_seen(arguments):
    tokenizer = kind("chatml")
    for said in (tokenizer.eos_token, "<usr>", "끝"):
        filled = json.loads(json.dumps(arguments).replace("{}", said))
        call = {"type": "function", "function": {"name": "look", "arguments": filled}}
        messages = [*ROWS[0]["messages"][:-1], {"role": "assistant", "content": "", "tool_calls": [call]}]
        row = Row(messages, {}, [], [], tokenizer, Special.of(tokenizer), CONFIG)
        assert row.has_control == (said != "끝")


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
