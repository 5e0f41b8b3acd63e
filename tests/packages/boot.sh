#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts systemd in the system of a folder, as a container: with processes, mounts, a host name and control groups of its own. It ends with
# this program. The kernel's settings cannot be written there. Usage: boot.sh FOLDER NAME, in a mount namespace of its own.
set -e
root=$1
if [ $# -eq 2 ]; then
	mount -t cgroup2 cgroup2 "$root/mnt"
	mkdir "$root/mnt/$2"
	echo $$ >"$root/mnt/$2/cgroup.procs"
	umount "$root/mnt"
	exec unshare --cgroup --pid --fork --kill-child --uts --ipc --mount sh "$0" "$root"
fi
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
: >dev/console
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
# Units get namespaces made of this one: it is the root of all mounts, and they propagate.
pivot_root . mnt
exec chroot . sh -c 'umount -l /mnt && mount --make-rshared / && exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd' \
	>/dev/console 2>&1 <dev/null
