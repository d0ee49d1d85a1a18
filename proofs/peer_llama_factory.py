"""The same short training by LLaMA-Factory, for bench_training.py. It has pins of its own, so it needs its own
environment:

    python -m venv peer && peer/bin/pip install llamafactory==0.9.5 bitsandbytes==0.50.2
    peer/bin/python proofs/peer_llama_factory.py --data ChatbotData.csv --model FOLDER [--steps 60]

On a machine without a GPU its packages torchvision and torchaudio must be CPU builds, as torch is. Its defaults,
with the settings of the bench: 4 bits, rank 16 on all linear layers, batch 8, the same rows and texts.
"""

import argparse
import csv
import json
import random
import resource
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CSV file with columns Q and A")
    parser.add_argument("--model", required=True, help="folder of a model without a chat template")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()

    from llamafactory.data.formatter import StringFormatter
    from llamafactory.data.template import register_template
    from llamafactory.train.tuner import run_exp

    with open(options.data, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(42).shuffle(rows)
    register_template(
        name="bench",
        format_user=StringFormatter(slots=["<usr> {{content}}\n<bot>"]),
        format_assistant=StringFormatter(slots=[" {{content}}", {"eos_token"}, "\n"]),
    )
    with tempfile.TemporaryDirectory() as folder:
        data = [{"instruction": row["Q"], "input": "", "output": row["A"]} for row in rows[:600]]
        Path(folder, "data.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        Path(folder, "dataset_info.json").write_text(json.dumps({"bench": {"file_name": "data.json"}}))
        settings = {
            "model_name_or_path": options.model, "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0, "lora_target": "all", "quantization_bit": 4,
            "template": "bench", "dataset": "bench", "dataset_dir": folder, "cutoff_len": 512,
            "output_dir": f"{folder}/out", "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1,
            "max_steps": options.steps, "learning_rate": 2e-4, "lr_scheduler_type": "linear", "logging_steps": 1,
            "save_strategy": "no", "bf16": True, "report_to": "none", "seed": 42, "use_cpu": True,
        }  # fmt: skip
        run_exp(settings)
        results = json.loads(Path(folder, "out", "train_results.json").read_text())
        log = [json.loads(line) for line in Path(folder, "out", "trainer_log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if "loss" in row][-10:]
    print(
        f"LLaMA-Factory: {8 * options.steps / results['train_runtime']:.3f} rows/s, {results['train_runtime']:.1f} s, "
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB, "
        f"loss, last 10 steps {sum(losses) / len(losses):.3f}"
    )


if __name__ == "__main__":
    main()
