"""How long the merge takes and how much memory it needs at Llama-2-7B's size, ours and peft's. Not run by the tests.

python -m proofs.bench_merging FOLDER [WAY]     # random weights, 13.5 GB, and one merged model at a time: 28 GB of disk

2026-11-24, 2-core AMD EPYC CPU, 24 GiB. "must fit" is the peak of the process's own memory (RssAnon), without the pages
of mapped files, which the system may drop. Ours ran on one core beside other work, peft's earlier on a
2-core CPU, beside other work too:

    ours 16bit-base        2.4 minutes, must fit  2.7 GB (with mapped pages  2.8 GB)
    ours dequantised-base  6.4 minutes, must fit  3.1 GB (with mapped pages  3.2 GB)
    peft 16bit-base        6.6 minutes, must fit 14.5 GB (with mapped pages 22.0 GB)

tests/merge/test_shards.py does the same with a model of 0.26 GB, and fails when memory grows with the model.
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

WAYS = ("ours 16bit-base", "peft 16bit-base", "ours dequantised-base")
LLAMA_2_7B = {"layers": 32, "hidden": 4096, "mlp": 11008, "vocabulary": 32000}


def make_base(folder: Path, layers: int, hidden: int, mlp: int, vocabulary: int) -> None:
    """A base model of this shape, four layers a file. The layers hold the same numbers: the merge does not care."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaConfig

    from helpers.model.source import TINY_MODEL, resolve_model

    folder.mkdir(parents=True)
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers)
    config.architectures, config.dtype = ["LlamaForCausalLM"], torch.bfloat16
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(resolve_model(TINY_MODEL)).save_pretrained(folder)
    shapes = {f"self_attn.{name}_proj": (hidden, hidden) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (mlp, hidden), "mlp.up_proj": (mlp, hidden), "mlp.down_proj": (hidden, mlp)}
    layer = {f"{name}.weight": torch.randn(shape).mul_(0.02).bfloat16() for name, shape in shapes.items()}
    layer |= {
        f"{name}.weight": torch.ones(hidden).bfloat16() for name in ("input_layernorm", "post_attention_layernorm")
    }
    table = torch.randn(vocabulary, hidden).mul_(0.02).bfloat16()
    ends = {"model.embed_tokens.weight": table, "lm_head.weight": table.clone()}
    ends["model.norm.weight"] = torch.ones(hidden).bfloat16()
    starts, places = range(0, layers, 4), {}
    for number, start in enumerate([None, *starts], start=1):
        tensors = ends if start is None else {
            f"model.layers.{i}.{name}": tensor.clone()
            for i in range(start, min(start + 4, layers)) for name, tensor in layer.items()
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


def memory_now() -> dict:
    """Bytes of this process: `must_fit` (RssAnon), and with pages of mapped files, which the system may drop
    (VmRSS)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        told: int(lines[name].split()[0]) * 1024 for told, name in (("must_fit", "RssAnon"), ("mapped_too", "VmRSS"))
    }


def measured(work) -> dict:
    """Seconds, and peak memory in bytes as `memory_now`; `before`: the same before `work` began."""
    before, done = memory_now(), threading.Event()
    peaks = dict(before)

    def watch():
        while not done.wait(0.005):
            peaks.update({name: max(peaks[name], value) for name, value in memory_now().items()})

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"seconds": seconds, **peaks, "before": before}


def one(way: str, folder: Path, **settings) -> dict:
    """One merge of the base and adapter in `folder`, measured."""
    from helpers.merge.in_memory import merge_in_memory
    from helpers.merge.shards import merge_shards
    from helpers.settings import RunConfig

    config = RunConfig.load("llama2-7b", model_id=str(folder / "base"), **settings)
    merge = merge_in_memory if way.startswith("peft") else merge_shards
    method = way.partition(" ")[2]
    return measured(lambda: merge(config, folder / "adapter", folder / "merged", method))


def main() -> None:
    folder, ways = Path(sys.argv[1]), sys.argv[2:] or WAYS
    if (folder / "adapter").exists():  # the call of a single way, below: each has a process of its own
        found = one(ways[0], folder)
        gb = {name: round(found[name] / 1e9, 1) for name in ("must_fit", "mapped_too")}
        print(json.dumps({"minutes": round(found["seconds"] / 60, 1), "GB": gb}))
        return
    make_base(folder / "base", **LLAMA_2_7B)
    make_adapter(folder / "base", folder / "adapter")
    for way in ways:
        command = [sys.executable, "-m", "proofs.bench_merging", str(folder), way]
        done = subprocess.run(command, capture_output=True, text=True)
        told = done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stderr[-500:]
        print(f"{way}: exit status {done.returncode}, {told}", flush=True)
        shutil.rmtree(folder / "merged", ignore_errors=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
