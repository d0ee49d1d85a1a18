"""What do 4 bits cost? A run and its fork with load_in_4bit=False, three seeds each, the same held-out rows. By hand:

    python -m proofs.proof_four_bits [setting=value ...] [--data ChatbotData.csv] [--preset demo] [--seeds 1 2 3]

It is what 08 does, by its own functions: fork, the sentences of "What is proven", and of each seed the held-out
replies that pass the checks, won and lost against 4 bits (the demo's own data only). Seconds are CPU time.

Results of 2026-11-30, SmolLM2-135M, one thread of a 2-core AMD EPYC with AVX512-BF16 that did much other work.
ChatbotData with max_steps=30 per_device_train_batch_size=8 learning_rate=2e-3, nats per answer token:

               seed 1    2        3        mean     CPU s a training
    4 bits     1.987    1.969    1.948    1.968    70
    16 bits    1.824    1.790    1.840    1.818    65

16 bits are better by 0.150 nats, over rows (0.102 to 0.201) and over seeds (0.058 to 0.242).

The demo with max_steps=33, 132 of its messages; "exact" of 48 replies:

               seed 1       2            3            mean     CPU s
    4 bits     0.099, 23    0.090, 29    0.106, 28    0.098    76
    16 bits    0.076, 30    0.078, 31    0.089, 31    0.081    76

16 bits are lower by 0.018 nats, over rows (0.007 to 0.033) and over seeds (0.004 to 0.031): not 0, and not proven to be
more than the margin of 0.02. "exact" won 8, 5, 5 and lost 1, 3, 2 of 48; only the first is proven.
"""

import argparse
import os
import tempfile
import time

from datasets.utils.logging import disable_progress_bar

from helpers.compare.runs import read_runs
from helpers.compare.seeds import proven_over_seeds, seeds_table
from helpers.evaluate.checks import load_checks, run_checks
from helpers.evaluate.counts import changes, told_change
from helpers.evaluate.generation import generate_replies, prompts_and_references
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir, fork
from helpers.settings import RunConfig
from proofs.proof_go_on import trained
from proofs.proof_merge_aware import CHATBOT

PAIR = [("4 bits", "16 bits")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="ChatbotData.csv; else the preset's own data")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("settings", nargs="*", help="such as max_steps=60")
    options = parser.parse_args()
    disable_progress_bar()
    settings = {"dataset_id": options.data, "checks": "", **CHATBOT} if options.data else {}
    settings |= dict(pair.split("=") for pair in options.settings)
    with tempfile.TemporaryDirectory(prefix="proof-four-bits-") as folder:
        os.environ["QLORA_RUNS_DIR"] = folder
        config = RunConfig.load(options.preset, run_name="old", **settings)
        RunDir.open(config).save_config(config)
        for seed in options.seeds:
            replies = {}
            for kind, four in zip(PAIR[0], (True, False), strict=True):
                run = fork("old", f"{kind[:-5]}-{seed}", chosen=False, load_in_4bit=four, training_seed=seed)
                trained(run, run.stored_config())
                if config.checks:
                    replies[kind] = passed(run)
            for name in next(iter(replies.values()), ()):
                found = {kind: checks[name] for kind, checks in replies.items()}
                counts = {kind: f"{sum(rows)} of {len(rows)}" for kind, rows in found.items()}
                print(f"seed {seed}, {name}: {counts}, {told_change(changes(found, pairs=PAIR)[0])}", flush=True)
        trials = [trial for trial in read_runs() if trial.rows]
        print(seeds_table(trials), *proven_over_seeds(trials), sep="\n")


def passed(run: RunDir) -> dict[str, list[bool]]:
    """Check by check, which held-out replies of the run pass."""
    config, before = run.stored_config(), time.process_time()
    tokenizer = load_tokenizer(config)
    asked, references = prompts_and_references(read_jsonl(run.eval_jsonl), tokenizer=tokenizer)
    model = load_adapter(load_base_model(config), run.adapter)
    replies = {"": generate_replies(model, tokenizer, asked, config.max_new_tokens)}
    checked = run_checks(load_checks(config.checks)[0], asked, replies, references)
    print(f"{run.path.name}: {len(asked)} replies, {time.process_time() - before:.0f} CPU s", flush=True)
    return {name: rows[""] for name, rows in checked.passed.items()}


if __name__ == "__main__":
    main()
