"""A training that can be trusted: killed, resumed, short of disk, broken, asked to stop; and nothing changed by being lean."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from helpers import files
from helpers.evaluate.held_out import held_out_nll
from helpers.files import read_json, read_jsonl, write_jsonl
from helpers.runs import RunDir
from helpers.runs.directory import ChangedRows
from helpers.runs.paid import cost
from helpers.train import guards, metrics
from helpers.train.best import conclusion
from helpers.train.chart import sample_strip
from helpers.train.checkpoints import checkpoints, fault, mark_complete, newest_complete
from helpers.train.failures import NotFinished, Stopped, failures_explained, require_finished, require_trained
from tests.conftest import ROOT
from tests.small_training import CONFIG, build, train

WEIGHTS = "adapter_model.safetensors"
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def new_run(folder) -> RunDir:
    folder.mkdir()
    return RunDir(folder)


def curve(run: RunDir) -> list[dict]:
    """metrics.jsonl without what is measured with a clock, and without the count of sittings."""
    timed = ("tokens_per_second", "elapsed_s", "lost_s", "peak_memory_bytes", "sitting")
    return [{k: v for k, v in row.items() if k not in timed} for row in read_jsonl(run.metrics)]


def adapter(run: RunDir) -> dict:
    return load_file(run.adapter / "adapter_model.safetensors")


class Ask(TrainerCallback):
    """Asks for a stop in the step after `step`."""

    def __init__(self, run: RunDir, step: int = 4):
        self.request, self.step = run.trainer / "stop.request", step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.request.touch()


def start(run: RunDir, *options) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.small_training", str(run.path), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunDir:
    """A run that nothing has interrupted."""
    run = new_run(tmp_path_factory.mktemp("training") / "whole")
    train(run)
    return run


def assert_same_training(run: RunDir, whole: RunDir):
    assert curve(run) == curve(whole)
    mine, theirs = adapter(run), adapter(whole)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_the_uninterrupted_run(whole):
    rows = read_jsonl(whole.metrics)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 14 and losses[-1] < losses[0]
    assert [row["step"] for row in rows if "eval_loss" in row] == [0, 7, 14]
    assert [path.name for path in checkpoints(whole.trainer)] == ["checkpoint-14", "checkpoint-12"]
    assert rows[-1]["tokens"] > 0 and rows[-1]["device"] == metrics.device_name()
    assert not whole.lock_file.exists()


@pytest.mark.slow
def test_while_it_lives_a_second_start_is_refused_and_killed_inside_a_save_it_resumes_exactly(whole, tmp_path, capsys):
    """The resume in this process; proofs/kill_training.py does it in a process of its own, twenty times."""
    run = new_run(tmp_path / "killed")
    killed = start(run, "--die-in-save", "9")
    while not run.lock_note.exists() and killed.poll() is None:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGSTOP)  # it lives, and holds the run
    with pytest.raises(RuntimeError, match=rf"killed is in use: training, process {killed.pid} on"):
        train(run)
    os.kill(killed.pid, signal.SIGCONT)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    train(run)  # the dead owner's lock is taken over
    told = capsys.readouterr().out
    assert "Skipped checkpoint-9: its save did not finish." in told and "Resuming from checkpoint-6." in told
    assert_same_training(run, whole)
    assert [read_jsonl(r.metrics)[-1]["sitting"] for r in (run, whole)] == [2, 1]


def test_broken_checkpoints_are_skipped_with_the_reason(whole, tmp_path, capsys):
    folder = tmp_path / "trainer"
    for step, harm in ((3, None), (6, "truncate"), (9, "missing"), (12, "flip"), (15, "unmarked")):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt"):
            (checkpoint / name).write_bytes(b"weights " * 100)
        (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        if harm != "unmarked":
            mark_complete(checkpoint)
        if harm == "truncate":
            os.truncate(checkpoint / "optimizer.pt", 400)
        if harm == "missing":
            (checkpoint / "trainer_state.json").unlink()
        if harm == "flip":
            (checkpoint / "adapter_model.safetensors").write_bytes(b"Weights " * 100)
    assert newest_complete(folder).name == "checkpoint-3"
    assert capsys.readouterr().out.splitlines() == [
        "Skipped checkpoint-15: its save did not finish.",
        "Skipped checkpoint-12: the contents of adapter_model.safetensors have changed since they were saved.",
        "Skipped checkpoint-9: trainer_state.json is missing.",
        "Skipped checkpoint-6: optimizer.pt has 400 bytes, 800 were saved.",
        "Resuming from checkpoint-3.",
    ]
    assert newest_complete(tmp_path / "nothing") is None


COPIES = (
    *("checkpoint-6_2", "checkpoint-6-2", "checkpoint-6-Copy1", "checkpoint-999", "checkpoint-6 (copy)"),
    *("old-checkpoint-6", "checkpoint-012", "checkpoint-１２", "checkpoint-+12", "checkpoint-0012"),
)


def test_a_copy_of_a_checkpoint_is_neither_resumed_from_nor_deleted(whole, tmp_path):
    run = new_run(tmp_path / "copied")
    for name in ("checkpoint-12", *COPIES):
        shutil.copytree(whole.trainer / "checkpoint-12", run.trainer / name)
        assert newest_complete(run.trainer).name == "checkpoint-12"
    shutil.copytree(whole.trainer / "checkpoint-12", tmp_path / "elsewhere" / "checkpoint-6")
    for name, state in (("checkpoint-6", {"global_step": 6}), ("checkpoint-3", {})):  # moved, with a link left behind
        (tmp_path / "elsewhere" / name).mkdir(exist_ok=True, parents=True)
        (tmp_path / "elsewhere" / name / "trainer_state.json").write_text(json.dumps(state))
        (run.trainer / name).symlink_to(tmp_path / "elsewhere" / name)
    train(run)
    assert newest_complete(run.trainer).name == "checkpoint-14"
    assert all((run.trainer / name).exists() for name in (*COPIES, "checkpoint-6", "checkpoint-3"))
    assert torch.equal(*(load_file(r.trainer / "checkpoint-14" / WEIGHTS)[FIRST] for r in (run, whole)))


@pytest.mark.parametrize("name", ["complete.json", "trainer_state.json"])
@pytest.mark.parametrize(
    "text", [b"[]", b"null", b"\x00\x00", b"\xff", b"{", b'{"global_step": "6"}', b'{"a": 5}', b'{"a": []}']
)
def test_a_checkpoint_with_anothers_files_is_skipped(tmp_path, name, text):
    checkpoint = tmp_path / "checkpoint-6"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_bytes(text if name == "trainer_state.json" else b'{"global_step": 6}')
    mark_complete(checkpoint)
    if name == "complete.json":
        (checkpoint / name).write_bytes(text)
    assert fault(checkpoint) == f"{name} cannot be read" and newest_complete(tmp_path) is None


def test_every_file_of_a_checkpoint_is_guarded(whole):
    marked = json.loads((checkpoints(whole.trainer)[0] / "complete.json").read_text())
    needed = {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    assert needed <= marked.keys() and fault(checkpoints(whole.trainer)[0]) is None


def test_a_full_disk_stops_before_the_save(tmp_path, monkeypatch):
    run = new_run(tmp_path / "full")
    needed = guards.checkpoint_bytes(build(run).model)
    free = iter([10 * needed, 2 * needed, needed - 1])  # before the start, at step 3, at step 6
    real = files.shutil.disk_usage
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: real(path)._replace(free=next(free)))
    told = r"The disk is full: the checkpoint of step 6 needs .* Checkpoints there: checkpoint-3\."
    with pytest.raises(OSError, match=told):
        train(run)
    assert [path.name for path in checkpoints(run.trainer)] == ["checkpoint-3"]
    assert fault(run.trainer / "checkpoint-3") is None and not run.lock_file.exists()


SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs {folder} && mkdir {folder}/run && cd {root}
{python} -m tests.small_training {folder}/run --fill-disk-in-save 9
echo "exit status $?"
rm {folder}/run/filler
cp -r {folder}/run {out}
"""


@pytest.mark.slow
def test_a_disk_that_fills_inside_a_save_stops_cleanly_and_resumes_exactly(whole, tmp_path, capsys):
    """On a real small file system: another program takes the last byte while checkpoint 9 is being written."""
    (tmp_path / "disk").mkdir()
    names = {"folder": tmp_path / "disk", "root": ROOT, "python": sys.executable, "out": tmp_path / "saved"}
    script = SMALL_DISK.format(**names, size=4 * guards.checkpoint_bytes(build(RunDir(tmp_path)).model))
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "OSError: The disk ran full while a file was written at" in done.stderr, done.stderr[-2000:]
    assert "It resumes from checkpoint-6, which is complete." in done.stderr and "exit status 1" in done.stdout
    assert done.returncode == 0, done.stderr[-2000:]
    run = RunDir(tmp_path / "saved")
    train(run)
    assert "Skipped checkpoint-9: its save did not finish." in capsys.readouterr().out
    assert_same_training(run, whole)


def test_a_gpu_that_fails_is_named_with_the_checkpoint(tmp_path):
    told = r"The GPU stopped answering \(CUDA error: unspecified launch failure\): .* step 0"
    with pytest.raises(RuntimeError, match=told), failures_explained(RunDir(tmp_path)):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nmore lines")
    with pytest.raises(ValueError, match="something else"), failures_explained(RunDir(tmp_path)):
        raise ValueError("something else")


def test_a_broken_loss_stops_and_is_not_saved(tmp_path, monkeypatch):
    run = new_run(tmp_path / "nan")
    trainer = build(run, logging_steps=100)
    healthy = trainer.compute_loss

    def breaks(*args, **kwargs):
        return healthy(*args, **kwargs) * (float("nan") if trainer.state.global_step == 5 else 1)

    monkeypatch.setattr(trainer, "compute_loss", breaks)
    told = r"loss is nan at step 6: training has broken down\. Lower learning_rate"
    with pytest.raises(FloatingPointError, match=told):
        trainer.train()
    assert [path.name for path in checkpoints(run.trainer)] == ["checkpoint-3"]


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    """The loss of a step is of the weights before it: a last step, or one before a save, may break them."""

    class Break(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            if state.global_step == 5:
                next(w for w in model.parameters() if w.requires_grad).data[0] = float("inf")

    run = new_run(tmp_path / "weights")
    trainer = build(run, logging_steps=100, eval_strategy="no")
    trainer.add_callback(Break())
    with pytest.raises(FloatingPointError, match="a trained weight is nan at step 6"):
        trainer.train()
    assert [path.name for path in checkpoints(run.trainer)] == ["checkpoint-3"]


def test_a_training_goes_on_with_its_own_rows_only(whole, tmp_path):
    run = new_run(tmp_path / "rows")
    shutil.copytree(whole.trainer, run.trainer)
    shutil.rmtree(run.trainer / "checkpoint-14")

    def last_answer(row, place):
        return {"labels": [*row["labels"][:-2], -100, -100]} if place == 19 else {}

    for change in (
        lambda rows: rows.map(last_answer, with_indices=True),
        lambda rows: rows.select(range(19)),
        lambda rows: rows.select([1, 0, *range(2, 20)]),
    ):
        trainer = build(run)
        trainer.train_dataset = change(trainer.train_dataset)
        with pytest.raises(ChangedRows, match="cannot go on from step 12"):
            trainer.train(resume_from_checkpoint=str(run.trainer / "checkpoint-12"))
    train(run)
    assert torch.equal(adapter(run)[FIRST], adapter(whole)[FIRST])
    (run.trainer / "rows.sha256").unlink()  # a run of an older version
    shutil.rmtree(run.trainer / "checkpoint-14")
    train(run)


def test_what_a_kill_took_back_was_paid_for(whole, tmp_path):
    run = new_run(tmp_path / "paid")
    shutil.copytree(whole.trainer, run.trainer)
    shutil.rmtree(run.trainer / "checkpoint-14")
    rows = [row for row in read_jsonl(whole.metrics) if "device" not in row]
    write_jsonl(run.metrics, rows)
    kept = next(row for row in reversed(rows) if row["step"] <= 12)
    train(run)
    end = read_jsonl(run.metrics)[-1]
    assert end["lost_s"] == pytest.approx(rows[-1]["elapsed_s"] - kept["elapsed_s"], abs=0.02) and end["lost_s"] > 0
    assert cost(end | {"cards": 0}, 2.0) == pytest.approx((end["elapsed_s"] + end["lost_s"]) / 3600 * 2)
    assert cost(end | {"cards": 4}, 2.0) == 2 * cost(end, 2.0, gpus=2) and cost({}, 2.0) is cost(end, 0.0) is None


def test_a_training_that_has_logged_nothing_yet_is_no_error(tmp_path):
    assert "step 0 of" in conclusion(new_run(tmp_path / "new"), [])
    assert [row["value"] for row in metrics.training_facts([])] == [0, "0 s"]


def test_a_loss_of_zero_says_that_nothing_is_learned(tmp_path):
    run = new_run(tmp_path / "zero")
    trainer = build(run)
    trainer.train_dataset = trainer.train_dataset.map(lambda row: {"labels": [-100] * len(row["labels"])})
    with pytest.raises(ValueError, match="loss is exactly 0 at step 1: no token has a label"):
        trainer.train()


@pytest.mark.parametrize(("step", "resumes"), [(2, 0), (5, 3)])
def test_the_stop_button_says_where_it_goes_on(tmp_path, step, resumes):
    class Press(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                raise KeyboardInterrupt

    run = new_run(tmp_path / "pressed")
    trainer = build(run)
    trainer.add_callback(Press())
    with pytest.raises(Stopped) as told, failures_explained(run, trainer):
        trainer.train()
    assert (told.value.step, told.value.resumes) == (step, resumes)
    assert told.value._render_traceback_() == [str(told.value)]
    if resumes:
        assert str(told.value) == f"Stopped at step {step}. Run this cell again: it goes on from checkpoint-{resumes}."
    with pytest.raises(NotFinished):
        require_trained(run)


def test_a_stop_on_request_saves_and_resumes_exactly(whole, tmp_path, monkeypatch):
    run = new_run(tmp_path / "stopped")
    trainer = build(run, eval_on_start=True)
    trainer.add_callback(Ask(run))
    trainer.train()
    with pytest.raises(NotFinished, match="Training was stopped at step 5 of 14"):
        require_finished(trainer)
    with pytest.raises(NotFinished):  # no adapter is saved as if it were finished
        require_trained(run)
    train(run)
    assert_same_training(run, whole)


def write_gemma2(folder, tokenizer_from):
    """A small Gemma 2 with random weights: its logits go through a tanh after the head."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": len(tokenizer)}
    config = Gemma2Config(**sizes, **heads, final_logit_softcapping=0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def focal(outputs, labels, num_items_in_batch=None):
    return (outputs.logits.float() ** 2).mean()


@pytest.mark.parametrize(
    ("items", "kind", "args"),
    [(None, "llama", {}), (100, "llama", {}), (None, "gemma2", {}), (None, "llama", {"loss_type": "dft"})]
    + [(100, "llama", {"label_smoothing_factor": 0.1}), (None, "llama", {"compute_loss_func": focal})]
    + [(None, "llama", {"packing": True})],
)
def test_the_lean_loss_is_the_loss(tmp_path, tiny_model, items, kind, args):
    """Loss and gradients of LeanTrainer and of plain SFTTrainer, in float32."""
    from trl import SFTTrainer

    source = CONFIG.model_id if kind == "llama" else write_gemma2(tmp_path / "gemma2", tiny_model)
    config = replace(CONFIG, model_id=source, compute_dtype="float32", load_in_4bit=False, lora_dropout=0.0)
    own = args.pop("compute_loss_func", None)
    trainer = build(new_run(tmp_path / "lean"), config, bf16=False, **args)
    trainer.compute_loss_func = own
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    count = None if items is None else torch.tensor(items)
    results = []
    for method in (trainer.compute_loss, super(type(trainer), trainer).compute_loss):
        assert method.__func__ in (type(trainer).compute_loss, SFTTrainer.compute_loss)
        trainer.model.zero_grad()
        loss = method(trainer.model, dict(batch), num_items_in_batch=count)
        loss.backward()
        results.append((loss, torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])))
    (lean, lean_gradient), (plain, plain_gradient) = results
    torch.testing.assert_close(lean, plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(lean_gradient, plain_gradient, rtol=1e-4, atol=1e-6)
    assert plain_gradient.abs().max() > 1e-4


@pytest.mark.parametrize("packing", [False, True])
def test_the_held_out_loss_is_a_mean_of_tokens_whatever_the_batch(tmp_path, packing):
    trainer = build(new_run(tmp_path / "run"), replace(CONFIG, compute_dtype="float32"), bf16=False, packing=packing)
    wanted, trainer_folder = held_out_nll(trainer.model.eval(), trainer.eval_dataset), Path(trainer.args.output_dir)
    for size in (1, 3, 4):
        trainer.args.per_device_eval_batch_size = size
        output = trainer.evaluation_loop(trainer.get_eval_dataloader(), "test", prediction_loss_only=True)
        assert output.metrics["eval_loss"] == pytest.approx(wanted.nll_per_token, rel=1e-5)
        rows = read_json(trainer_folder / "rows-0.json")
        assert sorted(nll for nll, _tokens in rows.values()) == pytest.approx(sorted(wanted.nll), rel=1e-5)
        assert sorted(tokens for _nll, tokens in rows.values()) == sorted(wanted.tokens)


def test_sample_replies_change_nothing_in_the_training(whole, tmp_path, capsys):
    run = new_run(tmp_path / "samples")
    talk = [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "네."}]
    write_jsonl(run.eval_jsonl, [{"messages": talk}])
    train(run, replace(CONFIG, sample_steps=5, max_new_tokens=4))
    assert re.findall(r"step (\d+): '안녕\?' -> ", capsys.readouterr().out) == ["5", "10"]
    assert_same_training(run, whole)
    kept = [(row["step"], row["question"]) for row in read_jsonl(run.samples)]
    assert kept == [(0, "안녕?"), (5, "안녕?"), (10, "안녕?")], "the first is the base's"
    assert "안녕?" in repr(sample_strip(run))


@pytest.mark.slow
def test_wandb_offline_file_holds_the_curve_and_no_token(tmp_path, monkeypatch):
    planted = "hf_" + "plantedPLANTEDplantedPLANTED1234"
    run = new_run(tmp_path / "tracked")
    command = (
        "from pathlib import Path; from helpers.runs import RunDir; from tests.small_training import CONFIG, train\n"
        "from dataclasses import replace; from helpers.train.callbacks import keep_curves_with_the_run\n"
        f"run = RunDir(Path({str(run.path)!r})); keep_curves_with_the_run(run, replace(CONFIG, report_to='wandb'))\n"
        "train(run, report_to=['wandb', 'trackio'], project='qlora', max_steps=4)"
    )
    environment = {**os.environ, "HF_TOKEN": planted, "SOME_API_KEY": planted}
    environment.pop("WANDB_MODE")
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (log,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    inspect = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(log)]
    told = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout
    assert '"type":"history"' in told.replace(" ", "") and "train/loss" in told
    assert list((run.path / "trackio").glob("qlora*.db"))
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert planted.encode() not in path.read_bytes(), f"the token is in {path}"
    assert planted not in done.stdout + done.stderr
