#!/usr/bin/env bash
# Creates the virtual environment and installs everything into it; what is there already is kept. Called by the Makefile.
#   VENV      where (default .venv)
#   PYTHON    which interpreter (default python3.11, else python3)
#   MAX_JOBS  compiler processes for the mmcv ops (default: one per core, one per 2 GB of memory)
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}

fail() { printf '\nmmfusion set-up: %s\n' "$*" >&2; exit 1; }
say() { printf -- '--- %s\n' "$*"; }

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

install() { "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt "$@"; }

if [ ! -x "$VENV/bin/python" ]; then
    python=$(find_python)
    say "creating $VENV with $python"
    "$python" -m venv "$VENV" || { rm -rf "$VENV"; fail "python -m venv failed. Debian/Ubuntu: apt-get install python3-venv"; }
fi

say 'torch, the build tools and the libraries'
install -r requirements/build.txt -r requirements/runtime.txt
install --no-deps onedl-mmengine

target=$(ops_target)
case $target in error:*) fail "${target#error: }" ;; esac

if ! ops_work "$target"; then
    check_compiler
    if [ -z "${MAX_JOBS:-}" ]; then
        by_memory=$(awk '/^MemTotal/ {print int($2 / 2000000)}' /proc/meminfo 2>/dev/null || echo 2)
        MAX_JOBS=$(nproc 2>/dev/null || echo 2)
        [ "$by_memory" -ge "$MAX_JOBS" ] || MAX_JOBS=$((by_memory > 0 ? by_memory : 1))
    fi
    export MAX_JOBS
    [ "$target" = cpu ] || export FORCE_CUDA=1
    say "mmcv, ops compiled for $target with $MAX_JOBS jobs (on two cores about 12 minutes, once)"
    install --no-build-isolation --no-deps onedl-mmcv
    # pip may have taken a wheel from its cache that was made for another torch or without CUDA
    ops_work "$target" || install --no-build-isolation --no-deps --no-cache-dir --force-reinstall onedl-mmcv
    ops_work "$target" || { "$VENV/bin/python" -c 'import torch, mmcv._ext' || true; fail "the compiled mmcv ops cannot be used, see above"; }
fi

say 'mmdet, mmseg, tests and documentation'
install --no-build-isolation --no-deps -r requirements/mminstall.txt
install -r requirements/tests.txt -r requirements/docs.txt -r requirements/optional.txt

say 'mmfusion (editable)'
install --no-build-isolation --no-deps --editable .
say "done: $VENV"
