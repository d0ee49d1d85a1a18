"""How long 100 replies take on this machine, by batch size. Not run by the tests.

QLORA_PRESET=demo python -m proofs.bench_generation     # after 03, 04 and 05 of the demo

Demo after 6 training steps, at most 112 tokens a reply, one core of a 2-core AMD EPYC CPU beside other work,
2026-11-24, when a 4-bit model still unpacked its weights for every token (since 2026-11-25 see model/unpacking.py: one
token of 8 rows takes 0.13 CPU s instead of 0.22 on a CPU without AVX512):

    merged            batches of 8: 156 s    batches of 32:  83 s
    4-bit + adapter   batches of 8: 435 s    batches of 32: 157 s
"""

import time

from helpers.evaluate import generation
from helpers.evaluate.generation import generate_replies, prompts_and_references
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig


def main() -> None:
    run = RunDir.open(RunConfig.load())
    config = run.load_config()
    tokenizer = load_tokenizer(config, source=str(run.adapter))
    prompts, _ = prompts_and_references([*read_jsonl(run.eval_jsonl), *read_jsonl(run.train_jsonl)], count=100)
    models = {
        "merged": lambda: load_base_model(config, four_bit=False, source=str(run.merged)),
        "4-bit + adapter": lambda: load_adapter(load_base_model(config), run.adapter),
    }
    for name, load in models.items():
        model = load()
        for size in (8, 32):
            generation.ROWS = dict.fromkeys(generation.ROWS, size)
            start = time.perf_counter()
            replies = generate_replies(model, tokenizer, prompts, config.max_new_tokens)
            seconds, tokens = time.perf_counter() - start, sum(len(reply.token_ids) for reply in replies)
            print(f"{name}, batches of {size}: {seconds:.0f} s for {len(replies)} replies, {tokens} tokens", flush=True)


if __name__ == "__main__":
    main()
