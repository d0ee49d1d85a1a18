"""Does the range test suggest a good learning rate? Its suggestion against three fixed rates, by short trainings. By
hand:

    python -m proofs.bench_probe [--preset demo] [--csv ChatbotData.csv] [--steps 40] [--rates 3e-4 1e-3 3e-3]
    [--suggested RATE]

The demo's model and settings; its sample data, or 600 rows of the csv. Every rate trains `steps` steps with its own
warm-up and cosine, and is judged on the same held-out rows.

Results, nats per token on the held-out rows after 40 steps:

    preset, data          suggested   1e-4     3e-4     1e-3     3e-3     1e-2     3e-2      suggested against the best
    demo, sample data     2e-3 1.223           1.387    1.242    1.229                       -0.5 % (-0.018 to +0.007
    nats)
    demo, ChatbotData     1e-3        1.856    1.576    1.435    1.494                       it is the best
    tiny, sample data     3e-2                          7.557    7.254    7.116    7.073     it is the best
    tiny, ChatbotData     3e-2                          7.194    6.627    6.569    6.635     +1.0 %

demo: 2026-11-28, 2-core AMD EPYC CPU with AVX512-BF16, range test included 320 s (547 s CPU) and 245 s (428 s CPU), the
test itself 84 s; tiny: 2026-11-25, one without, beside much other work.

A tenth of the rate of the *lowest* loss, which is what the test suggested at first, gave 4e-4 on the demo with
ChatbotData: too low. The lowest point wanders with single batches; the rate at which the loss breaks down does so less
(1.5e-2 and 1.2e-2). The rule was changed when the curves of the last three rows were known; the first row was trained
afterwards.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.evaluate.held_out import held_out_nll
from helpers.evaluate.intervals import paired_difference, told_interval
from helpers.files import read_jsonl
from helpers.model.shapes import model_config
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.probe import range_test, rule_of_thumb, suggested_rate, suggestion, throwaway_trainer


def trained(run: RunDir, config: RunConfig):
    """The model after a training of config.max_steps; nothing is written."""
    trainer = throwaway_trainer(run, config)
    trainer.train()
    return trainer.model.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--csv", default="")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--suggested", type=float, help="by an earlier range test, which is not made again")
    options = parser.parse_args()
    data = {"dataset_id": options.csv} if options.csv else {}
    config = RunConfig.load(options.preset, run_name="bench", max_steps=options.steps, logging_steps=20, **data)
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as folder:
        run = RunDir(Path(folder))
        counts = prepare(config, run, load_tokenizer(config))
        print(
            f"{config.dataset_id}: {counts['rows']['train']} rows to train on, {counts['rows']['eval']} held out",
            flush=True,
        )
        width, suggested = model_config(config)["hidden_size"], options.suggested
        print(f"rule of thumb: {rule_of_thumb(config, width):.1e}")
        if suggested is None:
            start = time.perf_counter()
            rows = range_test(throwaway_trainer(run, config))
            for row in rows:
                print(f"  {row['learning_rate']:.2e} {row['loss']:.3f} {row['smooth']:.3f}")
            print(f"{suggestion(rows, config, width)}\n{time.perf_counter() - start:.0f} s", flush=True)
            if (suggested := suggested_rate(rows)) is None:
                return
        held_out = encode_rows(read_jsonl(run.eval_jsonl), load_tokenizer(config), config)
        scores = {}
        for rate in dict.fromkeys([*options.rates, suggested]):
            scores[rate] = held_out_nll(trained(run, replace(config, learning_rate=rate)), held_out)
            print(f"{rate:.1e}: {scores[rate].nll_per_token:.4f} nats per token", flush=True)
        best = min(options.rates, key=lambda rate: scores[rate].nll_per_token)
        gap = paired_difference(scores[best].nll, scores[suggested].nll, scores[best].tokens)
        share, interval = gap["difference"] / scores[best].nll_per_token, told_interval(gap["low"], gap["high"])
        print(
            f"suggested {suggested:.1e} against the best, {best:.1e}: {gap['difference']:+.3f} ({interval}), "
            f"{share:+.1%}"
        )


if __name__ == "__main__":
    main()
