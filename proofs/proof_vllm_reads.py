"""vLLM's own classes read the merged folder and the adapter as they were measured; its engine is not run (no GPU).

    pip download vllm==0.33.0 --no-deps -d W && unzip -q W/vllm-*.whl 'vllm/*.py' -d W
    pip install --no-deps --target W cbor2 aiohttp multidict yarl propcache aiohappyeyeballs aiosignal frozenlist \
        prometheus_client fastapi starlette openai msgspec cachetools openai_harmony pybase64 cloudpickle blake3
    python -m proofs.proof_vllm_reads W tiny

2026-11-30, 2-core AMD EPYC with AVX512-BF16, vLLM 0.33.0 (which asks for transformers 5.16 to 5.20) beside transformers
5.23, run tiny, 4 CPU seconds: config.json read alike, the architecture known, the same stop tokens; the scale of 28 of
28 adapted modules is peft's.
"""

import shlex
import sys
import time

from transformers import AutoConfig

from helpers.files import read_json
from helpers.merge.delta import AdapterDelta
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.serve.commands import vllm_command


def main(place: str, name: str) -> None:
    sys.path.insert(0, place)
    from vllm.lora.peft_helper import PEFTHelper
    from vllm.model_executor.models.registry import _TEXT_GENERATION_MODELS
    from vllm.transformers_utils.config import get_config, try_get_generation_config

    run = RunDir(runs_root() / name)
    theirs, ours = get_config(str(run.merged), trust_remote_code=False), AutoConfig.from_pretrained(run.merged)
    print(
        "config.json read alike:", theirs.to_dict() == ours.to_dict(), "rope", theirs.get_text_config().rope_parameters
    )
    print("architecture known:", [kind in _TEXT_GENERATION_MODELS for kind in theirs.architectures])
    kept = try_get_generation_config(str(run.merged), trust_remote_code=False)
    written = read_json(run.merged / "generation_config.json")
    print("stops:", kept.eos_token_id, "as written:", written["eos_token_id"])
    helper, delta = PEFTHelper.from_local_dir(str(run.adapter), 4096), AdapterDelta(run.adapter)
    scales = {name: helper.get_rank_and_scaling(name) for name in delta.pairs}
    same = [scales[name][1] == pair.scale for name, pair in delta.pairs.items()]
    print(f"adapter: the scale of {sum(same)} of {len(same)} modules is peft's")
    print(len(shlex.split(vllm_command("BASE", 4096, run.adapter, "mine"))), "words of the printed command")


if __name__ == "__main__":
    start = time.process_time()
    main(*sys.argv[1:])
    print(f"{time.process_time() - start:.0f} CPU seconds")
