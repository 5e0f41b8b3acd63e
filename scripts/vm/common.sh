# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share: where things lie, and a private world of Debian packages that leaves the
# machine's own alone. Sourced.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Not in the build folder: it is large, has nothing to do with how vgpu is compiled, and several builds share it.
vm=${VGPU_VM_DIR:-$root/build-vm}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

# Ends with the status that means: cannot work on this machine.
cannot() {
	say "$*"
	exit 77
}

# The mirrors are those that this machine is configured with: mirror, secmirror.
find_mirrors() {
	local uris
	uris=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
		grep -v '^[[:space:]]*#' | grep -oE '(https?|file|copy)://[^] ]+' | sed 's,/*$,,' | sort -u)
	mirror=${DEBIAN_MIRROR:-$(grep -E '/debian$' <<<"$uris" | head -n 1 || true)}
	secmirror=${DEBIAN_SECURITY_MIRROR:-$(grep -E '/debian-security$' <<<"$uris" | head -n 1 || true)}
	[ -n "$mirror" ] || cannot "no Debian mirror is configured on this machine; DEBIAN_MIRROR names one"
	secmirror=${secmirror:-$mirror-security}
}

need_debian_tools() {
	local tool
	[ "$(uname -m)" = x86_64 ] || cannot "virtual machines are tried on x86_64 only"
	for tool in apt-get dpkg-deb; do
		command -v $tool >/dev/null || cannot "no $tool here: what this script fetches are Debian's packages"
	done
	[ -r $keyring ] || cannot "no $keyring (package debian-archive-keyring): packages could not be verified"
}

# apt_world NAME SUITE MIRROR [SUITE MIRROR]...: lists, status and cache of its own; sets APT_CONFIG.
apt_world() {
	local d=$vm/cache/apt-$1
	shift
	mkdir -p "$d"/etc/{apt.conf.d,preferences.d} "$d"/lists/partial "$d"/archives/partial
	: >"$d/status"
	: >"$d/etc/sources.list"
	while [ $# -ge 2 ]; do
		echo "deb [signed-by=$keyring] $2 $1 main" >>"$d/etc/sources.list"
		shift 2
	done
	cat >"$d/apt.conf" <<-CONF
		Dir "$d";
		Dir::State "$d";
		Dir::State::lists "$d/lists";
		Dir::State::status "$d/status";
		Dir::State::extended_states "$d/extended_states";
		Dir::Cache "$d";
		Dir::Cache::archives "$d/archives";
		Dir::Etc "$d/etc";
		Dir::Etc::SourceList "$d/etc/sources.list";
		Dir::Etc::SourceParts "-";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Install-Recommends "false";
	CONF
	# Only root has another user to download as, and that one may not write here.
	[ "$(id -u)" != 0 ] || echo 'APT::Sandbox::User "root";' >>"$d/apt.conf"
	export APT_CONFIG=$d/apt.conf
	apt-get -qq update || cannot "the package lists cannot be had: no network?"
}

# keep_program FULL PROGRAM TOP: of packages unpacked in FULL, the program, the libraries that its own loader says that it
# loads, and that loader, into TOP/libexec and TOP/lib: they run on any x86-64 Linux, whatever libraries that has.
keep_program() {
	local lib=$1/usr/lib/x86_64-linux-gnu
	mkdir -p "$3/lib" "$3/libexec" "$3/bin"
	"$lib/ld-linux-x86-64.so.2" --library-path "$lib" --list "$2" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
		while read -r so; do
			case $so in
			"$1"/*) cp -Lf "$so" "$3/lib/" ;;
			*)
				say "not among the packages: $so"
				exit 1
				;;
			esac
		done
	cp -L "$lib/ld-linux-x86-64.so.2" "$3/lib/"
	cp -L "$2" "$3/libexec/"
}

knows_vfio_user() {
	"$1" -device vfio-user-pci,help 2>/dev/null | grep -q 'socket=<SocketAddress>'
}

# The QEMU to use, empty if there is none.
find_qemu() {
	local q
	for q in "$vm/qemu/bin/qemu-system-x86_64" "$(command -v qemu-system-x86_64 || true)"; do
		if [ -n "$q" ] && [ -x "$q" ] && knows_vfio_user "$q"; then
			echo "$q"
			return
		fi
	done
}

# The server of a virtiofs share to use, empty if there is none.
find_virtiofsd() {
	local v
	for v in "$vm/virtiofsd/bin/virtiofsd" "$(command -v virtiofsd || true)" /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
		if [ -n "$v" ] && [ -x "$v" ] && "$v" --version >/dev/null 2>&1; then
			echo "$v"
			return
		fi
	done
}
