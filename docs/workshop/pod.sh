#!/usr/bin/env bash
# One pod of a class, as often as you like:  bash docs/workshop/pod.sh NAME [SHARED]
# NAME is the participant; SHARED the volume that all pods see (default /workspace). The runs go to SHARED/class/NAME,
# the caches are those that warm_cache.sh filled. The kernel QLoRA knows both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() { printf 'pod.sh: %s\n' "$*" >&2; exit 1; }

name=${1:-} shared=${2:-/workspace}
[[ $name =~ ^[[:alnum:]_-]+$ ]] || fail "NAME '$name' must be letters, digits, - or _: bash docs/workshop/pod.sh NAME [SHARED]"
mkdir -p "$shared/class/$name" 2>/dev/null && [ -w "$shared/class/$name" ] ||
  fail "cannot write $shared/class/$name: give the folder of the shared volume as the second word."
shared=$(realpath "$shared")
venv=${VENV_DIR:-.venv}
note=$shared/class/$name/.pod
[ ! -e "$note" ] || [ "$(cat "$note")" = "$HOSTNAME" ] ||
  fail "$name is on the pod $(cat "$note") already: choose another NAME, or delete $note when that pod is gone."
printf '%s\n' "$HOSTNAME" >"$note"

log=$shared/class/$name/.setup.log
# from the volume alone where that is enough, so that 25 pods load nothing and need no network; else from the index, too
{ [ -d "$shared/cache/wheels" ] && PIP_FIND_LINKS=$shared/cache/wheels PIP_NO_INDEX=1 bash setup_kernel.sh >"$log" 2>&1; } ||
  PIP_FIND_LINKS="$shared/cache/wheels ${PIP_FIND_LINKS:-}" bash setup_kernel.sh >"$log" 2>&1 || fail "$(tail -n1 "$log")"
for where in --user "--prefix=$venv"; do # for the pod's own JupyterLab, and for the one of the project
  "$venv/bin/python" -m ipykernel install "$where" --name qlora --display-name QLoRA \
    --env QLORA_RUNS_DIR "$shared/class/$name" --env QLORA_CACHE_DIR "$shared/cache/qlora" \
    --env HF_HOME "$shared/cache/huggingface" >/dev/null 2>&1 || fail "could not install the kernel QLoRA ($where)."
done
printf '\033[32m✓ %s is ready: open the folder notebooks, kernel QLoRA; runs in %s\033[0m\n' "$name" "$shared/class/$name"
