import pytest
import torch

from helpers.evaluate.generation import cut_reply, generate_replies, left_padded, prompts_and_references
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig
from helpers.template.chat import prompt_ids, render


@pytest.fixture(scope="module")
def tiny(tiny_model):
    """The tiny model, made talkative, in float32, where batching changes no digit that matters; and its tokenizer."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(RunConfig.load("tiny"))
    model.lm_head.weight.data[tokenizer.eos_token_id] = 0  # it hardly ever stops
    return model, tokenizer


def user(text):
    return [{"role": "user", "content": text}]


PROMPTS = [
    user("오늘 학교에서"),
    user("친구"),
    user("어제 저녁에 시장에서 할머니가 무엇을 샀는지 알려 주세요."),
    user("빵"),
]


def test_batched_greedy_is_single_greedy(tiny):
    together = generate_replies(*tiny, PROMPTS, 24, batch_size=4)
    alone = [generate_replies(*tiny, [prompt], 24)[0] for prompt in PROMPTS]
    assert [reply.token_ids for reply in together] == [reply.token_ids for reply in alone]
    assert sum(len(reply.token_ids) for reply in alone) > 60, "the model said too little to compare"


def test_greedy_is_the_most_likely_token_each_time(tiny):
    model, tokenizer = tiny
    reply = generate_replies(model, tokenizer, PROMPTS[:1], 12)[0]
    ids = prompt_ids(tokenizer, PROMPTS[0])
    for token in reply.token_ids:
        with torch.inference_mode():
            assert model(torch.tensor([ids])).logits[0, -1].argmax().item() == token
        ids.append(token)


def test_a_models_own_settings_change_nothing(tiny):
    model, tokenizer = tiny
    before = generate_replies(model, tokenizer, PROMPTS, 16)
    saved = model.generation_config.to_dict()
    try:
        model.generation_config.update(repetition_penalty=9.0, do_sample=True, temperature=0.6, top_p=0.9)
        assert generate_replies(model, tokenizer, PROMPTS, 16) == before
    finally:
        model.generation_config = type(model.generation_config).from_dict(saved)


def test_sampling_shares_its_seed(tiny):
    def sample(seed):
        return generate_replies(*tiny, PROMPTS, 16, sampling={"temperature": 1.5}, seed=seed)

    assert sample(1) == sample(1) != sample(2)


def test_drawn_replies_of_two_models_differ_only_where_the_models_do(tiny):
    """Nearly the same model with the same random numbers says the same; with other numbers it does not."""
    import copy

    model, tokenizer = tiny
    near = copy.deepcopy(model)
    near.lm_head.weight.data.mul_(1 + 1e-5)
    drawn = {"sampling": {"temperature": 1.0, "top_p": 0.95}}
    first = generate_replies(model, tokenizer, PROMPTS, 16, **drawn, seed=1)
    assert generate_replies(near, tokenizer, PROMPTS, 16, **drawn, seed=1) == first
    assert generate_replies(near, tokenizer, PROMPTS, 16, **drawn, seed=2) != first


def test_sampling_leaves_the_random_state_alone(tiny):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    generate_replies(*tiny, PROMPTS[:1], 4, sampling={})
    assert torch.rand(1) == expected


def test_the_reply_is_cut_at_the_first_stop(tiny):
    tokenizer = tiny[1]
    stop = tokenizer.eos_token_id
    said = tokenizer("빵", add_special_tokens=False).input_ids
    stopped = cut_reply([*said, stop, stop, 5], tokenizer, [stop], 3)
    assert stopped.token_ids == tuple(said) and stopped.stopped and stopped.text == "빵"
    assert not cut_reply(said, tokenizer, [stop], 3).stopped


def test_padding_is_on_the_left():
    padded = left_padded([[1, 2, 3], [9]], 0, "cpu")
    assert padded["input_ids"].tolist() == [[1, 2, 3], [0, 0, 9]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_what_is_asked_and_what_a_person_answered():
    answer = {"role": "assistant", "content": "a"}
    rows = [{"messages": [*user("1"), answer, *user("2"), {**answer, "content": "b"}]}, {"messages": user("alone")}]
    prompts, references = prompts_and_references(rows)
    assert references == ["b"] and [turn["content"] for turn in prompts[0]] == ["1", "a", "2"]
    assert prompts_and_references(rows * 3, count=2)[1] == ["b", "b"]


def test_a_reply_ends_where_the_models_positions_end(tiny, monkeypatch):
    model, tokenizer = tiny
    longest = max(len(prompt_ids(tokenizer, prompt)) for prompt in PROMPTS)
    monkeypatch.setattr(model.config, "max_position_embeddings", longest + 3)
    replies = generate_replies(model, tokenizer, PROMPTS, 24, batch_size=4)
    assert max(len(reply.token_ids) for reply in replies) == 3
    monkeypatch.setattr(model.config, "max_position_embeddings", longest)
    with pytest.raises(
        ValueError, match=rf"A prompt of {longest} tokens leaves no room for a reply: .* {longest} tokens"
    ):
        generate_replies(model, tokenizer, PROMPTS, 24)


OPENS = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + eos_token }}{% endfor %}"
OPENS += "{% for tool in tools or [] %}{{ tool['function']['name'] }}{% endfor %}"
OPENS += "{% if add_generation_prompt %}{{ '<assistant><think>\n' }}{% endif %}"


@pytest.fixture
def thinker(tiny):
    """The tiny model asked by a template that opens a thought and shows the tools."""
    import copy

    tokenizer = copy.deepcopy(tiny[1])
    tokenizer.chat_template = OPENS
    return tiny[0], tokenizer


def test_a_reply_that_never_leaves_its_thought_is_no_answer(thinker):
    reply = generate_replies(*thinker, PROMPTS[:1], 12)[0]
    assert reply.in_thought and reply.text == "" and len(reply.token_ids) == 12
    assert reply.thought and reply.told == "(cut inside the thought)"


def test_a_thought_that_the_prompt_opened_ends_and_the_answer_is_alone(thinker):
    tokenizer = thinker[1]
    stop = tokenizer.eos_token_id
    ids = tokenizer("하나 둘</think>\n셋이에요.", add_special_tokens=False).input_ids
    asked = render(tokenizer, PROMPTS[0], add_generation_prompt=True)
    reply = cut_reply([*ids, stop], tokenizer, [stop], 3, asked)
    assert (reply.thought, reply.text, reply.stopped, reply.in_thought) == ("하나 둘", "셋이에요.", True, False)
    assert reply.token_ids == tuple(ids)
    assert reply.answer_ids == tuple(tokenizer("셋이에요.", add_special_tokens=False).input_ids)
    plain = cut_reply([*ids, stop], tokenizer, [stop], 3)  # the same reply where no thought was opened
    assert plain.thought == "" and plain.text == "하나 둘</think>\n셋이에요."
    assert cut_reply([*ids[:2], stop], tokenizer, [stop], 3, asked).told == "(stopped inside the thought)"


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": {"town": "제주"}}}


def test_a_prompt_is_asked_with_its_tools(thinker):
    rows = [
        {"messages": [*PROMPTS[0], {"role": "assistant", "content": "네"}], "tools": TOOLS},
        {"messages": PROMPTS[1]},
    ]
    prompts, _ = prompts_and_references(rows)
    assert [prompt.tools for prompt in prompts] == [TOOLS]
    with_tools, without = generate_replies(*thinker, [prompts[0], PROMPTS[0]], 2)
    more = len(thinker[1]("weather", add_special_tokens=False).input_ids)
    assert with_tools.prompt_tokens == len(prompt_ids(thinker[1], PROMPTS[0], TOOLS)) == without.prompt_tokens + more


def test_references_are_answers_without_thoughts_and_calls_as_the_template_writes_them():
    from tests.template.trl_templates import tokenizer_of

    think = {"role": "assistant", "content": "<think>\n생각\n</think>\n\n답"}
    field = {"role": "assistant", "content": "답", "reasoning_content": "생각"}
    call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    rows = [{"messages": [*user("1"), answer], "tools": TOOLS} for answer in (think, field, call)]
    references = prompts_and_references(rows, tokenizer=tokenizer_of("qwen3"))[1]
    assert references[:2] == ["답", "답"]
    assert references[2] == '<tool_call>\n{"name": "weather", "arguments": {"town": "제주"}}\n</tool_call>'
