import pytest

from helpers.config import RunConfig
from helpers.model.chat import load_tokenizer, render
from helpers.serve.modelfile import ollama_modelfile, template_pieces


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
    if pieces.system:
        asked = [{"role": "system", "content": "짧게"}, *TALK]
        assert pieces.put_together(asked) == render(tokenizer, asked, add_generation_prompt=True)
    assert bool(pieces.system) == (template != LLAMA2)


def test_the_modelfile(tokenizer):
    told = ollama_modelfile(tokenizer, "./model.gguf", 64)
    assert told.startswith("FROM ./model.gguf\n") and 'PARAMETER stop "</s>"' in told and "num_predict 64" in told
    template = told.split('"""')[1]
    assert template == (
        "{{ if .System }}<sys> {{ .System }}\n{{ else }}{{ end }}{{ range .Messages }}"
        '{{ if eq .Role "user" }}<usr> {{ .Content }}\n<bot>'
        '{{ else if eq .Role "assistant" }} {{ .Content }}</s>\n{{ end }}{{ end }}'
    )


def test_a_bos_that_is_part_of_the_template_stays(tokenizer):
    """SmolLM2's BOS is "<|im_start|>", and its tokenizer adds none: the template must keep every one."""
    from tokenizers import processors

    tokenizer.chat_template = CHATML.replace("<|im_start|>", "<s>")
    assert '"""{{ if .System }}system' in ollama_modelfile(tokenizer, "m", 1)  # llama.cpp adds the first
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    assert '"""{{ if .System }}<s>system' in ollama_modelfile(tokenizer, "m", 1)


def test_a_double_bos_is_refused(tokenizer):
    tokenizer.chat_template = LLAMA2
    with pytest.raises(ValueError, match="BOS before each question"):
        ollama_modelfile(tokenizer, "m", 1)


def test_a_template_with_a_counter_is_refused(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}[{{ loop.index }}] {{ m['content'] }}\n{% endfor %}"
    with pytest.raises(ValueError, match="cannot be written as an Ollama template: serve the model with vLLM"):
        template_pieces(tokenizer)
