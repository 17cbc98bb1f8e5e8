#!/usr/bin/env bash
# Makes .venv with everything Razona needs, or does nothing where it is already there.
#
# torch first, on its own: without an NVIDIA GPU the CPU build of exactly this version, never the CUDA one.
# `2.13.0+cpu` is a version that only CPU wheels carry, so no index can give the CUDA build for it by accident.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-}
TORCH=2.13.0
LOCK=requirements/lock.txt
CPU_INDEX=https://download.pytorch.org/whl/cpu

if [ -z "$PYTHON" ]; then
  for candidate in python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      PYTHON=$candidate
      break
    fi
  done
fi
if [ -z "$PYTHON" ]; then
  echo "install: no Python 3.11, 3.12 or 3.13 found. Install one, or name it: make install PYTHON=/path/to/python" >&2
  exit 2
fi

has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; }
stamp=.venv/.razona-$(cat "$LOCK" pyproject.toml "$0" | cksum | cut -d' ' -f1)-$(has_gpu && echo gpu || echo cpu)
if [ -e "$stamp" ]; then
  exit 0
fi

echo "Setting up .venv with $("$PYTHON" --version) (once; a few minutes) ..."
if ! [ -x .venv/bin/python ]; then
  "$PYTHON" -m venv .venv || {
    rm -rf .venv
    echo "install: $PYTHON cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
  }
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }

if has_gpu; then
  # A CPU build from before the GPU was there would satisfy the plain version.
  .venv/bin/python -c 'import torch, sys; sys.exit(torch.version.cuda is None)' 2>/dev/null || pip uninstall -q -y torch
  pip install -q "torch==$TORCH"
elif ! .venv/bin/python -c 'import torch, sys; sys.exit(torch.version.cuda is not None)' 2>/dev/null; then
  pip install -q "torch==$TORCH+cpu" 2>.venv/torch.log ||
    pip install -q "torch==$TORCH+cpu" --index-url "$CPU_INDEX" --extra-index-url https://pypi.org/simple || {
      cat .venv/torch.log >&2
      echo "install: the CPU build of torch $TORCH could not be found, neither in pip's own sources nor at $CPU_INDEX." >&2
      echo "Put its wheel where pip looks (PIP_FIND_LINKS=/folder/with/wheels) and call make again." >&2
      exit 1
    }
fi
# The lock's hashes are those of the wheels for CPython 3.11 on x86-64 Linux; elsewhere its versions hold without them.
if [ "$(.venv/bin/python -c 'import platform, sys; print(sys.platform, platform.machine(), *sys.version_info[:2])')" = "linux x86_64 3 11" ]; then
  pip install -q --require-hashes --no-deps -r "$LOCK"
else
  sed 's/ --hash=.*//' "$LOCK" >.venv/lock-without-hashes.txt
  pip install -q --no-deps -r .venv/lock-without-hashes.txt
fi
pip install -q --no-deps --no-build-isolation -e .
pip check >.venv/check.log || { cat .venv/check.log >&2; exit 1; }
rm -f .venv/.razona-*
touch "$stamp"
echo "Ready."
