"""A5 on a run that 03 and 04 made: does a reward of checks raise the share of held-out replies that pass? By hand:

    python -m proofs.proof_reward [RUN] [--steps 30] [--rate 5e-4] [--temperature 0.7] [--prompts 4] [--of-each 4]

Prompts, checks, arguments and trainer are those of A5; the run itself is not changed. Seconds are CPU time of the
process.

Results of 2026-11-30, one thread of a 2-core AMD EPYC with AVX512-BF16 that did much other work.

An adapter that passes already. Demo (132 steps of 04), --rate 4e-4 --temperature 1, a rate that falls to 0, the nine
checks of the calendar, greedy replies to 48 held-out prompts:

                    before     after
    exact           42 of 48   41 of 48
    event_right     44         45
    day_right       45         46
    person_right    47         44
    copied          43         45
    the other four  47 each    47 each

The reward changed by +0.0 % (-2.7 to +2.7): that "exact" rises is NOT SHOWN. General text lost +0.06 nats (+0.03 to
+0.09) against the adapter of before. Of drawn replies to training prompts the reward rose from 7.9 to 8.5 of 9 (mean of
the first and of the last ten steps). In 57 % of the groups all four replies were worth the same: an adapter that passes
88 % has little left to learn. 749 CPU s for 30 steps, 25 each; 99 for the replies and losses around them.

An adapter that passes sometimes, 2026-12-01. Demo with 16 steps of 04 and 150 held-out rows:

    QLORA_RUN_NAME=young QLORA_MAX_STEPS=16 QLORA_EVAL_STEPS=16 QLORA_EVAL_FRACTION=0.25 QLORA_MAX_EVAL_ROWS=150 \
        python -m helpers.series demo 03 04
    python -m proofs.proof_reward young --rows 150 --rehearsal --steps 40 | --rehearsal --steps 64 | --steps 64

Greedy replies to 150 held-out prompts that pass, in %, and the loss of general text against the adapter of before:

                     before   --rehearsal, 40 steps     64 steps                  without it, 64 steps
    valid_json       97       99                        99                        99
    exact            23       42                        43                        51
    event_right      79       85                        85                        91
    day_right        51       77                        80                        78
    time_right       67       81                        81                        90
    place_right      83       85                        89                        91
    person_right     73       81                        82                        87
    copied           59       83                        79                        89
    nothing_added    81       83                        83                        83
    the reward                +11.2 (+8.0 to +14.6)     +11.9 (+8.6 to +15.4)     +15.8 (+12.3 to +19.5)
    general text              -0.396 (-0.457 to -0.336) -0.385 (-0.456 to -0.320) +0.063 (+0.029 to +0.093)

So the reward rises. Alone it has a price; a rate that falls to 0 (--schedule linear) gave +12.3 (+9.2 to +15.7) and
+0.064 (+0.034 to +0.092). With general conversations beside it nothing is forgotten. (They are written like the general
texts, though no text is in both: so it gains.) 32 to 48 % of the groups were without variance.

Time: 24 CPU s a step on one thread, 22 without rehearsal; the 40 steps took 11 minutes on two threads (16 s each, a
little work beside), the whole proof 13 min 28 s. With 30 steps, no rehearsal and 96 prompts, the day before, the reward
changed by +3.5 % (-1.3 to +8.0), general text by +0.025 (-0.001 to +0.052): unclear.

tiny --easy --steps 40 --rate 2e-3 --of-each 8 --temperature 1, a rate that falls to 0, drawn replies to 20 held-out
prompts:

                          before     after
    a day is named        6 of 20    0 of 20
    no character is half  0 of 20    20 of 20     40 steps: 19 CPU s

The reward rose by 35.0 % (20.2 to 46.0). It is a cheat, as the page says: one check is passed always, the other never
again; and general text was lost by 5.09 nats (4.83 to 5.33). With the calendar's checks tiny says that no reply passes
any.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean

from datasets.utils.logging import disable_progress_bar
from peft import PeftModel
from transformers import set_seed
from trl import GRPOConfig

from helpers.data.labels import encode_rows
from helpers.data.rehearsal import own_conversations
from helpers.evaluate.checks import Checked, load_checks, run_checks
from helpers.evaluate.decoding import Sampling
from helpers.evaluate.forgetting import forgetting_table, forgotten, general_rows, score_base
from helpers.evaluate.generation import generate_replies, prompts_and_references
from helpers.evaluate.held_out import held_out_nll
from helpers.evaluate.passed import checks_table
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.further import same_as_04
from helpers.train.reward import (
    RewardTrainer,
    pairs_by_checks,
    require_signal,
    reward_functions,
    reward_prompts,
    sampled,
    told_reward,
)


def weekday(messages: list[dict], reply: str, reference: str) -> bool:
    """A day is named."""
    return "day" in reply


def whole(messages: list[dict], reply: str, reference: str) -> bool:
    """No character is half."""
    return "\ufffd" not in reply


EASY = {"weekday": weekday, "whole": whole}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", default="demo")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--schedule", default="constant", help="of the rate; linear: it falls to 0")
    parser.add_argument("--rehearsal", action="store_true", help="general conversations, a few at each step")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--of-each", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.7, help="of the drawn replies")
    parser.add_argument("--rows", type=int, help="held-out prompts; all of the run without it")
    parser.add_argument("--checks", default="", help="those of the file that are the reward, with commas; empty = all")
    parser.add_argument("--easy", action="store_true", help="two checks that the tiny model can pass, on drawn replies")
    parser.add_argument("--out", help="file for the trainer's log")
    return parser.parse_args()


def settings(options: argparse.Namespace, config: RunConfig, folder: str, length: int) -> GRPOConfig:
    """As on the page."""
    return GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=options.prompts * options.of_each,
        num_generations=options.of_each,
        max_completion_length=length,
        max_steps=options.steps,
        learning_rate=options.rate,
        lr_scheduler_type=options.schedule,
        temperature=options.temperature,
        beta=0.0,
        disable_dropout=True,
        save_strategy="no",
        logging_steps=1,
        **same_as_04(config, GRPOConfig),
    )


def told_training(history: list[dict], checks: dict, out: str | None) -> None:
    """What was drawn at first and in the end, and in how many groups nothing could be learned."""
    for part, rows in (("first", history[:5]), ("last", history[-5:])):
        means = {name: fmean(row[f"rewards/{name}/mean"] for row in rows) for name in checks}
        print(f"drawn, {part} 5 steps:", {name: round(mean, 3) for name, mean in means.items()})
    print(f"groups without variance: {fmean(row['frac_reward_zero_std'] for row in history):.0%}")
    if out:
        Path(out).write_text("\n".join(map(json.dumps, history)))


def main() -> None:
    options = arguments()
    disable_progress_bar()
    run = RunDir(runs_root() / options.run)
    config = run.stored_config()
    tokenizer, every = load_tokenizer(config), EASY if options.easy else load_checks(config.checks)[0]
    length, drawn = (24, Sampling(1.0)) if options.easy else (config.max_new_tokens, None)
    checks = {name: check for name, check in every.items() if name in (options.checks or name).split(",")}
    prompts = reward_prompts(read_jsonl(run.train_jsonl), tokenizer)
    general = general_rows(tokenizer)
    model = PeftModel.from_pretrained(load_base_model(config), str(run.adapter), is_trainable=True)
    clock = time.process_time()

    def lap(what: str) -> None:
        nonlocal clock
        print(f"{what}: {time.process_time() - clock:.0f} CPU s", flush=True)
        clock = time.process_time()

    eight = prompts.shuffle(seed=config.seed).select(range(8))
    groups = sampled(model.eval(), tokenizer, eight, checks, length, options.temperature)
    print(require_signal(groups, len(checks)), f"{len(pairs_by_checks(groups))} pairs from 8 prompts")
    lap("8 prompts")

    asked, references = prompts_and_references(read_jsonl(run.eval_jsonl), options.rows, tokenizer)
    replies = {"before": generate_replies(model.eval(), tokenizer, asked, length, drawn)}
    scores = {"base": score_base(model.eval(), general)}
    lap(f"{len(asked)} held-out replies and general text, before")
    print(run_checks(every, asked, replies, references).counts(), flush=True)
    set_seed(config.luck)
    with tempfile.TemporaryDirectory(prefix="proof-reward-") as folder:
        args, functions = settings(options, config, folder, length), reward_functions(checks, tokenizer)
        data = {"train_dataset": prompts, "processing_class": tokenizer}
        kept = encode_rows(own_conversations(), tokenizer, config) if options.rehearsal else None
        trainer = RewardTrainer(model=model, args=args, reward_funcs=functions, rehearsal=kept, **data)
        lap("trainer")
        trainer.train()
    lap(f"{trainer.state.global_step} steps")
    told_training([row for row in trainer.state.log_history if "reward" in row], checks, options.out)
    replies["after"] = generate_replies(model.eval(), tokenizer, asked, length, drawn)
    scores["adapter"] = held_out_nll(model.eval(), general, reference=scores["base"].logits)
    lap("held-out replies and general text, after")
    checked = run_checks(every, asked, replies, references)
    print(checks_table(checked.counts(), checked.changes((("before", "after"),))))
    print(told_reward(Checked({name: checked.passed[name] for name in checks})))
    for name in checked.passed:
        print(name, told_reward(Checked({name: checked.passed[name]})))
    print(forgetting_table(forgotten(scores)))


if __name__ == "__main__":
    main()
