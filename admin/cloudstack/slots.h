// SPDX-License-Identifier: Apache-2.0
// What the hooks ask the mediator about vGPUs, over its API: which there are, and to have one kept for a VM.
// All that is known of these operations' form stands in slots.c.
#ifndef VGPU_ADMIN_CLOUDSTACK_SLOTS_H
#define VGPU_ADMIN_CLOUDSTACK_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/call.h"
#include "admin/cloudstack/domain.h"

struct slots {
	struct admin_call *call;
	uint64_t until_ns; // by then everything is answered or failed: somebody waits for the hook
	struct slot {
		char vgpu[DOMAIN_UUID_BYTES], vm[DOMAIN_UUID_BYTES]; // vm "": nobody's
		char *name, *state;				     // "": not told
	} *slot;
	size_t n;
};

// All that fail say why, in text that is fit for a terminal (to be freed), and return false.
bool slots_list(struct slots *s, struct admin_call *c, uint64_t until_ns, char **ret_why);
void slots_done(struct slots *s); // also of one that was only zeroed

struct slot *slots_find(const struct slots *s, const char *vgpu); // NULL: it is none of ours

// For the VM alone, from now on; again and again for the same. The socket of its stub, and that of its second
// device (NULL: it has none), to be freed; NULL with why.
char *slots_reserve(struct slots *s, const char *vgpu, const char *vm, const char *name, char **ret_nvidia,
		    char **ret_why);
// Does nothing where the owner is another, or this one because an operator said so; *ret_kept is that.
bool slots_release(struct slots *s, const char *vgpu, const char *vm, bool *ret_kept, char **ret_why);

// Whether the domain's devices are those of vGPUs that are kept for it.
bool slots_are_of(struct slots *s, const struct domain *d, char **ret_why);

#endif
