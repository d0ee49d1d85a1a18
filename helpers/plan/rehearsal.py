"""The dress rehearsal: train, evaluate, save, reload, answer and merge in about two minutes, before the long run.

Three steps on the longest rows there are, in a folder that is thrown away. It finds what a plan cannot: a missing
package, a full disk, a gated model, memory that is not enough; and it measures this machine's own speed.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from helpers.files import folder_bytes, read_jsonl
from helpers.paths import runs_root
from helpers.plan.time import training_tokens
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_bytes

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
        seconds = {"training": training, "evaluations": evaluations, "merge": merges * self.merge_seconds}
        return {part: time / 3600 for part, time in seconds.items()}


def rehearse(config: RunConfig) -> Rehearsal:
    """Run the whole series in small; whatever fails here would have failed later, with its own error."""
    done, seconds = [], {}

    def act(step: str, call, told):
        start = time.perf_counter()
        result = call()
        seconds[step] = time.perf_counter() - start
        done.append({"step": step, "seconds": round(seconds[step], 1), "result": told(result)})
        return result

    runs_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs_root(), prefix=".rehearsal-") as folder:
        run = RunDir(Path(folder))
        tokenizer, rows, held_out = act(
            "data",
            lambda: _data(config, run),
            lambda r: f"{len(r[1])} rows, longest {max(map(len, r[1]['input_ids']))} tokens",
        )
        trainer, pace, peak = act(
            "train", lambda: _train(config, run, tokenizer, rows, held_out), lambda r: f"{r[1]:,.0f} tokens/s"
        )
        eval_speed = act("evaluate", lambda: _evaluate(trainer), lambda speed: f"{speed:,.0f} tokens/s")
        act("save", lambda: _save(trainer, tokenizer, run), human_bytes)
        trainer = None  # its memory is needed again
        model = act("reload", lambda: _reload(config, run), lambda m: type(m).__name__)
        prompt = [read_jsonl(run.train_jsonl)[0]["messages"][:1]]
        act("answer", lambda: _answer(model, tokenizer, prompt), lambda replies: f"{len(replies[0].token_ids)} tokens")
        model = None
        act("merge", lambda: _merge(config, run), human_bytes)
    lengths = [[len(ids) for ids in part["input_ids"]] for part in (rows, held_out)]
    return Rehearsal(done, pace, eval_speed, seconds["merge"], peak, *lengths)


def _data(config: RunConfig, run: RunDir):
    from helpers.data.labels import encode_rows
    from helpers.data.prepare import prepare
    from helpers.model.tokenizer import load_tokenizer

    prepare(config, run)
    tokenizer = load_tokenizer(config)
    train, held_out = (encode_rows(read_jsonl(path), tokenizer, config) for path in (run.train_jsonl, run.eval_jsonl))
    return tokenizer, train, held_out


def _train(config: RunConfig, run: RunDir, tokenizer, rows, held_out):
    from transformers import PrinterCallback, TrainerCallback, set_seed
    from trl import SFTConfig

    from helpers.model.load import load_base_model
    from helpers.model.lora import lora_config
    from helpers.train.arguments import QUIET, sft_arguments
    from helpers.train.metrics import peak_memory_bytes
    from helpers.train.trainer import LeanTrainer

    steps = config.gradient_accumulation_steps
    size, evaluated = config.per_device_train_batch_size * steps, EVALUATED * config.per_device_eval_batch_size
    batch = _longest(rows, size, size * STEPS)
    short = {"max_steps": STEPS, "logging_strategy": "no", "disable_tqdm": True}
    ends, tokens = [], []  # seconds at the end of each step; tokens of each forward pass, padding and all

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            ends.append((time.perf_counter(), sum(tokens)))

    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **(sft_arguments(config) | QUIET | short)),
        train_dataset=batch,
        eval_dataset=_longest(held_out, evaluated, evaluated) if len(held_out) else None,
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)

    def count(model, args, inputs):
        tokens.append(inputs["input_ids"].numel())

    with trainer.model.register_forward_pre_hook(count, with_kwargs=True):
        trainer.train()
    (start, warm), (end, all_tokens) = ends[0], ends[-1]
    return trainer, (all_tokens - warm) / (end - start), peak_memory_bytes()


def _longest(rows, different: int, count: int):
    """`count` rows: the `different` longest ones, again and again."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))[:different]
    return rows.select([order[i % len(order)] for i in range(count)])


def _evaluate(trainer) -> float:
    """Tokens per second of an evaluation, 0 when nothing is held out."""
    if trainer.eval_dataset is None:
        return 0.0
    start = time.perf_counter()
    trainer.evaluate()
    return sum(map(len, trainer.eval_dataset["input_ids"])) / (time.perf_counter() - start)


def _save(trainer, tokenizer, run: RunDir) -> int:
    trainer.model.save_pretrained(run.adapter)
    tokenizer.save_pretrained(run.adapter)
    return folder_bytes(run.adapter)


def _reload(config: RunConfig, run: RunDir):
    from helpers.model.load import load_base_model
    from helpers.model.lora import load_adapter

    return load_adapter(load_base_model(config), run.adapter)


def _answer(model, tokenizer, prompt):
    from helpers.evaluate.generation import generate_replies

    return generate_replies(model, tokenizer, prompt, max_new_tokens=16)


def _merge(config: RunConfig, run: RunDir) -> int:
    from helpers.merge.shards import merge_shards

    return folder_bytes(merge_shards(config, run.adapter, run.merged, "16bit-base"))
