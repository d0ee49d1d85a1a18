"""How long the merge takes and how much memory it needs at Llama-2-7B's size, ours and peft's. Not run by the tests.

python -m tests.bench_merging FOLDER     # random weights, 13.5 GB, and two merged models: about 30 GB of disk

2026-11-24, 2-core CPU, 24 GiB. "must fit" is the peak of the process's own memory (RssAnon), without pages of mapped files:

    ours 16bit-base        2.3 minutes, must fit  2.6 GB (with mapped pages  6.7 GB)
    peft 16bit-base        6.6 minutes, must fit 14.5 GB (with mapped pages 22.0 GB); other work ran on the machine meanwhile
    ours dequantised-base  not finished: the process was killed from outside after 1.5 minutes
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

LAYERS = 32


def make_base(folder: Path) -> None:
    """A base model of Llama-2-7B's shape. The layers hold the same random numbers: the merge does not care."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaConfig

    from helpers.models import TINY_MODEL, resolve_model

    folder.mkdir(parents=True)
    config = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=LAYERS)
    config.architectures, config.dtype = ["LlamaForCausalLM"], torch.bfloat16
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(resolve_model(TINY_MODEL)).save_pretrained(folder)
    shapes = {f"self_attn.{name}_proj": (4096, 4096) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (11008, 4096), "mlp.up_proj": (11008, 4096), "mlp.down_proj": (4096, 11008)}
    layer = {f"{name}.weight": torch.randn(shape).mul_(0.02).bfloat16() for name, shape in shapes.items()}
    layer |= {f"{name}.weight": torch.ones(4096).bfloat16() for name in ("input_layernorm", "post_attention_layernorm")}
    ends = {
        name: torch.randn(32000, 4096).mul_(0.02).bfloat16() for name in ("model.embed_tokens.weight", "lm_head.weight")
    }
    ends["model.norm.weight"] = torch.ones(4096).bfloat16()
    starts, places = range(0, LAYERS, 4), {}
    for number, start in enumerate([None, *starts], start=1):
        tensors = ends if start is None else {
            f"model.layers.{i}.{name}": tensor.clone() for i in range(start, start + 4) for name, tensor in layer.items()
        }  # fmt: skip
        name = f"model-{number:05d}-of-{len(starts) + 1:05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def make_adapter(base: Path, folder: Path) -> None:
    """An adapter of rank 64 on all linear layers, as preset llama2-7b trains it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base), dtype=torch.bfloat16)
        model = get_peft_model(
            model, LoraConfig(r=64, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    shapes = {name: tensor for name, tensor in model.state_dict().items() if "lora_" in name}
    weights = {name.replace(".default", ""): torch.randn(t.shape).mul_(0.01) for name, t in shapes.items()}
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.peft_config["default"].save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def measured(work) -> dict:
    """Minutes, and peak memory in GB: what must fit, and with the pages of mapped files, which the system may drop."""
    peaks, done = {"RssAnon": 0, "VmRSS": 0}, threading.Event()

    def watch():
        while not done.wait(0.1):
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            for name in peaks:
                peaks[name] = max(peaks[name], int(lines[name].split()[0]) * 1024)

    threading.Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    work()
    done.set()
    minutes = round((time.perf_counter() - start) / 60, 1)
    return {
        "minutes": minutes,
        "must_fit_gb": round(peaks["RssAnon"] / 1e9, 1),
        "mapped_too_gb": round(peaks["VmRSS"] / 1e9, 1),
    }


def one(way: str, folder: Path) -> dict:
    from helpers.config import RunConfig
    from helpers.merging import merge_shards
    from helpers.merging_in_memory import merge_in_memory

    config = RunConfig.load("llama2-7b", model_id=str(folder / "base"))
    merge = merge_in_memory if way.startswith("peft") else merge_shards
    method = way.partition(" ")[2]
    return measured(lambda: merge(config, folder / "adapter", folder / "merged", method))


WAYS = ("ours 16bit-base", "peft 16bit-base", "ours dequantised-base")


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) == 3:
        print(json.dumps(one(sys.argv[2], folder)))
        return
    make_base(folder / "base")
    make_adapter(folder / "base", folder / "adapter")
    for way in WAYS:
        command = [sys.executable, "-m", "tests.bench_merging", str(folder), way]
        done = subprocess.run(command, capture_output=True, text=True)
        told = done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stderr[-500:]
        print(f"{way}: exit status {done.returncode}, {told}", flush=True)
        shutil.rmtree(folder / "merged", ignore_errors=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
