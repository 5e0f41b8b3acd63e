#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What only a machine with an NVIDIA GPU can tell: the end-to-end programs natively (so that their expectations are
# the real driver's) and through vgpu with the cuda backend, Numba and other Python programs both ways. What was used is said
# first, so that figures can be traced.
# usage: VGPU_BUILD=folder tests/gpu/run.sh [--native | --ours] [pytest options]
# Needs python3 with pytest, no network. Exit status: 0 all right, 77 no GPU here, else failures.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
source=$(readlink -f "$here/../..")
export VGPU_BUILD=${VGPU_BUILD:-$source/build} VGPU_SOURCE=$source PYTHONDONTWRITEBYTECODE=1
python=${VGPU_PYTHON:-python3}
backends="native cuda"
case ${1:-} in
--native) backends=native; shift ;;
--ours) backends=cuda; shift ;;
esac

if ! "$python" -c 'import ctypes, sys; sys.exit(ctypes.CDLL("libcuda.so.1").cuInit(0))' 2>/dev/null; then
	echo "skipped: no NVIDIA driver with a GPU on this machine"
	exit 77
fi
if ! "$python" -m pytest --version >/dev/null 2>&1; then
	echo "skipped: $python has no pytest"
	exit 77
fi
"$python" "$here/versions.py"

status=0
export VGPU_TEST_BACKENDS=$backends
VGPU_NUMBA_PYTHON=${VGPU_NUMBA_PYTHON:-$(command -v "$python")}
export VGPU_NUMBA_PYTHON
"$python" -m pytest -q -rs -p no:cacheprovider "$source/tests/e2e" --ignore="$source/tests/e2e/test_cuda_over_cuda.py" "$@" \
	|| status=1

# Frameworks that this machine happens to have: in several tenants at once, then case by case, native and ours in one run.
if [ "$backends" = "native cuda" ]; then
	"$python" -m pytest -q -rs -p no:cacheprovider "$here/test_tenants.py" || status=1
	"$python" "$here/acceptance.py" --out "${VGPU_OUT:-$(mktemp -d)}" || status=1
fi
exit $status
