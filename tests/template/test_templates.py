"""The labels of our own way (asking the template) against the marks of TRL's training twins: every twin that TRL
ships."""

import pytest

from helpers.template import spans
from helpers.template.chat import stop_ids
from tests.template.trl_templates import ORIGINALS, TWINS, tokenizer_of


def user(text):
    return {"role": "user", "content": text}


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


THOUGHT = said("It is 15.", reasoning_content="Seven and eight make fifteen.")
CONVERSATIONS = {
    "one turn": [user("What is 2 + 3?"), said("It is 5.")],
    "several turns": [user("Hello there."), said("Good day."), user("And now?"), said("Now we go on.")],
    "system": [{"role": "system", "content": "Answer briefly."}, user("Why is it blue?"), said("Light scatters.")],
    "thought": [user("What is 7 + 8?"), THOUGHT],
    "thoughts": [user("What is 7 + 8?"), THOUGHT, user("One more?"), said("Sixteen.", reasoning_content="15 and 1.")],
}
THINKS = ("<think>\n\n</think>\n\n", "<think>\n\n", "<think>\n", "<think></think>")
# What a twin marks more than we do, at the start of an answer: the generation prompt writes it at use, so nobody has to
# learn it (the role's header, an opened or an empty thought, the line end behind the header).
MORE = {
    "deepseek_r1_distill": ("<｜Assistant｜>",),
    "deepseekv3": ("<｜Assistant｜>",),
    "gptoss": ("<|start|>assistant",),
    "muse_glimmer": ("<|start|>assistant",),
    "qwen2_5": ("\n",),
    **dict.fromkeys(("nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra", "nemotron_3_5_lightning"), THINKS),
    **dict.fromkeys(("qwen3", "qwen3_5_think", "qwen3_5_nothink", "qwen3_6", "qwen3_8"), THINKS),
}
# These originals drop thoughts, or cut them off an answer: only the twin can show them.
HIDE_THOUGHTS = ("deepseek_r1_distill", "deepseekv3")


def learned(tokenizer, messages):
    text, found = spans.answer_spans(tokenizer, messages)
    return [text[start:end] for start, end in found]


@pytest.mark.parametrize("name", [name for name in TWINS if name in ORIGINALS])
def test_asking_the_template_finds_what_the_twin_marks(name, monkeypatch):
    tokenizer = tokenizer_of(name)
    twin = {}
    for kind, messages in CONVERSATIONS.items():
        if not ("thought" in kind and name in HIDE_THOUGHTS):
            twin[kind] = learned(tokenizer, messages)
    monkeypatch.setattr(spans, "training_template", lambda tokenizer: None)
    for kind, theirs in twin.items():
        ours = learned(tokenizer, CONVERSATIONS[kind])
        assert len(ours) == len(theirs) > 0
        for mine, marked in zip(ours, theirs, strict=True):
            assert marked.endswith(mine) and marked[: -len(mine)] in ("", *MORE.get(name, ())), (kind, mine, marked)


@pytest.mark.parametrize("name", HIDE_THOUGHTS)
def test_a_thought_that_the_template_hides_is_refused_with_a_sentence(name, monkeypatch):
    monkeypatch.setattr(spans, "training_template", lambda tokenizer: None)
    with pytest.raises(ValueError, match="The chat template changes the text of this conversation"):
        learned(tokenizer_of(name), CONVERSATIONS["thought"])


@pytest.mark.parametrize("name", sorted(set(ORIGINALS) - set(TWINS)))
def test_templates_without_a_twin_are_learned_or_refused_in_a_sentence(name):
    """The others that TRL ships: each answer is found whole with what ends its turn, or a sentence says why not."""
    tokenizer = tokenizer_of(name)
    try:
        found = learned(tokenizer, CONVERSATIONS["several turns"])
    except ValueError as told:
        assert str(told).startswith("The chat template ")
    else:
        assert ["Good day." in found[0], "Now we go on." in found[1]] == [True, True]
        assert not any("Hello" in text or "And now" in text for text in found)


# A control token with which a last answer ends in training, by kind of answer, where there is more than one
CALLS_END = {
    "gptoss": {"<|return|>", "<|call|>"},
    "glm4moe": {"<|user|>", "<|observation|>", "</s>"},
    "gemma4_v5": {"<turn|>", "<|tool_response>", "</s>"},
    "muse_glimmer": {"<|eot|>"},
    "qwen3": {"<|im_end|>", "</s>"},
}


@pytest.mark.parametrize("name", CALLS_END)
def test_a_reply_stops_where_an_answer_of_its_kind_ends(name):
    tokenizer = tokenizer_of(name)
    assert set(tokenizer.convert_ids_to_tokens(stop_ids(tokenizer))) == CALLS_END[name]


TOOL = {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": {
    "type": "object", "properties": {"town": {"type": "string", "description": "where"}}, "required": ["town"]}}}  # fmt: skip
CALL = {"id": "a1b2c3d4e", "type": "function", "function": {"name": "weather", "arguments": {"town": "Jeju"}}}
LAST = {
    "text": said("It is warm."),
    "thought": THOUGHT,
    "call": said("", tool_calls=[CALL]),
    "thought and call": said("", tool_calls=[CALL], reasoning_content="I have to look."),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_every_trained_answer_ends_with_a_stop_token_and_holds_none(name):
    """Cut at the first stop token, as a reply is, a trained answer must be whole: for each kind that the template
    takes."""
    tokenizer, seen = tokenizer_of(name), 0
    stops = stop_ids(tokenizer)
    for kind, answer in LAST.items():
        tools = [TOOL] if "call" in kind else ()
        try:
            text, found = spans.answer_spans(tokenizer, [user("How is the weather?"), answer], tools)
        except ValueError as told:
            assert str(told).startswith("The chat template ")
            continue
        ids = tokenizer(text[slice(*found[-1])].rstrip(), add_special_tokens=False).input_ids
        first = next((i for i, token in enumerate(ids) if token in stops), None)
        assert first is not None, kind
        assert not tokenizer.decode(ids[first:], skip_special_tokens=True).strip(), kind
        assert all(word in tokenizer.decode(ids[:first]) for word in (["Jeju"] if "call" in kind else [])), kind
        seen += 1
    assert seen
