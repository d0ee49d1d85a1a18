"""A2: which pairs are trained on, who may judge, and that the reference is the adapter as it was."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from transformers import set_seed

from helpers.data.copies import overlap
from helpers.data.formats import convert, recognise
from helpers.evaluate.voting import blind_pairs, preference_pairs, save_vote
from helpers.files import read_json, read_jsonl, write_json, write_jsonl
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir, fork
from helpers.settings import RunConfig
from helpers.train.callbacks import CheckpointKeeper
from helpers.train.checkpoints import newest_complete
from helpers.train.dpo import ExactDPO, NotTheReference, StartsAtReference, partners, require_same_text
from helpers.train.guards import LossGuard
from helpers.train.preferences import OWN, fingerprint, preference_run, read_pairs, ready, unvoted
from tests.small_training import CONFIG


def said(text, role="assistant"):
    return {"role": role, "content": text}


def pair(question, chosen="좋아요.", rejected="글쎄요.", *before):
    return {"prompt": [*before, said(question, "user")], "chosen": [said(chosen)], "rejected": [said(rejected)]}


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(CONFIG)


def test_the_projects_own_pairs_have_one_form_and_differ_in_one_value():
    pairs = read_pairs(OWN, CONFIG)
    for preset in ("tiny", "demo"):
        config = RunConfig.load(preset)
        assert len(ready(pairs, load_tokenizer(config), config)) == len(pairs) > 48
    for pair in pairs:
        right, wrong = (json.loads(pair[kind][0]["content"]) for kind in ("chosen", "rejected"))
        (field,) = [name for name in right if right[name] != wrong[name]]
        assert list(right) == list(wrong) and wrong[field] in pair["prompt"][-1]["content"]
    asked = [[*p["prompt"], *p["chosen"]] for p in pairs]
    for name in ("calendar_en", "general", "rehearsal"):
        rows = read_jsonl(PROJECT_ROOT / f"notebooks/data/{name}.jsonl")
        rows = [row for row in rows if not {"ask", "language"} & row.keys()]
        other = [convert(row, recognise(rows)).messages for row in rows]
        assert not other or overlap(other, asked) == (0, 0)


def test_only_pairs_are_pairs(tmp_path, capsys):
    turns = [said("1", "user"), said("2"), said("3", "user")]
    rows = [
        {"prompt": "가", "chosen": "네.", "rejected": "아니요."},
        {"prompt": "같아요", "chosen": "네.", "rejected": "네."},
        {"prompt": "없어요", "chosen": "네.", "rejected": None},
        {"prompt": turns, "chosen": [said("좋은 답")], "rejected": [said("나쁜 답")]},
        {"chosen": [said("q", "user"), said("a")], "rejected": [said("p", "user"), said("b")]},
    ]
    write_jsonl(tmp_path / "p.jsonl", rows[:4])
    found = read_pairs(str(tmp_path / "p.jsonl"), CONFIG)
    assert [p["prompt"] for p in found] == [[said("가", "user")], turns]
    assert found[1]["chosen"] == [said("좋은 답")] and found[1]["rejected"] == [said("나쁜 답")]
    told = capsys.readouterr().out
    assert "1 pair, both answers are the same" in told and told.count("Left out") == 2
    write_jsonl(tmp_path / "q.jsonl", rows[4:])
    assert read_pairs(str(tmp_path / "q.jsonl"), CONFIG) == []
    assert "not to the same conversation" in capsys.readouterr().out
    with pytest.raises(ValueError, match="No known format 'preference'"):
        read_pairs("notebooks/data/rehearsal.jsonl", CONFIG)


def test_eight_are_enough_and_one_that_would_be_cut_is_left_out(tokenizer, capsys):
    eight = [pair(f"질문 {i}") for i in range(8)]
    assert len(ready(eight, tokenizer, CONFIG)) == 8
    told = "7 usable preference pairs .longer than max_length=96 tokens: 1 left out. are too few"
    with pytest.raises(ValueError, match=told):
        ready([*eight[:7], pair("길어요", rejected="가" * 500)], tokenizer, CONFIG)
    assert "1 pair, longer than max_length=96 tokens" in capsys.readouterr().out


def test_who_was_asked_does_not_judge():
    row = {"messages": [said("네?", "user"), said("예."), said("왜요?", "user"), said("그냥요.")]}
    other = {"messages": [said("왜요?", "user"), said("몰라요.")]}
    for asked, left in (
        (pair("네?"), [other]),  # the first question alone
        (pair("왜요?", "a", "b", said("네?", "user"), said("예.")), [other]),  # the whole prompt
        (pair(" 네 ?", "a", "b", said("짧게.", "system")), [other]),
        (pair("왜요?"), [row]),  # the last question, in another conversation
        (pair("왜요?", "a", "b", said("네?", "user"), said("아니요.")), [row, other]),
    ):
        assert unvoted([row, other], {"prompt": [asked["prompt"]]}) == left


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    config = RunConfig.load("tiny")
    run = RunDir.open(config)
    run.save_config(config)
    for path in (run.train_jsonl, run.eval_jsonl):
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"messages": []}\n')
    write_json(run.data_report, {"hashes": run.row_hashes()})
    return run


def test_it_writes_a_run_of_its_own(run):
    config, rows = run.stored_config(), [{"messages": [said("q", "user")]}]
    how = {"beta": 0.1, "sha256": fingerprint([pair("질문 2")])}
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    write_json(run.data_report, {"hashes": run.row_hashes(), "rows": 1})
    before[run.data_report] = run.data_report.read_bytes()
    made = preference_run(run, config, "tiny-dpo", how, rows, 9)
    made.require(made.train_jsonl, made.eval_jsonl, produced_by="03")  # hashed anew: 05 and 06 read its own rows
    assert read_json(made.data_report)["rows"] == 1
    assert made.stored_config().run_name == "tiny-dpo" and read_jsonl(made.eval_jsonl) == rows
    assert preference_run(run, config, "tiny-dpo ", how, rows, 9) == made  # the same once more
    for name, settled, judges, refused in (
        ("tiny-dpo", {"beta": 0.2}, rows, "'tiny-dpo' with other settings"),
        ("tiny-dpo", how | {"sha256": fingerprint([pair("질문")])}, rows, "'tiny-dpo' with other settings"),
        ("tiny", how, rows, "'tiny' is the run whose adapter"),
        ("other", how, [], "none is left to judge"),
        ("a/b", how, rows, "cannot be a folder"),
    ):
        with pytest.raises(ValueError, match=refused):
            preference_run(run, config, name, settled, judges, 9)
    assert fingerprint([pair("질문")]) == fingerprint([pair("질문")]) != fingerprint([pair("질문", "다른 답")])
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    with pytest.raises(ValueError, match="was trained further by A2 or A5, and 03 or 04 would replace it"):
        made.save_config(made.stored_config())
    run.save_config(config)
    for path in (made.adapter / "a", made.merged / "c"):
        path.parent.mkdir()
        path.write_text("{}")
    write_json(made.trained, {})
    write_json(made.merge_report, {})
    assert fork("tiny-dpo", "shorter", chosen=False, max_new_tokens=8).preference.exists()  # the same adapter
    assert not fork("tiny-dpo", "rank", chosen=False, lora_r=2).preference.exists()  # one that 04 is to train


STEPS = {
    "use_cpu": True,
    "max_steps": 4,
    "save_steps": 2,
    "learning_rate": 1e-2,
    "report_to": "none",
    "disable_tqdm": True,
}


def small_dpo(folder, adapter, pairs, tokenizer, **changes) -> ExactDPO:
    """DPO of four steps on the adapter of `adapter`, with checkpoints in `folder`."""
    from peft import PeftModel
    from trl import DPOConfig

    from helpers.model.load import load_base_model

    sizes = {"per_device_train_batch_size": 4, "max_length": CONFIG.max_length, "eval_on_start": True}
    args = DPOConfig(str(folder), **(STEPS | sizes | {"bf16": False} | changes))
    set_seed(1)
    policy = PeftModel.from_pretrained(load_base_model(CONFIG), str(adapter), is_trainable=True)
    data = {"train_dataset": pairs, "eval_dataset": pairs, "processing_class": tokenizer}
    return ExactDPO(model=policy, args=args, callbacks=[CheckpointKeeper(2), LossGuard(labels=False)], **data)


def adapter_on_disk(folder, config=CONFIG, **kind):
    """An adapter whose B is not zero, of CONFIG's model; `kind`: keywords of its LoraConfig."""
    from peft import get_peft_model

    from helpers.model.load import load_base_model

    model = get_peft_model(load_base_model(config), LoraConfig(**(lora_config(config).to_dict() | kind)))
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "lora_embedding_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def eight(tokenizer):
    return ready([pair(f"{i}번 친구는 뭐 해요?") for i in range(8)], tokenizer, CONFIG)


@pytest.fixture(scope="module")
def dpo(tmp_path_factory, tokenizer, eight):
    folder = tmp_path_factory.mktemp("dpo")
    return small_dpo(folder / "trainer", adapter_on_disk(folder / "adapter"), eight, tokenizer)


KINDS = {
    "all linear layers": {},
    "embeddings, whose names end in .default": {"target_modules": ["embed_tokens", "q_proj"]},
    "a whole head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "DoRA": {"use_dora": True},
    "biases": {"lora_bias": True},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_whatever_is_trained_begins_at_its_reference(tmp_path, tokenizer, eight, kind):
    trainer = small_dpo(tmp_path, adapter_on_disk(tmp_path / "adapter", **kind), eight, tokenizer)
    weights, pairs = dict(trainer.model.named_parameters()), partners(trainer.model)
    assert all(torch.equal(weights[a], weights[b]) and weights[a].dtype == torch.float32 for a, b in pairs.items())
    assert len(pairs) == sum(weight.requires_grad for weight in weights.values())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_without_a_partner_or_with_another_reference_it_stops(tmp_path, tokenizer, eight):
    trainer = small_dpo(tmp_path, adapter_on_disk(tmp_path / "adapter"), eight, tokenizer)
    trainer.model.get_parameter(next(iter(partners(trainer.model).values()))).data += 1
    with pytest.raises(NotTheReference):
        trainer.train()
    next(weight for name, weight in trainer.model.named_parameters() if "norm" in name).requires_grad_(True)
    with pytest.raises(NotTheReference):
        partners(trainer.model)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", ["sigmoid", "sft"]])
@pytest.mark.parametrize("weighted", [False, True])
def test_whatever_the_loss_nothing_is_gained_before_the_first_step(tmp_path, loss, weighted):
    from transformers import TrainerControl, TrainerState
    from trl import DPOConfig

    args = DPOConfig(str(tmp_path), use_cpu=True, loss_type=loss, use_weighting=weighted)
    same = {"eval_loss": math.log(2), "eval_rewards/chosen": 0.0, "eval_rewards/rejected": 1e-5}
    look = StartsAtReference().on_evaluate
    look(args, TrainerState(), TrainerControl(), metrics=same)
    for name in ("eval_rewards/chosen", "eval_rewards/rejected"):
        look(args, TrainerState(global_step=1), TrainerControl(), metrics=same | {name: 0.1})
        for value in (0.001, math.nan):
            with pytest.raises(NotTheReference):
                look(args, TrainerState(), TrainerControl(), metrics=same | {name: value})


def test_the_reference_stays_and_a_killed_training_resumes_exactly(dpo, tmp_path, tokenizer, eight):
    from peft import get_peft_model_state_dict

    from helpers.model.lora import check_adapter

    adapter = Path(dpo.args.output_dir).parent / "adapter"
    was = {name: dpo.model.get_parameter(name).clone() for name in partners(dpo.model).values()}
    dpo.train()
    assert dpo.evaluate()["eval_loss"] < math.log(2) - 0.01
    assert all(torch.equal(dpo.model.get_parameter(name), old) for name, old in was.items())
    dpo.model.save_pretrained(tmp_path / "saved", selected_adapters=["default"])
    trained = get_peft_model_state_dict(dpo.model, adapter_name="default")
    assert check_adapter(tmp_path / "saved", trained) == len(was) and not (tmp_path / "saved" / "ref").exists()

    shutil.copytree(Path(dpo.args.output_dir) / "checkpoint-2", tmp_path / "killed" / "checkpoint-2")
    again = small_dpo(tmp_path / "killed", adapter, eight, tokenizer)
    again.train(resume_from_checkpoint=str(newest_complete(tmp_path / "killed")))
    resumed = get_peft_model_state_dict(again.model, adapter_name="default")
    assert again.state.global_step == 4 and all(torch.equal(resumed[name], trained[name]) for name in trained)
    assert all(torch.equal(again.model.get_parameter(name), old) for name, old in was.items())


@pytest.mark.parametrize("part", ["train_dataset", "eval_dataset"])
@pytest.mark.parametrize("change", [("chosen_ids", lambda ids: ids[1:]), ("prompt_ids", lambda ids: [*ids, 5])])
def test_a_text_that_is_not_04s_is_refused(dpo, tokenizer, eight, monkeypatch, part, change):
    parts = {"train": eight, "test": eight}
    require_same_text(dpo, parts, tokenizer, CONFIG)
    data, (name, edit) = getattr(dpo, part), change
    rows = data.to_list()
    rows[3][name] = edit(rows[3][name])
    monkeypatch.setattr(dpo, part, data.from_list(rows))
    with pytest.raises(ValueError, match="but 04 trained on"):
        require_same_text(dpo, parts, tokenizer, CONFIG)


def test_no_advice_deletes_the_run_that_is_trained_further(run):
    with pytest.raises(ValueError, match="take another NAME") as told:
        preference_run(run, run.stored_config(), "tiny", {"beta": 0.1}, [{"messages": []}], 9)
    assert "delete" not in str(told.value)


def test_votes_on_rows_with_tools_are_no_pairs(run, tokenizer, capsys):
    """06 asks with the tools of a row; asked without them it is another prompt than the one that was voted on."""
    rows = [{"messages": [said(f"{i}번?", "user")], "base": "가", "adapter": "나"} for i in range(9)]
    write_jsonl(
        run.comparisons, [{**row, "tools": [{"type": "function"}]} if i == 8 else row for i, row in enumerate(rows)]
    )
    for one in blind_pairs(read_jsonl(run.comparisons)):
        save_vote(run, one, "A")
    assert len(ready(preference_pairs(run), tokenizer, CONFIG)) == 8
    assert "1 pair, with tools" in capsys.readouterr().out
