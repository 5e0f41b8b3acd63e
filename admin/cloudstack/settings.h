// SPDX-License-Identifier: Apache-2.0
// Single values out of other programs' settings: enough of their forms to know what they will do.
// Pure.
#ifndef VGPU_ADMIN_CLOUDSTACK_SETTINGS_H
#define VGPU_ADMIN_CLOUDSTACK_SETTINGS_H

#include <stdbool.h>

// All return the last value that the text has for the key, to be freed; NULL: it has none.

// Java's properties, which CloudStack's agent has (agent.properties): key=value, key: value, \ at a
// line's end.
char *settings_property(const char *text, const char *key);
// key = "value", as libvirt's qemu.conf has it, and a shell's assignment. Of a list (["a", "b"])
// all of it.
char *settings_assignment(const char *text, const char *key);

// Whether a file of sections and keys says anything: lines that are no comments.
bool settings_are_said(const char *text);

#endif
