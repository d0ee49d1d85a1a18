"""What does `rehearsal_fraction` change? Two short trainings of the demo, one with general conversations mixed in. By
hand:

    python -m proofs.bench_rehearsal [--preset demo] [--steps 40] [--fraction 0.1]

Both trainings have the same seed, steps and held-out rows; what was forgotten is measured as 06 does, on 65 general
texts.

Results, nats per token; general text is 65 passages and questions, 32 of them Korean:

    preset, steps, share           general text, with - without      held-out rows, with - without
    demo, 72, 0.1 (2026-11-28)     -0.039 (-0.069 to -0.009)         -0.005 (-0.031 to +0.026, 48 rows)
    tiny, 40, 0.2 (2026-11-25)     -0.175 (-0.205 to -0.146)         +0.020 (+0.009 to +0.036, 20 rows)

The demo against its base on general text: -0.471 (-0.622 to -0.343) without, -0.510 (-0.658 to -0.386) with rehearsal.
So nothing was forgotten: this base knows little Korean, and learns some on the way (Korean -0.62, English -0.08,
unclear). 220 s, 397 s CPU, on a 2-core AMD EPYC CPU with AVX512-BF16; the tiny runs on one without, beside much other
work.
"""

import argparse
import tempfile
from pathlib import Path

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.evaluate.forgetting import forgetting_table, forgotten, general_rows
from helpers.evaluate.held_out import held_out_nll
from helpers.evaluate.intervals import paired_difference, told_interval
from helpers.files import read_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from proofs.bench_probe import trained


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--fraction", type=float, default=0.1)
    options = parser.parse_args()
    general, own = {}, {}
    for name, fraction in {"without": 0.0, "with": options.fraction}.items():
        settings = {"max_steps": options.steps, "logging_steps": 20, "rehearsal_fraction": fraction}
        config = RunConfig.load(options.preset, run_name="bench", **settings)
        tokenizer = load_tokenizer(config)
        with tempfile.TemporaryDirectory(prefix="bench-rehearsal-") as folder:
            run = RunDir(Path(folder))
            print(name, prepare(config, run, tokenizer)["rows"], flush=True)
            model = trained(run, config)
            held_out = encode_rows(read_jsonl(run.eval_jsonl), tokenizer, config)
            if not general:
                with model.disable_adapter():
                    general["base"], own["base"] = (
                        held_out_nll(model, rows) for rows in (general_rows(tokenizer), held_out)
                    )
            general[name], own[name] = (held_out_nll(model, rows) for rows in (general_rows(tokenizer), held_out))
    print(forgetting_table(forgotten(general)))
    for what, scores in (("general text", general), ("held-out rows", own)):
        gap = paired_difference(scores["without"].nll, scores["with"].nll, scores["with"].tokens)
        interval = told_interval(gap["low"], gap["high"])
        print(f"{what}: with - without {gap['difference']:+.3f} ({interval}, {gap['rows']} texts)", flush=True)
    print({name: round(score.nll_per_token, 3) for name, score in own.items()})


if __name__ == "__main__":
    main()
