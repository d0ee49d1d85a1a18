#!/usr/bin/env bash
# The teacher, once, on a pod with the shared volume:  bash docs/workshop/warm_cache.sh [SHARED] [PRESET]
# Downloads the packages and the demo model to SHARED/cache (default /workspace), and PRESET's base model from the hub
# when one is named (llama2-7b: 13.5 GB, needs HF_TOKEN). What is there already is not downloaded again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() { printf 'warm_cache.sh: %s\n' "$*" >&2; exit 1; }

shared=${1:-/workspace} preset=${2:-demo} venv=${VENV_DIR:-.venv}
mkdir -p "$shared/cache/wheels" 2>/dev/null && [ -w "$shared/cache/wheels" ] ||
  fail "cannot write $shared/cache: give the folder of the shared volume."
shared=$(realpath "$shared")
export QLORA_CACHE_DIR=$shared/cache/qlora HF_HOME=$shared/cache/huggingface

bash setup_kernel.sh || fail "the set-up failed: see the line above."
"$venv/bin/python" -m pip download --quiet --disable-pip-version-check --dest "$shared/cache/wheels" -r requirements.txt ||
  fail "downloading the packages failed: see the line above."
"$venv/bin/python" - "$preset" <<'PY' || fail "the base model of '$preset' could not be had: see the line above."
import sys

from helpers.config import RunConfig
from helpers.model.source import DEMO_MODEL, resolve_model

resolve_model(DEMO_MODEL)
model = RunConfig.load(sys.argv[1]).model_id
if ":" not in model:
    from huggingface_hub import snapshot_download

    snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja"])
PY
printf '\033[32m✓ the cache is warm: %s in %s\033[0m\n' "$(du -sh "$shared/cache" | cut -f1)" "$shared/cache"
