// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack discover.
#ifndef VGPU_ADMIN_CLOUDSTACK_DISCOVER_H
#define VGPU_ADMIN_CLOUDSTACK_DISCOVER_H

struct admin_call;

int cloudstack_discover(struct admin_call *c); // enum admin_exit

#endif
