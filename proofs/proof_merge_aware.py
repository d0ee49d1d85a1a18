"""What does a merge keep that is read in 4 bits? Two merges of a plain training, and a merge trained as it is read.

    python -m proofs.proof_merge_aware [setting=value ...] [--data ChatbotData.csv] [--rows 32] [--files]

Measured 2026-11-30, SmolLM2-135M, one thread of a 2-core AMD EPYC with AVX512-BF16 that did much other work, 60 steps
x 8 rows, rate 2e-3, 32 held-out rows. The parts were run one by one, the same steps in scripts of their own; the
weights of the merges were set in memory. Nats per answer token, and the share of the gain (base - adapter) that is
kept:

                                                    demo               ChatbotData (1,200 rows of at most 64 tokens)
    base in 4 bits, adapter                     1.076, 0.037           2.680, 1.636
    W on its levels + change, rounded again     0.583    47.5 %        2.447    22.3 %    merge_and_unload in 4 bits
    16bit-base, read in 4 bits                  0.038    99.9 %        1.721    91.8 %
    W off its levels + change, rounded again    0.047    99.0 %        1.726    91.3 %    no training; edge of 0.02
    rounded with error compensation (GPTQ)      0.044    99.3 %        not measured       no training; 75 CPU s
    trained from step 30 on, W on its levels    0.090    94.9 %        not measured       its adapter alone: 4.25 nats

So most of the loss is not one of 4 bits: a weight that lies on a level falls back to it. Of the change 2 % arrive in
a layer of the demo from its level, and 100 % from its 16-bit weight. Training: 192 CPU s plain, 119 on ChatbotData;
30 of 60 steps with W on its levels and a quantiser by table 118 CPU s instead of 96. bitsandbytes' own quantiser
takes 29 ns a weight here, `off_levels` 21: by that an aware step takes 5.3 CPU s more, and the whole training of the
demo 1.4 times as long with merge_aware_from=0.85.

The demo of today (132 steps x 4 rows, rate 1e-3; the run of the series, gone on with from step 99, the last 20 steps
aware: 76 CPU s more than the 260 of a plain training, 1.3 times the whole; --files), and the same merges as llama.cpp's
files; base 1.076, adapter 0.025:

                                       in 4 bits (NF4)      Q4_0               Q4_K_M
    dequantised-base                   0.907    16.1 %      0.077    95.1 %    0.027    99.8 %
    16bit-base                         0.027    99.8 %      0.084    94.4 %    0.054    97.2 %
    merge_aware, its folder            0.032    99.4 %      0.075    95.2 %    0.033    99.2 %

Its adapter alone: 0.026, 99.9 %. So in Q4_K_M nothing is left to win (576 is no multiple of its blocks of 256, so
most of this model's weights lie in 5 or 8 bits there), and in Q4_0 a training for it could win 5 % at most: not tried.
The 4-bit base, written out, keeps more in these files than the 16-bit one: the adapter was trained beside it.

On ChatbotData (this command with max_steps=60
per_device_train_batch_size=8 learning_rate=2e-3, twice the same, one thread beside the tests): base 2.680, adapter
1.599; the plain training takes 142 CPU s.

                                                      NLL      kept      CPU time    its adapter alone
    merge_and_unload in 4 bits                        2.519    14.8 %
    16bit-base, read in 4 bits                        1.643    95.9 %    1.0
    merge_aware, the last 9 of 60 steps               1.655    94.8 %    1.3         99.9 %
    the same, at a rate falling from 0.3 of the peak  1.658    94.5 %    1.3         100.0 %
    the same, from the whole peak                     1.703    90.3 %    1.3         91.0 %
    the last 18 of 60 steps                           1.654    94.9 %    1.6         98.7 %

So neither a higher rate nor more aware steps help, and the plain 16bit-base, without any training, keeps most: it is
what 05 advises to those whose server reads in 4 bits.
"""

import argparse
import tempfile
import time
from pathlib import Path

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.evaluate.generation import prompts_and_references
from helpers.evaluate.held_out import held_out_nll
from helpers.files import read_jsonl
from helpers.merge.shards import merge_shards
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter, lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.serve.checks import exact_model
from helpers.serve.gguf import FILE_TYPES, SHARE, convert, quantise
from helpers.serve.parity import measure_gguf, measure_merged
from helpers.settings import RunConfig
from helpers.template.chat import render
from helpers.train.arguments import sft_arguments
from helpers.train.best import aware_from
from helpers.train.callbacks import MergeAware
from helpers.train.trainer import LeanTrainer

CHATBOT = {"max_rows": 1200, "max_length": 64}
FILE_TYPES["q4_0"], SHARE["q4_0"] = 2, 0.4  # llama.h's number; 07 does not offer it


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="ChatbotData.csv; else the demo's own data")
    parser.add_argument("--rows", type=int, default=32, help="held-out rows that are measured")
    parser.add_argument("--files", action="store_true", help="each merge as llama.cpp's Q4_0 and Q4_K_M, too")
    parser.add_argument("settings", nargs="*", help="such as merge_aware_from=0.5")
    options = parser.parse_args()
    changes = {"dataset_id": options.data, **CHATBOT} if options.data else {}
    changes |= dict(pair.split("=") for pair in options.settings)
    config = RunConfig.load("demo", run_name="proof", **changes)
    aware = RunConfig.load("demo", run_name="proof", merge_aware=True, **changes)
    with tempfile.TemporaryDirectory(prefix="proof-merge-aware-") as folder:
        run, tokenizer = RunDir(Path(folder)), load_tokenizer(config)
        prepare(config, run, tokenizer)
        first = aware_from(aware, config.max_steps)
        trained(run, config, tokenizer, save_steps=first)
        held = read_jsonl(run.eval_jsonl)[: options.rows]
        rows, (asked, _references) = encode_rows(held, tokenizer, config), prompts_and_references(held, count=4)
        texts = [render(tokenizer, messages, add_generation_prompt=True) for messages in asked]
        model = load_adapter(load_base_model(config), run.adapter)
        with model.disable_adapter():
            base = held_out_nll(model, rows).nll_per_token
        gain = base - held_out_nll(model, rows).nll_per_token
        print(f"base {base:.4f}, adapter {base - gain:.4f}", flush=True)

        def kept(name, model):
            nll = model if isinstance(model, float) else held_out_nll(model, rows).nll_per_token
            print(f"{name}: {nll:.4f}, {(base - nll) / gain:.1%} of the gain is kept", flush=True)

        def files(folder):
            """The merge of `folder` in llama.cpp, by the kind of its file."""
            if not options.files:
                return
            merged = measure_merged(exact_model(folder), tokenizer, rows, asked[:1], 1, folder)
            f16 = convert(folder, run.gguf / "f16.gguf", tokenizer, texts)
            for kind in ("q4_0", "q4_k_m"):
                file = quantise(f16, run.gguf / f"{kind}.gguf", kind)
                scores = measure_gguf(file, tokenizer, rows, asked[:1], 1, merged).scores
                kept(f"    its {kind} file", scores.nll_per_token)

        kept("merge_and_unload in 4 bits", model.merge_and_unload())
        for method in ("dequantised-base", "16bit-base"):
            merged = merge_shards(config, run.adapter, run.path / "merged", method)
            kept(f"{method}, read in 4 bits", load_base_model(config, source=str(merged)))
            files(merged)
        trained(run, aware, tokenizer, resume=run.trainer / f"checkpoint-{first}")
        merged = merge_shards(aware, run.adapter, run.path / "merged", "requantised")
        kept("merge_aware", load_adapter(load_base_model(aware), run.adapter))
        kept("merge_aware, the folder read in 4 bits", load_base_model(config, source=str(merged)))
        files(merged)
        kept("merge_aware, its adapter alone", load_adapter(load_base_model(config), run.adapter))


def trained(run: RunDir, config: RunConfig, tokenizer, save_steps: int = 0, resume: Path | None = None) -> None:
    """Train with 04's arguments, and save the adapter; CPU seconds are printed."""
    from transformers import set_seed
    from trl import SFTConfig

    saves = {"save_steps": save_steps} if save_steps else {"save_strategy": "no"}
    arguments = {**sft_arguments(config), "eval_strategy": "no", **saves, "disable_tqdm": True}
    tokenizer.save_pretrained(run.adapter)
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **arguments),
        train_dataset=encode_rows(read_jsonl(run.train_jsonl), tokenizer, config),
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[MergeAware(config)] if config.merge_aware else [],
    )
    start = time.process_time()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    print(f"trained in {time.process_time() - start:.0f} CPU s", flush=True)
    trainer.model.save_pretrained(run.adapter)


if __name__ == "__main__":
    main()
