import copy

import pytest
import torch

from helpers.evaluate.decoding import PromptTooLong, Sampling
from helpers.evaluate.generation import cut_reply, generate_replies, prompts_and_references, shown
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


PROMPTS = [*map(user, ("오늘 학교에서", "친구", "어제 저녁에 시장에서 할머니가 무엇을 샀는지 알려 주세요.", "빵"))]


def test_batched_greedy_is_single_greedy(tiny):
    together = generate_replies(*tiny, PROMPTS, 24)
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


OWN = {
    "drawn": {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    "repeats": {"repetition_penalty": 9.0, "no_repeat_ngram_size": 2, "encoder_repetition_penalty": 3.0},
    "length": {"min_new_tokens": 14, "exponential_decay_length_penalty": (2, 3.0), "max_time": 1e-6},
    "search": {"num_beams": 3, "penalty_alpha": 0.6, "guidance_scale": 3.0},
    "words": {"stop_strings": ["요"], "forced_bos_token_id": 300, "max_time": 0.001, "prefix_allowed_tokens_fn": None},
    "output": {"return_dict_in_generate": True, "output_scores": True, "num_return_sequences": 2},
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_models_own_settings_change_nothing(tiny, kind, wrapped):
    """Base and adapter had them, the merged folder had not: two decoders were compared."""
    from peft import LoraConfig, get_peft_model
    from transformers import GenerationConfig

    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    before = generate_replies(model, tokenizer, PROMPTS[:2], 16)
    model.generation_config = own = GenerationConfig()
    for name, value in OWN[kind].items():
        setattr(own, name, value)
    model = get_peft_model(model, LoraConfig(r=1)) if wrapped else model
    assert generate_replies(model, tokenizer, PROMPTS[:2], 16) == before and model.generation_config is own


def test_what_the_model_can_never_say_belongs_to_it(tiny):
    from transformers import GenerationConfig

    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    said = generate_replies(model, tokenizer, PROMPTS[:1], 8)[0].token_ids
    bias = {"sequence_bias": [[[said[0]], -100.0]]}
    for own in ({"suppress_tokens": [said[0]]}, {"bad_words_ids": [[said[0]]]}, bias):
        model.generation_config = GenerationConfig(**own)
        assert said[0] not in generate_replies(model, tokenizer, PROMPTS[:1], 8)[0].token_ids
    model.generation_config = GenerationConfig(begin_suppress_tokens=[said[0]])
    assert generate_replies(model, tokenizer, PROMPTS[:1], 8)[0].token_ids[0] != said[0]


def test_sampling_shares_its_seed_and_leaves_the_random_state_alone(tiny):
    """Nearly the same model with the same random numbers says the same; with other numbers it does not."""
    model, tokenizer = tiny
    near = copy.deepcopy(model)
    near.lm_head.weight.data.mul_(1 + 1e-5)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = generate_replies(model, tokenizer, PROMPTS, 16, Sampling(1.0, 1))
    assert torch.rand(1) == expected
    assert generate_replies(near, tokenizer, PROMPTS, 16, Sampling(1.0, 1)) == first
    assert generate_replies(near, tokenizer, PROMPTS, 16, Sampling(1.0, 2)) != first


def test_the_reply_is_cut_at_the_first_stop(tiny):
    tokenizer = tiny[1]
    stop = tokenizer.eos_token_id
    said = tokenizer("빵", add_special_tokens=False).input_ids
    stopped = cut_reply([*said, stop, stop, 5], tokenizer, [stop], 3)
    assert stopped.token_ids == tuple(said) and stopped.stopped and stopped.text == "빵"
    assert not cut_reply(said, tokenizer, [stop], 3).stopped


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
    replies = generate_replies(model, tokenizer, PROMPTS, 24)
    assert max(len(reply.token_ids) for reply in replies) == 3
    monkeypatch.setattr(model.config, "max_position_embeddings", longest)
    with pytest.raises(PromptTooLong) as refused:
        generate_replies(model, tokenizer, PROMPTS, 24)
    assert refused.value.tokens == refused.value.limit == longest


OPENS = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + eos_token }}{% endfor %}"
OPENS += "{% for tool in tools or [] %}{{ tool['function']['name'] }}{% endfor %}"
OPENS += "{% if add_generation_prompt %}{{ '<assistant><think>\n' }}{% endif %}"


@pytest.fixture
def thinker(tiny):
    """The tiny model asked by a template that opens a thought and shows the tools."""
    tokenizer = copy.deepcopy(tiny[1])
    tokenizer.chat_template = OPENS
    return tiny[0], tokenizer


def test_a_reply_that_never_leaves_its_thought_is_no_answer(thinker):
    reply = generate_replies(*thinker, PROMPTS[:1], 12)[0]
    assert reply.in_thought and reply.text == "" and len(reply.token_ids) == 12
    assert reply.thought and reply.shown == "(cut inside the thought)"


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
    assert cut_reply([*ids[:2], stop], tokenizer, [stop], 3, asked).shown == "(stopped inside the thought)"
    assert (shown(" \n", True), shown("", False)) == ("(empty)", " …"), "an empty cell looks like a fault of the page"


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": {"town": "제주"}}}


def test_a_prompt_is_asked_with_its_tools(thinker):
    row = {"messages": [*PROMPTS[0], {"role": "assistant", "content": "네"}], "tools": TOOLS}
    prompts, _ = prompts_and_references([row, {"messages": PROMPTS[1]}])
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
