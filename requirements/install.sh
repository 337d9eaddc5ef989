#!/usr/bin/env bash
# Creates the virtual environment and installs everything into it; what is there already is kept. Called by the Makefile.
# Interrupted, it goes on where it was when it is called again: compiled files of the mmcv ops are kept in $VENV/mmcv-build until they are installed.
#   VENV      where (default .venv)
#   PYTHON    which interpreter (default python3.11, else python3)
#   MAX_JOBS  compiler processes for the mmcv ops (default: one per core, one per 2 GB of memory)
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}

fail() { printf '\nmmfusion set-up: %s\n' "$*" >&2; exit 1; }
say() { printf -- '--- %s\n' "$*"; }

# step N TEXT: ends the step before with the time that it took, and begins the next.
STEPS=5 STEP_BEGAN=
step() {
    finish_step
    printf -- '--- %s/%s  %s\n' "$1" "$STEPS" "$2"
    STEP_BEGAN=$SECONDS
}
finish_step() { [ -z "$STEP_BEGAN" ] || printf '    %s\n' "$(duration $((SECONDS - STEP_BEGAN)))"; STEP_BEGAN=; }
duration() { if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed (tested: 3.11), and ${PYTHON:-python3.11 or python3} is not one." \
        "Install python3.11 or name an interpreter: make PYTHON=/path/to/python3.11"
}

# Only needed to compile, so it is checked only when there is something to compile.
check_compiler() {
    command -v "${CXX:-c++}" >/dev/null || fail "no C++ compiler (${CXX:-c++}) was found; the mmcv ops must be compiled." \
        "Install one (Debian/Ubuntu: apt-get install g++) or set CXX"
    "$VENV/bin/python" - <<'PY' || fail "the headers of this Python are missing (Python.h). Debian/Ubuntu: apt-get install python3-dev"
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))
PY
}

# cpu | cuda | an error: CUDA ops want a GPU in sight, a CUDA build of torch and nvcc.
ops_target() {
    "$VENV/bin/python" - <<'PY'
import os, torch
from torch.utils.cpp_extension import CUDA_HOME
wanted = torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1'
if not wanted:
    print('cpu')
elif not torch.version.cuda:
    print('error: FORCE_CUDA=1 is set, but this torch is a CPU build')
elif not CUDA_HOME or not os.path.exists(os.path.join(CUDA_HOME, 'bin', 'nvcc')):
    print(f'error: a GPU was found, but not nvcc; install the CUDA {torch.version.cuda} toolkit (or set CUDA_HOME), '
          'or hide the GPU for CPU ops: CUDA_VISIBLE_DEVICES= make demo')
else:
    print('cuda')
PY
}

# Are the installed ops importable with this torch, and compiled for the target?
ops_work() {
    "$VENV/bin/python" - "$1" >/dev/null 2>&1 <<'PY'
import sys, torch, mmcv._ext as ext
compiled_for_cuda = ext.get_compiling_cuda_version() != 'not available'
sys.exit(sys.argv[1] == 'cuda' and not compiled_for_cuda)
PY
}

# What is done stays done, so that the next call goes on.
trap 'printf "\n"; say "interrupted; the same command goes on from here"; exit 130' INT TERM

install() { "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt "$@"; }

# progress DIR: files compiled of all, from what ninja was asked to make; on a terminal one line that changes, else one a minute.
progress() {
    local plan total made last=-1 began=$SECONDS said=$SECONDS
    while sleep 2; do
        plan=$(find "$1/source/build" -name build.ninja 2>/dev/null | head -n 1)
        [ -n "$plan" ] || continue
        total=$(grep -cE '^build .*: (cuda_)?compile ' "$plan") || continue
        made=$(find "$(dirname "$plan")" -name '*.o' | wc -l)
        [ "$made" -ne "$last" ] || continue
        last=$made
        if [ -t 1 ]; then
            printf '\r    %s of %s files compiled, %s ' "$made" "$total" "$(duration $((SECONDS - began)))"
        elif [ $((SECONDS - said)) -ge 60 ] || [ "$made" -eq "$total" ]; then
            printf '    %s of %s files compiled, %s\n' "$made" "$total" "$(duration $((SECONDS - began)))"
            said=$SECONDS
        fi
    done
}

# Compiles the ops in a folder that outlives an interruption; ninja goes on with the files that are missing.
compile_ops() {
    local dir pin
    pin=$(sed -n 's/^onedl-mmcv==//p' requirements/constraints.txt)
    # compiled files fit one Python, one torch and one target alone
    dir=$VENV/mmcv-build/$("$VENV/bin/python" -c "import sys, torch; print(f'$pin-torch{torch.__version__}-py{sys.version_info[0]}{sys.version_info[1]}-$1')")
    mkdir -p "$dir"
    if [ ! -f "$dir/source/setup.py" ]; then
        rm -rf "$dir/source" "$dir/unpacked"
        mkdir -p "$dir/unpacked"
        if ! "$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: \
            --dest "$dir" -c requirements/constraints.txt onedl-mmcv > "$dir/download.log" 2>&1; then
            say 'no source archive of mmcv on this index: pip builds it or takes a wheel, without a progress line'
            # not from pip's cache: a wheel there may have been made for another torch or without CUDA
            install --no-build-isolation --no-deps --no-cache-dir --force-reinstall onedl-mmcv
            return
        fi
        tar -xzf "$dir"/*.tar.gz -C "$dir/unpacked" --strip-components=1
        mv "$dir/unpacked" "$dir/source"  # whole or absent
    else
        say "going on with the files compiled before, in $dir"
    fi
    progress "$dir" &
    local watcher=$!
    # shellcheck disable=SC2064
    trap "kill $watcher 2>/dev/null || true" EXIT
    local result=0
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall "$dir/source" \
        > "$dir/build.log" 2>&1 || result=$?
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    trap - EXIT
    [ ! -t 1 ] || printf '\n'
    if [ "$result" -ne 0 ]; then
        tail -n 40 "$dir/build.log" >&2
        fail "the mmcv ops could not be compiled (the end of $dir/build.log stands above). With too little memory: make MAX_JOBS=1 setup"
    fi
}

if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "creating $VENV with $python"
    [ ! -e "$VENV" ] || rm -rf "${VENV:?}"/{bin,lib,lib64,include,pyvenv.cfg}  # begun and not finished
    "$python" -m venv "$VENV" || { rm -rf "${VENV:?}"/{bin,lib,lib64,include,pyvenv.cfg}; fail "python -m venv failed. Debian/Ubuntu: apt-get install python3-venv"; }
fi

step 1 'torch, the build tools and the libraries (some hundred MB with torch for a CPU, some GB with CUDA; a few minutes, as fast as the network)'
install -r requirements/build.txt -r requirements/runtime.txt
install --no-deps onedl-mmengine

target=$(ops_target)
case $target in error:*) fail "${target#error: }" ;; esac

if ops_work "$target"; then
    step 2 "mmcv: its ops are there, compiled for $target"
else
    check_compiler
    if [ -z "${MAX_JOBS:-}" ]; then
        by_memory=$(awk '/^MemTotal/ {print int($2 / 2000000)}' /proc/meminfo 2>/dev/null || echo 2)
        MAX_JOBS=$(nproc 2>/dev/null || echo 2)
        [ "$by_memory" -ge "$MAX_JOBS" ] || MAX_JOBS=$((by_memory > 0 ? by_memory : 1))
    fi
    export MAX_JOBS
    [ "$target" = cpu ] || export FORCE_CUDA=1
    step 2 "mmcv, ops compiled for $target with $MAX_JOBS jobs (on two cores about 12 minutes, once; interrupted, the next call goes on)"
    compile_ops "$target"
    if ! ops_work "$target"; then  # a file compiled before may be damaged
        say 'these ops cannot be loaded: once more, without anything compiled before'
        rm -rf "${VENV:?}/mmcv-build"
        compile_ops "$target"
    fi
    ops_work "$target" || { "$VENV/bin/python" -c 'import torch, mmcv._ext' || true; fail "the compiled mmcv ops cannot be used, see above"; }
    rm -rf "${VENV:?}/mmcv-build"
fi

step 3 'mmdet and mmseg (seconds)'
install --no-build-isolation --no-deps -r requirements/mminstall.txt

step 4 'what tests and documentation need (about a minute)'
install -r requirements/tests.txt -r requirements/docs.txt -r requirements/optional.txt -r requirements/serve.txt -r requirements/export.txt

step 5 'mmfusion, editable (seconds)'
install --no-build-isolation --no-deps --editable .
finish_step
say "done in $(duration $SECONDS): $VENV"
