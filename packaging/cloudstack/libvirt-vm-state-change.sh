#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# CloudStack's agent runs this with onStart or onStop and an instance's name. It says nothing and never fails: the agent has no use
# for either. To be installed, executable, as /etc/cloudstack/agent/hooks/libvirt-vm-state-change.sh.
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
settings=${VGPU_CLOUDSTACK_SETTINGS:-/etc/vgpu/cloudstack-hooks.env}

# In a shell of its own: settings that cannot be read end it.
(
	if [ -r "$settings" ]; then
		set -a
		# shellcheck source=/dev/null
		. "$settings"
		set +a
	fi
	case "$1" in
	onStart) vgpu-admin cloudstack on-start -- "$2" ;;
	onStop) vgpu-admin cloudstack on-stop -- "$2" ;;
	esac
) </dev/null >/dev/null 2>&1
exit 0
