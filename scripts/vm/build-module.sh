#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: build-module.sh HEADERS OUT   Builds OUT/vgpu.ko for the kernel whose headers lie in HEADERS, from the sources as
# DKMS has them and outside of the repository.
set -euo pipefail
headers=$(readlink -f "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
# The kernel's own compiler, where get-headers had to get it.
compiler=$headers/../../../compiler/usr/bin
[ ! -d "$compiler" ] || PATH=$(readlink -f "$compiler"):$PATH
make -s -C "$root/guest/kmod" dkms-source DESTDIR="$out/root"
make -C "$out"/root/usr/src/vgpu-* KDIR="$headers"
cp "$out"/root/usr/src/vgpu-*/vgpu.ko "$out/"
