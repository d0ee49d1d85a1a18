"""Chat templates: the project's own, and how those of the models are used."""

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from helpers.data.labels import encode
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig
from helpers.template import chat
from tests.template.tokenizer_kinds import KINDS, kind

TALK = [
    {"role": "system", "content": "짧게 답해 주세요."},
    {"role": "user", "content": "안녕?"},
    {"role": "assistant", "content": "네, 반가워요."},
    {"role": "user", "content": "뭐 해?"},
    {"role": "assistant", "content": "쉬어요.\n핵심어: 뭐"},
]


def test_a_model_without_a_template_gets_the_project_s(tiny_model):
    tokenizer = load_tokenizer(RunConfig.load("tiny"))
    assert chat.render(tokenizer, TALK[:3]) == "<s><sys> 짧게 답해 주세요.\n<usr> 안녕?\n<bot> 네, 반가워요.</s>\n"
    assert chat.render(tokenizer, TALK[:2], add_generation_prompt=True).endswith("<usr> 안녕?\n<bot>")


def test_a_model_with_a_template_keeps_it():
    from transformers import AutoTokenizer

    from helpers.model.source import DEMO_MODEL, resolve_model

    own = AutoTokenizer.from_pretrained(resolve_model(DEMO_MODEL)).chat_template
    assert own and load_tokenizer(RunConfig.load("demo")).chat_template == own


def test_no_new_vocabulary(tiny_model):
    from transformers import AutoTokenizer

    plain, ready = AutoTokenizer.from_pretrained(tiny_model), load_tokenizer(RunConfig.load("tiny"))
    assert plain.pad_token_id is None and ready.pad_token_id == plain.eos_token_id
    assert ready.get_vocab() == plain.get_vocab()


def test_saved_with_the_adapter_it_renders_the_same(tiny_model, tmp_path):
    tokenizer = load_tokenizer(RunConfig.load("tiny"))
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(RunConfig.load("tiny"), source=str(tmp_path))
    assert chat.prompt_ids(again, TALK[:4]) == chat.prompt_ids(tokenizer, TALK[:4])
    assert again.pad_token_id == tokenizer.pad_token_id


def test_plain_jinja_renders_the_project_s_template_as_servers_do(tiny_model):
    tokenizer = load_tokenizer(RunConfig.load("tiny"))
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(tokenizer.chat_template)
    text = template.render(messages=TALK[:2], bos_token="<s>", eos_token="</s>", add_generation_prompt=True)
    assert text == chat.render(tokenizer, TALK[:2], add_generation_prompt=True)


@pytest.mark.parametrize("name", KINDS)
def test_the_prompt_is_how_the_training_row_begins(name):
    tokenizer = kind(name)
    asked, trained = chat.prompt_ids(tokenizer, TALK[:4]), encode(tokenizer, TALK, 10_000)["input_ids"]
    assert trained[: len(asked)] == asked


@pytest.mark.parametrize("name", ["inst", "no template"])
def test_bos_is_there_once(name):
    tokenizer = kind(name)
    assert tokenizer("안녕").input_ids[0] == tokenizer.bos_token_id  # it would add one of its own
    assert chat.prompt_ids(tokenizer, TALK[:2]).count(tokenizer.bos_token_id) == 1


def test_a_system_turn_is_folded_in_where_the_template_refuses_it():
    tokenizer = kind("inst")
    assert not chat.takes_system(tokenizer)
    assert chat.render(tokenizer, TALK[:2]) == "<s>[INST] 짧게 답해 주세요.\n\n안녕? [/INST]"
    assert chat.takes_system(kind("chatml")) and chat.fold_system(kind("chatml"), TALK) == TALK


def test_a_system_turn_is_folded_in_where_the_template_ignores_it():
    tokenizer = kind("chatml")
    tokenizer.chat_template = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}{% endfor %}"
    assert "짧게 답해 주세요." in chat.render(tokenizer, TALK[:2])


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("inst", ["</s>"]), ("chatml", ["<|im_end|>"]), ("no template", ["</s>"]), ("marks", ["<|im_end|>"])],
)
def test_stop_ids(name, tokens):
    tokenizer = kind(name)
    assert tokenizer.convert_ids_to_tokens(chat.stop_ids(tokenizer)) == tokens


def test_the_template_s_end_of_turn_stops_even_if_it_is_not_eos():
    tokenizer = kind("chatml")
    tokenizer.eos_token = "<|endoftext|>"
    assert set(tokenizer.convert_ids_to_tokens(chat.stop_ids(tokenizer))) == {"<|endoftext|>", "<|im_end|>"}


def test_a_tokenizer_without_eos_is_refused(tiny_model, tmp_path):
    tokenizer = kind("chatml")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no EOS token, so replies could never stop"):
        load_tokenizer(RunConfig.load("tiny"), source=str(tmp_path))


def test_a_tokenizer_without_offsets_is_refused(tmp_path):
    from transformers import ByT5Tokenizer

    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="gives no character offsets"):
        load_tokenizer(RunConfig.load("tiny"), source=str(tmp_path))


def test_a_template_that_takes_one_question_has_its_stops():
    tokenizer = kind("chatml")
    many = "{% if messages | selectattr('role', 'equalto', 'user') | list | length > 1 %}"
    tokenizer.chat_template = many + "{{ raise_exception('one question') }}{% endif %}" + tokenizer.chat_template
    assert tokenizer.convert_ids_to_tokens(chat.stop_ids(tokenizer)) == ["<|im_end|>"]
