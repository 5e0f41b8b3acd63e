#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: lint.sh BUILD   Everything a script can say about style. Exit status 1 when something is to be mended.
set -uo pipefail
build=$1
cd "$(dirname "$(readlink -f "$0")")/.." || exit 1
bad=0

step() {
	local name=$1
	shift
	if "$@"; then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		bad=1
	fi
}

mapfile -t sources < <(git ls-files -co --exclude-standard '*.c' '*.h')
mapfile -t shell < <(git ls-files -co --exclude-standard '*.sh' '*.bash' dev .ci/run 'scripts/vm/get-*' scripts/vm/make-module \
	scripts/vm/{run-guest,with-vgpu,pack} tests/vm/{init,demo-guest} tests/cloudstack/rehearsal-guest packaging/cloudstack/qemu.d/50-vgpu \
	debian/vgpu-{host,cloudstack}.{postinst,prerm,postrm})
mapfile -t units < <(git ls-files -co --exclude-standard '*.c' | grep -v -e '^tests/' -e '^guest/kmod/')

step "format" clang-format-19 --dry-run -Werror "${sources[@]}"
step "house rules and layers" python3 scripts/check_rules.py
step "links of documents" python3 scripts/check_links.py
step "shell" shellcheck -x "${shell[@]}"
step "spelling" codespell --quiet-level=2 --skip='*/corpus/*,*.ptx,LICENSE,build*,.venv*,.git,*.cubin,*.fatbin' \
	--ignore-words=scripts/spelling.txt .
step "static analysis" scripts/tidy.py "$build" "${units[@]}"
exit $bad
