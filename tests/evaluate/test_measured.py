"""What 05 measured and 06 reads: the same numbers as measuring again, and nothing at all when something is another."""

import json
import shutil
from dataclasses import replace

import pytest

from helpers.data.labels import encode_rows
from helpers.evaluate.generation import generate_replies, prompts_and_references
from helpers.evaluate.held_out import held_out_nll
from helpers.evaluate.measured import read_measured
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir


def test_what_05_kept_is_what_measuring_again_gives(merged_run):
    config = merged_run.load_config()
    tokenizer = load_tokenizer(config, source=str(merged_run.adapter))
    rows = read_jsonl(merged_run.eval_jsonl)
    encoded, (prompts, _) = encode_rows(rows, tokenizer, config), prompts_and_references(rows, count=12)
    known = read_measured(merged_run, config, prompts)
    assert list(known) == ["base", "adapter", "merged"]
    model = load_adapter(load_base_model(config), merged_run.adapter)
    scores, replies = known["adapter"]
    assert scores.nll == pytest.approx(held_out_nll(model, encoded).nll, rel=1e-5)
    assert replies == generate_replies(model, tokenizer, prompts, config.max_new_tokens)
    with model.disable_adapter():
        base = held_out_nll(model, encoded)
    assert known["base"][0].nll == pytest.approx(base.nll, rel=1e-5) and base.tokens == known["base"][0].tokens


@pytest.fixture
def copied(merged_run, tmp_path):
    shutil.copytree(merged_run.path, tmp_path / "run")  # with the times of the last writes
    return RunDir(tmp_path / "run")


def test_replies_are_read_only_for_the_prompts_that_were_answered(copied):
    """06 asks its reader to try count=4: twelve replies beside four questions stopped the page."""
    config, rows = copied.load_config(), read_jsonl(copied.eval_jsonl)
    for count, replies in ((12, 12), (11, 0), (13, 12), (0, 0)):
        asked, _ = prompts_and_references(rows[:count])
        known = read_measured(copied, config, asked)
        assert {len(given) for _, given in known.values()} == {replies} and known["base"][0].nll
    asked, _ = prompts_and_references(rows[:12])
    asked[3] = [{"role": "user", "content": "다른 질문"}]
    assert not any(given for _, given in read_measured(copied, config, asked).values())


@pytest.mark.parametrize("setting", [{"max_new_tokens": 7}, {"temperature": 0.5}, {"quant_type": "fp4"}])
def test_other_settings_are_measured_again(copied, setting):
    assert read_measured(copied, replace(copied.load_config(), **setting), []) == {}


@pytest.mark.parametrize("what", ["adapter", "held-out rows", "merged", "nothing"])
def test_other_files_are_measured_again(copied, what):
    config = copied.load_config()
    if what == "adapter":
        file = copied.adapter / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\1")
    elif what == "held-out rows":
        rows = read_jsonl(copied.eval_jsonl)
        copied.eval_jsonl.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[1:]))
    elif what == "merged":
        shutil.copyfile(file := next(copied.merged.glob("*.safetensors")), file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
    assert bool(read_measured(copied, config, [])) is (what == "nothing")
