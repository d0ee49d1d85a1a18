"""Thought and answer apart: every template that TRL ships, by its signs and by the library's response templates."""

import copy
from types import SimpleNamespace

import pytest

from helpers.data.verdicts import asked_otherwise
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig
from helpers.template.chat import Prompt, render
from helpers.template.spans import answer_spans
from helpers.template.thoughts import ParsedReply, opens_a_thought, parse_reply, thought_signs, without_open_thought
from tests.template.test_templates import CALL, TOOL, said, user
from tests.template.tokenizer_kinds import kind
from tests.template.trl_templates import ORIGINALS, tokenizer_of

THOUGHT, ANSWER = "Seven, eight: count on.", "It is 15."
THINKS = said(ANSWER, reasoning_content=THOUGHT)
OPEN = {"deepseek_r1_distill", "deepseekv3", "qwen3_5_think", "qwen3_6", "qwen3_8"} | {
    f"nemotron_3_{name}" for name in ("nano", "super", "ultra", "5_lightning")
}


def written(tokenizer, answer, tools=()):
    """(what is asked, what a model has to write behind it, the token that ends the turn left out)"""
    asked = Prompt([user("What is 7 + 8?")], tools)
    text, found = answer_spans(tokenizer, [*asked, answer], tools)
    prompt = render(tokenizer, asked, add_generation_prompt=True)
    return prompt, text[len(prompt) if text.startswith(prompt) else found[-1][0] : found[-1][1]]


@pytest.mark.parametrize("name", sorted(set(ORIGINALS) - {"deepseekv3"}))  # it hides thoughts, and TRL's twin as well
def test_a_trained_reply_comes_apart(name):
    tokenizer = tokenizer_of(name)
    prompt, text = written(tokenizer, THINKS)
    assert parse_reply(tokenizer, text, prompt) == ParsedReply(THOUGHT, ANSWER, False)
    if name not in OPEN - {"qwen3_5_think", "qwen3_6", "qwen3_8"}:
        prompt, text = written(tokenizer, said(ANSWER))
        assert parse_reply(tokenizer, text, prompt) == ParsedReply("", ANSWER, False)


@pytest.mark.parametrize("name", sorted(set(ORIGINALS) - {"deepseekv3"}))
def test_a_reply_that_was_cut_anywhere_never_shows_its_thought_as_the_answer(name):
    tokenizer = tokenizer_of(name)
    prompt, text = written(tokenizer, THINKS)
    closed = text.index(THOUGHT) + len(THOUGHT)
    for end in range(1, len(text)):
        found = parse_reply(tokenizer, text[:end], prompt)
        assert not any(word in found.answer for word in ("Sev", "count", "think", "analysis", "self")), text[:end]
        if text.index(THOUGHT) <= end <= closed:
            assert found.unfinished and not found.answer and THOUGHT.startswith(found.thought)


@pytest.mark.parametrize("name", ORIGINALS)
def test_which_templates_open_a_thought(name):
    tokenizer = tokenizer_of(name)
    prompt = render(tokenizer, [user("What does <think> mean? <think>")], add_generation_prompt=True)
    assert bool(opens_a_thought(tokenizer, prompt)) == (name in OPEN)


def response_template(name):
    from trl.chat_template_utils import add_response_schema

    return add_response_schema(SimpleNamespace(chat_template=tokenizer_of(name).chat_template)).response_template


@pytest.fixture(params=["qwen3", "qwen3_5_think", "gptoss", "glm4moe", "gemma4_v5", "llama3_1", "lfm2_2_5"])
def with_response_template(request):
    """A tokenizer that brings its own response template, as TRL writes it for this chat template."""
    tokenizer = tokenizer_of(request.param)
    tokenizer.response_template = response_template(request.param)
    yield tokenizer
    del tokenizer.response_template


def test_the_library_s_parser_and_the_signs_agree(with_response_template):
    tokenizer = with_response_template
    for answer in (THINKS, said(ANSWER)):
        prompt, text = written(tokenizer, answer)
        assert parse_reply(tokenizer, text, prompt) == ParsedReply(answer.get("reasoning_content", ""), ANSWER, False)
    prompt, text = written(tokenizer, THINKS)
    for end in range(text.index(THOUGHT) + 1, text.index(THOUGHT) + len(THOUGHT)):
        assert parse_reply(tokenizer, text[:end], prompt).unfinished
    prompt, text = written(tokenizer, said("", tool_calls=[CALL]), [TOOL])
    assert parse_reply(tokenizer, text, prompt) == ParsedReply(
        "", '{"name": "weather", "arguments": {"town": "Jeju"}}', False
    )


def test_a_call_that_the_parser_cannot_read_is_shown_as_it_was_written():
    tokenizer = tokenizer_of("qwen3")
    tokenizer.response_template = response_template("qwen3")
    try:
        prompt = render(tokenizer, [user("?")], add_generation_prompt=True)
        found = parse_reply(tokenizer, '<think>\nA\n</think>\n\n<tool_call>\n{"name": oops}\n</tool_call>', prompt)
    finally:
        del tokenizer.response_template
    assert found.thought == "A" and "oops" in found.answer


def test_thoughts_of_a_template_that_knows_none():
    """The data wrote <think> into the answers: the model has learned to, and the reply comes apart all the same."""
    tokenizer = kind("chatml")
    assert [signs.opens for signs in thought_signs(tokenizer)] == ["<think>"]
    assert parse_reply(tokenizer, "<think>\nA\n</think>\n\nB", "") == ParsedReply("A", "B", False)
    assert parse_reply(tokenizer, "B says: <think> is a tag.", "") == ParsedReply(
        "", "B says: <think> is a tag.", False
    )
    assert parse_reply(tokenizer, "", "") == ParsedReply("", "", False)


def test_several_thoughts_in_a_row():
    tokenizer = tokenizer_of("gptoss")
    think = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant"
    text = think.format("A") + think.format("B") + "<|channel|>final<|message|>C"
    assert parse_reply(tokenizer, text, "<|start|>assistant") == ParsedReply("A\nB", "C", False)
    assert parse_reply(
        tokenizer, think.format("A") + think.format("B").partition("<|end|>")[0], "<|start|>assistant"
    ) == ParsedReply("A\nB", "", True)


@pytest.mark.parametrize("name", sorted(OPEN))
def test_data_without_thoughts_is_asked_as_it_was_trained(name):
    """03 names the fault and the setting; with it, the prompt is how the trained text begins."""
    tokenizer = copy.deepcopy(tokenizer_of(name))
    talk = [user("What is 7 + 8?"), said(ANSWER), user("And 1 more?"), said("Sixteen.")]
    before = asked_otherwise({"messages": talk}, tokenizer)
    assert ('chat_template="no-thought"' in before) == (name not in ("qwen3_5_think", "qwen3_6", "qwen3_8")), before
    trained = render(tokenizer, talk)
    tokenizer.chat_template = without_open_thought(tokenizer)
    assert render(tokenizer, talk) == trained
    assert trained.startswith(render(tokenizer, talk[:3], add_generation_prompt=True))
    assert asked_otherwise({"messages": talk}, tokenizer) == ""
    with pytest.raises(ValueError, match="opens no thought. Leave chat_template empty"):
        without_open_thought(tokenizer)


def test_the_chosen_template_travels_with_the_adapter(tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}", encoding="utf-8")
    config = RunConfig.load("tiny", chat_template=str(file))
    load_tokenizer(config).save_pretrained(tmp_path / "adapter")
    later = load_tokenizer(RunConfig.load("tiny"), source=str(tmp_path / "adapter"))
    assert later.chat_template == file.read_text(encoding="utf-8")
    file.unlink()
    assert load_tokenizer(config, source=str(tmp_path / "adapter")).chat_template == later.chat_template
    with pytest.raises(ValueError, match="chat_template='.*mine.jinja' is no file here"):
        load_tokenizer(config)
    with pytest.raises(ValueError, match="the model's template opens no thought"):
        load_tokenizer(RunConfig.load("tiny", chat_template="no-thought"))
