#!/usr/bin/env bash
# One pod of a class, as often as you like:  bash docs/workshop/pod.sh NAME [SHARED]
# NAME is the participant; SHARED the volume that all pods see (default /workspace). The runs go to SHARED/class/NAME,
# the caches are those that warm_cache.sh filled. The kernel QLoRA knows both, and so does SHARED/class/NAME/q: this
# project's Python for a terminal, as in  /workspace/class/NAME/q -m helpers.runs choose demo
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() { printf 'pod.sh: %s\n' "$*" >&2; exit 1; }

case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in # a container often has no locale, and would take no letter but a to z
  *[Uu][Tt][Ff]*) ;;
  *) export LC_ALL=C.UTF-8 ;;
esac
name=${1:-} shared=${2:-/workspace}
[[ $name =~ ^[[:alnum:]_][[:alnum:]_-]*$ ]] ||
  fail "NAME '$name' must be letters, digits, - or _: bash docs/workshop/pod.sh NAME [SHARED]"
mkdir -p "$shared/class/$name" 2>/dev/null && [ -w "$shared/class/$name" ] ||
  fail "cannot write $shared/class/$name: give the folder of the shared volume as the second word."
shared=$(realpath "$shared")
venv=$(realpath -m "${VENV_DIR:-.venv}")
note=$shared/class/$name/.pod here="$HOSTNAME ($PWD)"
[ ! -e "$note" ] || [ "$(cat "$note")" = "$here" ] ||
  fail "$name is on the pod $(sed 's/ (/ already (/' "$note"): choose another NAME, or delete $note when that pod is gone."
printf '%s\n' "$here" >"$note"

log=$shared/class/$name/.setup.log
export QLORA_CACHE_DIR=$shared/cache/qlora HF_HOME=$shared/cache/huggingface
# from the volume alone where that is enough, so that 25 pods load nothing and need no network; else from the index, too
{ [ -d "$shared/cache/wheels" ] && PIP_FIND_LINKS=$shared/cache/wheels PIP_NO_INDEX=1 bash setup_kernel.sh >"$log" 2>&1; } ||
  PIP_FIND_LINKS="$shared/cache/wheels ${PIP_FIND_LINKS:-}" bash setup_kernel.sh >"$log" 2>&1 || fail "$(tail -n1 "$log")"
own=(QLORA_RUNS_DIR "$shared/class/$name" QLORA_CACHE_DIR "$QLORA_CACHE_DIR" HF_HOME "$HF_HOME")
kernel=() terminal=$shared/class/$name/q
printf '#!/bin/sh\n# %s wrote this: the project'"'"'s Python with the runs of %s\n' docs/workshop/pod.sh "$name" >"$terminal"
for ((i = 0; i < ${#own[@]}; i += 2)); do
  kernel+=(--env "${own[i]}" "${own[i + 1]}")
  printf "export %s='%s'\n" "${own[i]}" "${own[i + 1]//\'/\'\\\'\'}" >>"$terminal"
done
printf "exec '%s' \"\$@\"\n" "${venv//\'/\'\\\'\'}/bin/python" >>"$terminal"
chmod +x "$terminal"
for where in --user "--prefix=$venv"; do # for the pod's own JupyterLab, and for the one of the project
  "$venv/bin/python" -m ipykernel install "$where" --name qlora --display-name QLoRA "${kernel[@]}" >/dev/null 2>&1 ||
    fail "could not install the kernel QLoRA ($where)."
done
printf '\033[32m✓ %s is ready: open the folder notebooks, kernel QLoRA; runs in %s\033[0m\n' "$name" "$shared/class/$name"
