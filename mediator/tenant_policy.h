// SPDX-License-Identifier: Apache-2.0
// Carries a tenant's policy to where it works: its group in the turns, and the page that its executors read.
#ifndef VGPU_MEDIATOR_TENANT_POLICY_H
#define VGPU_MEDIATOR_TENANT_POLICY_H

struct tenant;

void tenant_apply_policy(struct tenant *t);

#endif
