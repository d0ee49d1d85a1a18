"""A model's files are data, not code: nothing of them runs, nothing that is saved names code, and no template hangs."""

import json
import shutil
from types import SimpleNamespace

import pytest

from helpers.merge.skeleton import empty_model
from helpers.model.load import load_base_model
from helpers.model.meta import on_meta
from helpers.model.possible import require_possible
from helpers.model.refusal import Reason, Refused
from helpers.model.tokenizer import load_tokenizer, require_rows_for_all
from helpers.model.weights import forget_code, without_code
from helpers.serve.checks import exact_model
from helpers.settings import RunConfig
from helpers.template import sandbox
from tests.template.tokenizer_kinds import kind


@pytest.fixture
def base(tiny_model, tmp_path):
    """A copy of the tiny model to change, and its run."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_model, folder)
    return folder


def change(file, **values):
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**kept, **values}), encoding="utf-8")


def run_of(folder, **settings):
    return RunConfig.load("tiny", model_id=str(folder), load_in_4bit=False, **settings)


@pytest.mark.parametrize("trust", [False, True])
def test_what_is_saved_names_no_code_of_a_stranger(base, tmp_path, trust):
    if not trust:  # who trusts it keeps it
        change(base / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "somebody--tok.Evil"]})
        change(base / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    load_tokenizer(run_of(base, trust_remote_code=trust)).save_pretrained(tmp_path / "out")
    load_base_model(run_of(base, trust_remote_code=trust)).save_pretrained(tmp_path / "out")
    texts = [file.read_text(encoding="utf-8") for file in (tmp_path / "out").glob("*.json")]
    assert len(texts) >= 3 and not any("evil" in text.lower() for text in texts)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen2_5_omni"])  # settings in one, two and three floors
def test_no_part_of_a_config_names_code_of_a_stranger(tmp_path, kind):
    from transformers import AutoConfig, GenerationConfig

    config, evil = AutoConfig.for_model(kind), {"AutoModel": "evil.Model"}
    parts = [config]
    for part in parts:  # grows: sub-configs, and those inside them
        parts += [value for value in vars(part).values() if hasattr(value, "to_diff_dict")]
    for part in parts:
        part.auto_map = evil
    config.plain = {"list": [{"auto_map": evil}]}
    model = SimpleNamespace(config=config, generation_config=GenerationConfig(auto_map=evil))
    assert forget_code(model, trust=True).config.auto_map == evil
    forget_code(model, trust=False)
    assert "evil" not in config.to_json_string() and "evil" not in model.generation_config.to_json_string()
    (tmp_path / "config.json").write_text(
        json.dumps({"parts": [{"auto_map": evil}], "text": {"more": {"auto_map": evil}}})
    )
    without_code(tmp_path)
    assert "evil" not in (tmp_path / "config.json").read_text()


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
HOSTILE = {
    "an endless loop": (LOOP, "slow"),
    "one that waits for tools": ("{% if tools %}" + LOOP + "{% endif %}x", "slow"),
    "a huge text": ("{{ 'x' * 10**10 }}", "large"),
    "one that waits for a long talk": ("{% if messages|length > 30 %}{{ 'x' * 10**10 }}{% endif %}x", "large"),
    "writing without end": (LOOP.replace("%}{% endfor", "%}xxxxxxxxxx{% endfor", 1), "large"),
    "calling itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "large"),
    "out of the sandbox": ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    "one that waits for a word": ("{% if '계약' in messages[0].content %}" + LOOP + "{% endif %}x", "repeats"),
    "one that waits for a year": ("{% if strftime_now('%Y') == '2040' %}{{ 'x' * 9999 }}{% endif %}x", "repeats"),
    "another file": ("{% include 'passwords' %}", "TypeError"),
    "no template": ("{% for %}", "TemplateSyntaxError"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_template_is_one_sentence_and_takes_neither_time_nor_memory(base, monkeypatch, what):
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    sandbox._fault.cache_clear()
    template, reason = HOSTILE[what]
    (base / "chat_template.jinja").write_text(template)
    with pytest.raises(sandbox.Unsafe) as raised:
        load_tokenizer(run_of(base))
    assert raised.value.reason.startswith(reason) and str(base) in str(raised.value) and "\n" not in str(raised.value)


def give_templates(folder, **templates):
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    named = [{"name": name, "template": template} for name, template in templates.items()]
    change(folder / "tokenizer_config.json", chat_template=named)


GOOD = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"


@pytest.mark.parametrize("hostile", ["default", "tool_use", "rag"])
def test_each_of_several_templates_is_tried(base, monkeypatch, hostile):
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    give_templates(base, **{"default": GOOD, "tool_use": GOOD, hostile: LOOP})
    with pytest.raises(sandbox.Unsafe, match="did not end within"):
        load_tokenizer(run_of(base))


def test_several_templates_without_a_default_are_one_sentence_in_03(base):
    give_templates(base, tool_use=GOOD, rag=GOOD)
    with pytest.raises(Refused, match="called 'rag', 'tool_use', and none called default: set chat_template") as raised:
        require_possible(run_of(base))
    assert (raised.value.reason, raised.value.setting) == (Reason.TEMPLATE, "chat_template")


@pytest.mark.parametrize("own", [{"default": LOOP}, {"tool_use": GOOD}], ids=["hostile", "without default"])
def test_a_file_of_one_s_own_takes_the_place_of_a_template_that_cannot_be_used(base, tmp_path, own):
    give_templates(base, **own)
    (tmp_path / "mine.jinja").write_text(GOOD)
    assert load_tokenizer(run_of(base, chat_template=str(tmp_path / "mine.jinja"))).chat_template == GOOD


def test_the_child_that_tries_a_template_has_no_tokens_and_is_asked_once(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = []
    run = sandbox.subprocess.run
    monkeypatch.setattr(sandbox.subprocess, "run", lambda *a, **k: seen.append(k["env"]) or run(*a, **k))
    for _again in range(2):
        sandbox.require_safe("{{ messages[0].content }} once", {}, "x")
    assert seen == [{}]


@pytest.mark.parametrize("value", ["flash_attention_2", "someone/their-kernel"])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_the_attention_that_a_config_asks_for_is_never_used(base, key, value):
    change(base / "config.json", **{key: value})
    config, numbers = run_of(base, max_length=2048), json.loads((base / "config.json").read_text())
    require_possible(config)
    for model in (load_base_model(config), empty_model(config), on_meta(numbers), exact_model(base)):
        assert model.config._attn_implementation == "sdpa"


GENERATION = [
    {"stop_strings": ["요"]},
    {"return_dict_in_generate": True},
    {"output_scores": True, "return_dict_in_generate": True},
    {"num_return_sequences": 2, "num_beams": 2},
    {"penalty_alpha": 0.6, "top_k": 4},
    {"dola_layers": "high"},
    {"suppress_tokens": ["5"]},
    {"bad_words_ids": [5]},
    {"sequence_bias": [[[5], "x"]]},
]


@pytest.mark.parametrize("settings", GENERATION, ids=str)
def test_generation_settings_that_cannot_work_are_refused_in_03(base, settings):
    change(base / "generation_config.json", **settings)
    with pytest.raises(Refused) as raised:
        require_possible(run_of(base))
    assert raised.value.reason is Reason.GENERATION and next(iter(settings)) in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [{}, {"repetition_penalty": 1.1, "do_sample": True, "min_new_tokens": 3}, {"suppress_tokens": [5]}],
    ids=str,
)
def test_other_generation_settings_pass(base, settings):
    change(base / "generation_config.json", **settings)
    require_possible(run_of(base))


@pytest.mark.parametrize("special", [True, False])
def test_a_tokenizer_longer_than_the_model_is_refused_in_03(base, special):
    tokenizer = load_tokenizer(run_of(base))
    rows = json.loads((base / "config.json").read_text())["vocab_size"]
    new = [f"<new{number}>" for number in range(rows - len(tokenizer) + 1)]
    tokenizer.add_tokens(new, special_tokens=special)
    tokenizer.save_pretrained(base)
    with pytest.raises(Refused) as raised:
        require_possible(run_of(base))
    assert raised.value.reason is Reason.TOKENIZER and new[-1] in str(raised.value)


def test_a_pad_token_beyond_the_end_is_replaced_and_a_picture_s_stand_in_is_left_alone(base):
    tokenizer = load_tokenizer(run_of(base))
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(base)
    change(base / "config.json", vocab_size=rows)
    assert load_tokenizer(run_of(base)).pad_token == tokenizer.eos_token
    tokenizer.image_token = "<pad>"
    require_rows_for_all(tokenizer, rows, "x")


def test_the_templates_that_models_bring_pass():
    for name in ("inst", "chatml", "marks", "two endings"):
        tokenizer = kind(name)
        sandbox.require_safe(tokenizer.chat_template, tokenizer.special_tokens_map, name)
