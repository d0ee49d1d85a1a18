"""A training of seconds, put together as in notebook 04: python -m tests.small_training RUN_FOLDER [--die-in-save STEP
| --fill-disk-in-save STEP]"""

import argparse
import contextlib
import os
import signal
from pathlib import Path

from helpers.runs import RunDir
from helpers.settings import RunConfig

# three epochs, so that a resume meets the second and third data order; dropout, so that it meets random numbers
CONFIG = RunConfig(
    preset="tiny",
    model_id="build:tiny-llama",
    max_length=96,
    lora_r=4,
    lora_dropout=0.1,
    learning_rate=1e-2,
    lr_scheduler_type="linear",
    warmup_steps=0,
    weight_decay=0.0,
    max_grad_norm=1.0,
    max_steps=14,
    per_device_train_batch_size=4,
    logging_steps=1,
    eval_steps=7,
    save_steps=3,
    keep="last",  # checkpoints at multiples of 3 only; tests/train/test_best.py is about the best
    sort_by_length=True,
)


def build(run: RunDir, config: RunConfig = CONFIG, rows: int = 20, **changes):
    """The trainer of notebook 04 for the first `rows` rows of the sample data; `changes` go to SFTConfig."""
    from transformers import set_seed
    from trl import SFTConfig

    from helpers.data.formats import convert, recognise
    from helpers.data.labels import encode_rows
    from helpers.files import read_jsonl
    from helpers.model.load import load_base_model
    from helpers.model.lora import lora_config
    from helpers.model.tokenizer import load_tokenizer
    from helpers.paths import PROJECT_ROOT
    from helpers.train.arguments import sft_arguments
    from helpers.train.callbacks import callbacks
    from helpers.train.trainer import LeanTrainer

    tokenizer = load_tokenizer(config)
    sample = read_jsonl(PROJECT_ROOT / "notebooks/data/sample_ko_instructions.jsonl")[: rows + 4]
    form = recognise(sample)
    data = encode_rows([{"messages": convert(row, form).messages} for row in sample], tokenizer, config)
    set_seed(config.seed)
    settings = {
        **sft_arguments(config),
        "output_dir": str(run.trainer),
        "per_device_eval_batch_size": 4,
        "disable_tqdm": True,
        **changes,
    }
    return LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(**settings),
        train_dataset=data.select(range(4, rows + 4)),
        eval_dataset=data.select(range(4)),
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=callbacks(run, config),
    )


def train(run: RunDir, config: RunConfig = CONFIG, **changes):
    """Train to the end, or go on from the newest complete checkpoint; then save the adapter, as notebook 04 does."""
    from helpers.train.best import use_kept
    from helpers.train.checkpoints import is_last, newest_complete
    from helpers.train.failures import failures_explained

    trainer = build(run, config, **changes)
    with run.lock("training"), failures_explained(run):
        checkpoint = newest_complete(run.trainer)
        if checkpoint and is_last(checkpoint):
            trainer.load_trained(checkpoint)
        else:
            trainer.args.eval_on_start = checkpoint is None
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        use_kept(trainer, run, config)
        trainer.model.save_pretrained(run.adapter)
    return trainer


def in_save(step: int, act) -> None:
    """Call `act(save, value, path)` in place of torch.save for the optimizer's state of `step`."""
    import torch

    save = torch.save

    def instead(value, path):
        if str(path).endswith(f"checkpoint-{step}/optimizer.pt"):
            act(save, value, path)
        else:
            save(value, path)

    torch.save = instead


def die(save, value, path) -> None:
    """Write half of the file, then kill this process as kill -9 does."""
    save(value, path)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(save, value, path) -> None:
    """As another program would: take all the space that is left, then go on with the save."""
    filler = Path(path).parents[2] / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    save(value, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-in-save", type=int)
    parser.add_argument("--fill-disk-in-save", type=int)
    options = parser.parse_args()
    if options.die_in_save:
        in_save(options.die_in_save, die)
    if options.fill_disk_in_save:
        in_save(options.fill_disk_in_save, fill_disk)
    options.folder.mkdir(parents=True, exist_ok=True)
    train(RunDir(options.folder))
