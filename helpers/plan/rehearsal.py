"""The dress rehearsal: train, evaluate, save, reload, answer and merge in about two minutes, before the long run.

Three steps on the longest rows there are, in a folder that is thrown away. It finds what a plan cannot: a missing
package, a full disk, a gated model, memory that is not enough; and it measures this machine's own speed.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import folder_bytes, read_jsonl
from helpers.paths import runs_root
from helpers.plan.time import training_tokens
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import N_, _

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

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
        training = training_tokens(config, self.lengths) / self.train_speed
        rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
        passes = sum(self.lengths) / config.max_length if config.packing else len(self.lengths)
        steps = config.max_steps if config.max_steps > 0 else config.num_train_epochs * passes / rows
        times = 2 + int(steps // config.eval_steps)  # before the first step and after the last as well
        evaluations = times * sum(self.eval_lengths) / self.eval_speed if self.eval_speed else 0.0
        merges = 2 if config.merge_method == "auto" and config.load_in_4bit else 1  # auto tries both ways
        seconds = {N_("training"): training, N_("evaluation"): evaluations, N_("merge"): merges * self.merge_seconds}
        return {part: time / 3600 for part, time in seconds.items()}


@dataclass
class Clock:
    """The steps that were rehearsed, each with its seconds."""

    done: list[dict] = field(default_factory=list)

    def act(self, step: str, call, words):
        """Do one step; `words(result)` says how it went."""
        start = time.perf_counter()
        result = call()
        self.done.append({"step": _(step), "seconds": round(time.perf_counter() - start, 1), "result": words(result)})
        return result


def rehearse(config: RunConfig) -> Rehearsal:
    """Run the whole series in small; whatever fails here would have failed later, with its own error."""
    clock, tokens_a_second = Clock(), _("{speed} tokens/s")
    runs_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs_root(), prefix=".rehearsal-") as folder:
        run = RunDir(Path(folder))
        tokenizer, *parts = clock.act(N_("data"), lambda: _data(config, run), _rows_in_words)
        lengths = [[len(ids) for ids in part["input_ids"]] for part in parts]
        trainer, pace, peak = clock.act(
            N_("train"),
            lambda: _train(config, run, tokenizer, *parts),
            lambda found: tokens_a_second.format(speed=f"{found[1]:,.0f}"),
        )
        eval_speed = clock.act(
            N_("evaluate"), lambda: _evaluate(trainer), lambda found: tokens_a_second.format(speed=f"{found:,.0f}")
        )
        clock.act(N_("save"), lambda: _save(trainer, tokenizer, run), human_bytes)
        trainer = None  # its memory is needed again
        model = clock.act(N_("reload"), lambda: _reload(config, run), lambda model: type(model).__name__)
        clock.act(
            N_("answer"), lambda: _answer(model, tokenizer, run), lambda count: _("{count} tokens").format(count=count)
        )
        model = None
        clock.act(N_("merge"), lambda: _merge(config, run), human_bytes)
    return Rehearsal(clock.done, pace, eval_speed, clock.done[-1]["seconds"], peak, *lengths)


def _data(config: RunConfig, run: RunDir) -> tuple[PreTrainedTokenizerBase, Dataset, Dataset]:
    from helpers.data.labels import encode_rows
    from helpers.data.prepare import prepare
    from helpers.model.tokenizer import load_tokenizer

    prepare(config, run)
    tokenizer = load_tokenizer(config)
    train, held_out = (encode_rows(read_jsonl(path), tokenizer, config) for path in (run.train_jsonl, run.eval_jsonl))
    return tokenizer, train, held_out


def _rows_in_words(found: tuple) -> str:
    rows = found[1]
    told = _("{rows} rows, the longest with {tokens} tokens")
    return told.format(rows=len(rows), tokens=max(map(len, rows["input_ids"])))


def _train(
    config: RunConfig, run: RunDir, tokenizer: PreTrainedTokenizerBase, rows: Dataset, held_out: Dataset
) -> tuple[LeanTrainer, float, int]:
    """The trainer after `STEPS` steps, its speed without the first in tokens per second, and the peak of memory in bytes."""
    from transformers import TrainerCallback

    from helpers.train.metrics import peak_memory_bytes

    ends = []  # seconds and tokens so far, padding and all, at the end of each step

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            ends.append((time.perf_counter(), int(state.num_input_tokens_seen)))

    size = config.per_device_train_batch_size * config.gradient_accumulation_steps
    evaluated = EVALUATED * config.per_device_eval_batch_size
    shown = _longest(held_out, evaluated, evaluated) if len(held_out) else None
    trainer = _trainer(config, run, tokenizer, _longest(rows, size, size * STEPS), shown)
    trainer.add_callback(Watch())
    trainer.train()
    (start, warm), (end, tokens) = ends[0], ends[-1]
    return trainer, (tokens - warm) / (end - start), peak_memory_bytes()


def _trainer(config: RunConfig, run: RunDir, tokenizer, rows: Dataset, held_out: Dataset | None) -> LeanTrainer:
    """04's trainer, for `STEPS` steps that leave nothing behind."""
    from transformers import PrinterCallback, set_seed
    from trl import SFTConfig

    from helpers.model.load import load_base_model
    from helpers.model.lora import lora_config
    from helpers.train.arguments import QUIET, sft_arguments
    from helpers.train.trainer import LeanTrainer

    short = {"max_steps": STEPS, "logging_strategy": "no", "disable_tqdm": True, "include_num_input_tokens_seen": "all"}
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **(sft_arguments(config) | QUIET | short)),
        train_dataset=rows,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _longest(rows: Dataset, different: int, count: int) -> Dataset:
    """`count` rows: the `different` longest ones, again and again."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))[:different]
    return rows.select([order[i % len(order)] for i in range(count)])


def _evaluate(trainer: LeanTrainer) -> float:
    """Tokens per second of an evaluation, 0 when nothing is held out."""
    if trainer.eval_dataset is None:
        return 0.0
    start = time.perf_counter()
    trainer.evaluate()
    return sum(map(len, trainer.eval_dataset["input_ids"])) / (time.perf_counter() - start)


def _save(trainer: LeanTrainer, tokenizer: PreTrainedTokenizerBase, run: RunDir) -> int:
    trainer.model.save_pretrained(run.adapter)
    tokenizer.save_pretrained(run.adapter)
    return folder_bytes(run.adapter)


def _reload(config: RunConfig, run: RunDir) -> PeftModel:
    from helpers.model.load import load_base_model
    from helpers.model.lora import load_adapter

    return load_adapter(load_base_model(config), run.adapter)


def _answer(model: PeftModel, tokenizer: PreTrainedTokenizerBase, run: RunDir) -> int:
    """Tokens of a reply to the first question."""
    from helpers.evaluate.generation import generate_replies

    prompt = read_jsonl(run.train_jsonl)[0]["messages"][:1]
    return len(generate_replies(model, tokenizer, [prompt], max_new_tokens=16)[0].token_ids)


def _merge(config: RunConfig, run: RunDir) -> int:
    from helpers.merge.shards import merge_shards

    return folder_bytes(merge_shards(config, run.adapter, run.merged, "16bit-base"))
