#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Virtual machines on a machine with a GPU: runs tests/gpu/guests.py with what lies around this file, or with what
# scripts/vm/pack packed (which then brings its own copy of this file).
# usage: tests/gpu/vm.sh [--pack FILE.tar.xz] [guests.py's options]
# Needs python3 with pytest; nothing is installed, no network. Exit status: 0 all right, 77 cannot run here, else failures.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
source=$(readlink -f "$here/../..")
python=${VGPU_PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = --pack ]; then
	top=$source/build-unpacked
	rm -rf "$top"
	mkdir -p "$top"
	"$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$2" "$top" 2>/dev/null || exit 1
	shift 2
	unset VGPU_BUILD VGPU_VM_DIR VGPU_SOURCE
	exec "$top/tests/gpu/vm.sh" "$@"
fi
export VGPU_SOURCE=$source VGPU_BUILD=${VGPU_BUILD:-$source/build}
if [ -f "$source/revision" ]; then
	echo "vgpu: $(cat "$source/revision")"
	# Libraries that this machine lacks, and only those: its own programs see them too.
	mkdir -p "$source/lacking"
	for library in "$source"/lib/*; do
		ldconfig -p | grep -qF "	$(basename "$library") (" || ln -sf "$library" "$source/lacking/"
	done
	export LD_LIBRARY_PATH=$source/lacking${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
# KVM is worth more than all else, but a kernel module that says it is there may not boot a stock kernel.
if "$source/scripts/vm/run-guest" --which | grep -q 'accelerator kvm'; then
	"$source/scripts/vm/make-initramfs" --build "$VGPU_BUILD" >/dev/null
	timeout -k 2 20 "$source/scripts/vm/run-guest" --initrd "${VGPU_VM_DIR:-$source/build-vm}/initramfs-$(basename "$VGPU_BUILD").cpio" \
		--run /dev/null </dev/null >/dev/null 2>&1 || export VGPU_VM_ACCEL=tcg
fi
exec "$python" "$here/guests.py" "$@"
