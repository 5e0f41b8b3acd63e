// SPDX-License-Identifier: Apache-2.0
// What vgpu-admin does as a hook of CloudStack's agent and of libvirt. Each is an action's run().
#ifndef VGPU_ADMIN_CLOUDSTACK_HOOKS_H
#define VGPU_ADMIN_CLOUDSTACK_HOOKS_H

#include <stddef.h>

struct admin_call;

int cloudstack_transform(struct admin_call *c);	   // transform.c
int cloudstack_libvirt_hook(struct admin_call *c); // guard.c
int cloudstack_on_start(struct admin_call *c);	   // hints.c
int cloudstack_on_stop(struct admin_call *c);

// All of stdin, or its first most + 1 bytes if there are more; NULL: it cannot be read. To be freed.
char *hook_input(size_t most, size_t *ret_len);
// To stderr, which goes to whoever runs the hook, and to the journal. ADMIN_REFUSED.
int hook_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
