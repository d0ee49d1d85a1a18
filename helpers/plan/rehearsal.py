"""The dress rehearsal: train, evaluate, save, reload, answer and merge in about two minutes, before the long run.

Three steps on the longest rows there are, in a folder that is thrown away. It meets what a plan cannot know: a missing
package, a full disk, a gated model, memory that is not enough; and it measures this machine's own speed.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback, set_seed
from trl.trainer.sft_config import SFTConfig

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.evaluate.generation import generate_replies
from helpers.files import folder_bytes, read_jsonl
from helpers.merge.shards import merge_shards
from helpers.model.cores import longest_first
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter, lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import runs_root
from helpers.plan.time import training_tokens
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import N_, _
from helpers.train.arguments import QUIET, sft_arguments
from helpers.train.metrics import peak_memory_bytes
from helpers.train.trainer import LeanTrainer

STEPS = 3  # the first one warms up and is not measured
EVALUATED = 2  # batches


@dataclass(frozen=True)
class Rehearsal:
    """What was done (rows of step, seconds, result), and what was measured.

    Speeds in tokens per second, padding counted; the peak of memory in bytes; lengths in tokens of each conversation.
    """

    done: list[dict]
    train_speed: float
    eval_speed: float  # 0 without a held-out part
    merge_seconds: float
    peak_memory_bytes: int
    lengths: list[int]
    eval_lengths: list[int]

    def hours(self, config: RunConfig) -> dict[str, float]:
        """Hours of the whole series at these speeds: training, its evaluations, the merge."""
        steps = config.max_steps
        if steps <= 0:
            passes = sum(self.lengths) / config.max_length if config.packing else len(self.lengths)
            rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
            steps = config.num_train_epochs * passes / rows
        times = 2 + int(steps // config.eval_steps)  # before the first step and after the last as well
        merges = 2 if config.merge_method == "auto" and config.load_in_4bit else 1  # auto tries both ways
        seconds = {
            N_("training"): training_tokens(config, self.lengths) / self.train_speed,
            N_("evaluation"): times * sum(self.eval_lengths) / self.eval_speed if self.eval_speed else 0.0,
            N_("merge"): merges * self.merge_seconds,
        }
        return {part: time / 3600 for part, time in seconds.items()}


def rehearse(config: RunConfig) -> Rehearsal:
    """Run the whole series in small; whatever fails here would have failed later, with its own error."""
    done, speed = [], _("{speed} tokens/s")
    runs_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs_root(), prefix=".rehearsal-") as folder:
        run = RunDir(Path(folder))
        with _step(done, N_("data")) as row:
            tokenizer, train, held_out = _data(config, run)
            lengths, eval_lengths = ([len(ids) for ids in part["input_ids"]] for part in (train, held_out))
            result = _("{rows} rows, the longest with {tokens} tokens")
            row["result"] = result.format(rows=len(train), tokens=max(lengths))
        with _step(done, N_("train")) as row:
            trainer, pace, peak = _train(config, run, tokenizer, train, held_out)
            row["result"] = speed.format(speed=f"{pace:,.0f}")
        with _step(done, N_("evaluate")) as row:
            eval_pace = _evaluate(trainer)
            row["result"] = speed.format(speed=f"{eval_pace:,.0f}")
        with _step(done, N_("save")) as row:
            model: Any = trainer.model
            model.save_pretrained(run.adapter)
            tokenizer.save_pretrained(run.adapter)
            row["result"] = human_bytes(folder_bytes(run.adapter))
        del trainer, model  # their memory is needed again
        _use(config, run, tokenizer, done)
    return Rehearsal(done, pace, eval_pace, done[-1]["seconds"], peak, lengths, eval_lengths)


@contextlib.contextmanager
def _step(done: list[dict], name: str) -> Iterator[dict]:
    """Add the step to `done` with its seconds; the block itself writes what came out."""
    start, row = time.perf_counter(), {"step": _(name), "seconds": 0.0, "result": ""}
    yield row
    row["seconds"] = round(time.perf_counter() - start, 1)
    done.append(row)


def _data(config: RunConfig, run: RunDir) -> tuple[PreTrainedTokenizerBase, Dataset, Dataset]:
    prepare(config, run)
    tokenizer = load_tokenizer(config)
    train, held_out = (encode_rows(read_jsonl(path), tokenizer, config) for path in (run.train_jsonl, run.eval_jsonl))
    return tokenizer, train, held_out


def _train(
    config: RunConfig, run: RunDir, tokenizer: PreTrainedTokenizerBase, rows: Dataset, held_out: Dataset
) -> tuple[LeanTrainer, float, int]:
    """The trainer after `STEPS` steps, tokens per second without the first, and the peak of memory in bytes."""
    ends = []  # seconds and tokens so far, padding and all, at the end of each step

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            ends.append((time.perf_counter(), int(state.num_input_tokens_seen)))

    size = config.per_device_train_batch_size * config.gradient_accumulation_steps
    evaluated = EVALUATED * config.per_device_eval_batch_size
    measured = _longest(held_out, evaluated, evaluated) if len(held_out) else None
    trainer = _trainer(config, run, tokenizer, _longest(rows, size, size * STEPS), measured)
    trainer.add_callback(Watch())
    trainer.train()
    (start, warm), (end, tokens) = ends[0], ends[-1]
    return trainer, (tokens - warm) / (end - start), peak_memory_bytes()


def _trainer(config: RunConfig, run: RunDir, tokenizer, rows: Dataset, held_out: Dataset | None) -> LeanTrainer:
    """04's trainer, for `STEPS` steps that leave nothing behind."""
    short = {"max_steps": STEPS, "logging_strategy": "no", "disable_tqdm": True, "include_num_input_tokens_seen": "all"}
    keywords: dict[str, Any] = sft_arguments(config) | QUIET | short
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **keywords),
        train_dataset=rows,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _longest(rows: Dataset, different: int, count: int) -> Dataset:
    """`count` rows: the `different` longest ones, again and again."""
    order = longest_first(rows["input_ids"], different)[0]
    return rows.select([order[i % len(order)] for i in range(count)])


def _evaluate(trainer: LeanTrainer) -> float:
    """Tokens per second of an evaluation, 0 when nothing is held out."""
    rows: Any = trainer.eval_dataset
    if rows is None:
        return 0.0
    start = time.perf_counter()
    trainer.evaluate()
    return sum(map(len, rows["input_ids"])) / (time.perf_counter() - start)


def _use(config: RunConfig, run: RunDir, tokenizer: PreTrainedTokenizerBase, done: list[dict]) -> None:
    """What comes after the training: the adapter is loaded again, answers the first question, and is merged."""
    with _step(done, N_("reload")) as row:
        model: Any = load_adapter(load_base_model(config), run.adapter)
        row["result"] = type(model).__name__
    with _step(done, N_("answer")) as row:
        prompt = read_jsonl(run.train_jsonl)[0]["messages"][:1]
        (reply,) = generate_replies(model, tokenizer, [prompt], max_new_tokens=16)
        row["result"] = _("{count} tokens").format(count=len(reply.token_ids))
    del model
    with _step(done, N_("merge")) as row:
        row["result"] = human_bytes(folder_bytes(merge_shards(config, run.adapter, run.merged, "16bit-base")))
