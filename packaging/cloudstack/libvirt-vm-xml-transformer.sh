#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# CloudStack's agent runs this with a method's name and a domain's XML, and starts what it prints; when it fails, the XML as it
# was. To be installed, executable, as /etc/cloudstack/agent/hooks/libvirt-vm-xml-transformer.sh.
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
settings=${VGPU_CLOUDSTACK_SETTINGS:-/etc/vgpu/cloudstack-hooks.env}
if [ -r "$settings" ]; then
	set -a
	# shellcheck source=/dev/null
	. "$settings"
	set +a
fi

if [ "$1" != transform ]; then
	echo "vgpu: this hook has no method '$1'" >&2
	exit 1
fi
# printf is the shell's own: the XML holds the console's password and is in no other program's arguments.
printf '%s' "$2" | vgpu-admin cloudstack transform
