import pytest

from helpers.model.tokenizer import load_tokenizer
from helpers.serve.modelfile import ollama_modelfile, template_pieces, tools_note
from helpers.settings import RunConfig
from helpers.template.chat import render
from tests.template.tokenizer_kinds import FORGETS_THINKING, INST_LATE_SYSTEM


@pytest.fixture
def tokenizer(tiny_model):
    return load_tokenizer(RunConfig.load("tiny"))


CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nDefault<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
TALK = [
    {"role": "user", "content": "안녕"},
    {"role": "assistant", "content": "네, 안녕하세요."},
    {"role": "user", "content": '<b> "quoted" {{ braces }}'},
]


@pytest.mark.parametrize("template", [None, CHATML, LLAMA2], ids=["the project's", "ChatML", "Llama-2"])
def test_the_pieces_make_the_same_text(tokenizer, template):
    tokenizer.chat_template = template or tokenizer.chat_template
    pieces = template_pieces(tokenizer)
    for messages in (TALK, TALK[:1]):
        assert pieces.put_together(messages) == render(tokenizer, messages, add_generation_prompt=True)
    asked = [{"role": "system", "content": "짧게"}, *TALK]
    assert pieces.put_together(asked) == render(tokenizer, asked, add_generation_prompt=True)
    assert bool(pieces.system) == (template != LLAMA2)


def test_the_modelfile(tokenizer):
    told = ollama_modelfile(tokenizer, "./model.gguf", 64, 4096)
    assert told.startswith("FROM ./model.gguf\n") and 'PARAMETER stop "</s>"' in told and "num_predict 64" in told
    assert "PARAMETER repeat_penalty 1.0\n" in told and "PARAMETER num_ctx 4096\n" in told
    template = told.split('"""')[1]
    assert template == (
        "{{ if .System }}<sys> {{ .System }}\n{{ else }}{{ end }}{{ range $i, $_ := .Messages }}"
        '{{ if eq .Role "user" }}<usr> {{ .Content }}\n<bot>'
        '{{ else if eq .Role "assistant" }} {{ .Content }}</s>\n{{ end }}{{ end }}'
    )


def test_a_bos_that_is_part_of_the_template_stays(tokenizer):
    """SmolLM2's BOS is "<|im_start|>", and its tokenizer adds none: the template must keep every one."""
    from tokenizers import processors

    tokenizer.chat_template = CHATML.replace("<|im_start|>", "<s>")
    assert '"""{{ if .System }}system' in ollama_modelfile(tokenizer, "m", 1, 512)  # llama.cpp adds the first
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    assert '"""{{ if .System }}<s>system' in ollama_modelfile(tokenizer, "m", 1, 512)


def test_a_double_bos_is_refused(tokenizer):
    tokenizer.chat_template = LLAMA2
    with pytest.raises(ValueError, match="BOS before each question"):
        ollama_modelfile(tokenizer, "m", 1, 512)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}[{{ loop.index }}] {{ m['content'] }}\n{% endfor %}",
        "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {{ '{{ x }}' }}\n{% endfor %}",
        INST_LATE_SYSTEM,  # another last turn than the turns before
    ],
    ids=["a counter", "Go's own braces", "the system turn in the last question"],
)
def test_what_cannot_be_written_is_refused(tokenizer, template):
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match="cannot be written as an Ollama template: serve the model with vLLM"):
        template_pieces(tokenizer)


DATED = (
    "{% set day = DAY %}{% for m in messages %}{% if loop.first %}Today: {{ day }}\n{% endif %}"
    + LLAMA2.replace("bos_token + ", "")[len("{% for m in messages %}") :]
)


def test_todays_date_is_refused_and_a_fixed_one_stays(tokenizer):
    for form in ("'%d %b %Y'", "'%Y-%m-%d'"):
        tokenizer.chat_template = DATED.replace("DAY", f"strftime_now({form})")
        with pytest.raises(ValueError, match="writes today's date"):
            ollama_modelfile(tokenizer, "m", 1, 512)
    tokenizer.chat_template = DATED.replace("DAY", "'26 Jul 2024'")  # the same on every day: part of the training
    assert "Today: 26 Jul 2024" in ollama_modelfile(tokenizer, "m", 1, 512)


def test_a_template_without_a_system_turn_keeps_ollamas_system_text(tokenizer):
    tokenizer.chat_template = LLAMA2.replace("bos_token + ", "")
    template = ollama_modelfile(tokenizer, "m", 1, 512).split('"""')[1]
    assert template.startswith("{{ $system := .System }}") and "[INST] {{ if $system }}{{ $system }}\n\n" in template


def test_thinking_is_named_where_the_template_forgets_it(tokenizer):
    tokenizer.chat_template = FORGETS_THINKING
    assert "<think>{{ .Thinking }}</think>" in ollama_modelfile(tokenizer, "m", 1, 512)
    tokenizer.chat_template = CHATML
    assert ".Thinking" not in ollama_modelfile(tokenizer, "m", 1, 512)


def test_rows_with_tools_get_a_sentence_and_others_none():
    assert tools_note([{"messages": TALK}]) == tools_note([{"messages": TALK, "tools": []}]) == ""
    assert "llama-server" in tools_note([{"messages": TALK}, {"messages": TALK, "tools": [{"type": "function"}]}])
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    for turn in (call, {"role": "tool", "content": "5"}):  # rows whose descriptions of the tools were left out
        assert "llama-server" in tools_note([{"messages": [*TALK, turn]}])


@pytest.mark.parametrize("stop", ['"end"', "a\nb"])
def test_a_stop_token_with_a_quote_or_a_line_stays_one_value(tokenizer, stop):
    tokenizer.add_special_tokens({"eos_token": stop})
    tokenizer.chat_template = CHATML.replace("<|im_end|>", stop.replace("\n", "\\n"))
    assert f'PARAMETER stop """{stop}"""\n' in ollama_modelfile(tokenizer, "m", 1, 512)


ONE_QUESTION = f"{{% if messages | length > 2 %}}{{{{ raise_exception('no') }}}}{{% endif %}}{CHATML}"


@pytest.mark.parametrize("template", [ONE_QUESTION, "{{ bos_token }}"], ids=["one question", "no turn at all"])
def test_a_template_that_raises_is_refused_in_a_sentence(tokenizer, template):
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match="cannot be written as an Ollama template"):
        template_pieces(tokenizer)
