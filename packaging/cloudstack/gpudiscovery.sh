#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# CloudStack's agent runs this to learn of the host's GPUs, and finds it before its own script, whose GPUs are added. It reads
# both outputs and waits for 30 s: so it gets one line of JSON, or nothing and a failure, whose reason is in the journal. To be
# installed, executable, as /etc/cloudstack/agent/gpudiscovery.sh; the agent looks for it when it starts.
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
settings=${VGPU_CLOUDSTACK_SETTINGS:-/etc/vgpu/cloudstack-hooks.env}

# Whatever it is that hangs: the settings, vgpu-admin, the journal.
if [ -z "$VGPU_CLOUDSTACK_TIMED" ]; then
	VGPU_CLOUDSTACK_TIMED=1 exec timeout -k 2 25 "$0" 2>/dev/null
fi

discover() (
	if [ -r "$settings" ]; then
		set -a
		# shellcheck source=/dev/null
		. "$settings" >/dev/null
		set +a
	fi
	stock=${VGPU_CLOUDSTACK_STOCK_DISCOVERY:-/usr/share/cloudstack-common/scripts/vm/hypervisor/kvm/gpudiscovery.sh}
	set --
	[ ! -x "$stock" ] || set -- --merge "$stock"
	# In the foreground: it ends with the time limit above, too.
	timeout --foreground -k 1 20 vgpu-admin cloudstack discover "$@" </dev/null
	status=$?
	[ "$status" != 124 ] || echo "vgpu-admin cloudstack discover took more than 20 s" >&2
	exit "$status"
)

exec 3>&1
status=$({
	{
		discover 2>&1 >&3 3>&- 4>&-
		echo $? >&4
	} | logger -t vgpu-cloudstack -p daemon.err >/dev/null 2>&1
} 4>&1)
exit "${status:-1}"
