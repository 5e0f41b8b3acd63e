#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: fuzz.sh BUILD SECONDS   Runs every fuzz program of the build folder; a crash is an error and its input stays.
set -euo pipefail
build=$1
seconds=$2
cd "$(dirname "$(readlink -f "$0")")/.."
found=0
for program in "$build"/tests/fuzz/fuzz-*; do
	if [ ! -x "$program" ] || [ ! -f "$program" ]; then continue; fi
	found=1
	name=$(basename "$program")
	corpus=tests/fuzz/corpus/$name
	seeds=()
	[ "$name" != fuzz-ptx ] || seeds=(tests/unit/ptx/kernels)
	case $name in
	fuzz-image) seeds=(tests/e2e/kernels tests/fuzz/seeds) ;;
	fuzz-admin | fuzz-domain | fuzz-cloudstack) seeds=(tests/fuzz/seeds) ;;
	esac
	mkdir -p "$corpus"
	echo "== $name, $seconds s"
	"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
		-artifact_prefix="$build/$name-" "$corpus" "${seeds[@]}" 2>"$build/$name.log" || {
		tail -40 "$build/$name.log"
		exit 1
	}
	grep -E 'stat::number_of_executed_units|stat::new_units_added' "$build/$name.log"
done
[ $found = 1 ] || { echo "no fuzz program was built" >&2; exit 1; }
