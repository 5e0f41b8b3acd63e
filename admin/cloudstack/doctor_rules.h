// SPDX-License-Identifier: Apache-2.0
// What doctor reads out of texts of the host: versions, groups, times. Pure.
#ifndef VGPU_ADMIN_CLOUDSTACK_DOCTOR_RULES_H
#define VGPU_ADMIN_CLOUDSTACK_DOCTOR_RULES_H

#include <stdbool.h>
#include <stddef.h>

// The first two numbers of a version.
struct rules_version {
	unsigned major, minor;
};

// The version that stands right behind mark, as in "QEMU emulator version 10.1.0". False: there is
// none.
bool rules_version(const char *text, const char *mark, struct rules_version *ret);
bool rules_at_least(struct rules_version v, unsigned major, unsigned minor);
// Of the agent, by a file of its lib folder: cloud-plugin-hypervisor-kvm-4.21.0.0.jar.
bool rules_jar(const char *file, struct rules_version *ret);

// Whether the user is in the group, by /etc/group, or by its first group in /etc/passwd. Without a
// text nobody is.
bool rules_in_group(const char *groups, const char *users, const char *group, const char *user);

// When a process started, in seconds since 1970, by its /proc/PID/stat, /proc/stat and ticks a
// second. -1: not said.
long long rules_started(const char *process_stat, const char *stat, long ticks);
// A line of /proc/meminfo: its number, kB of most. -1: not said.
long long rules_meminfo(const char *text, const char *name);
// Whether a /proc/PID/cmdline of n bytes is that program's, by its path or name; or is Java's with
// that class.
bool rules_is_program(const char *cmdline, size_t n, const char *program);
bool rules_is_java(const char *cmdline, size_t n, const char *class);

#endif
