// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack transform: the agent's hook between the XML that it made and libvirt. It puts our
// virtual GPUs in place of the mediated devices that CloudStack takes our slots for. The agent goes on with
// the XML as it was when this fails, and libvirt refuses that one: there is no such mediated device.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/cloudstack/domain.h"
#include "admin/cloudstack/hooks.h"
#include "admin/cloudstack/slots.h"
#include "admin/cloudstack/stub_unit.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define WAIT_S	    24 // the agent waits for 30
#define GIVE_BACK_S 3  // and this comes on top

// What was reserved by this run, to be given back if it fails.
struct reserved {
	const char *vgpu[DOMAIN_MOST_VGPUS];
	char *socket[DOMAIN_MOST_VGPUS];
	char *nvidia[DOMAIN_MOST_VGPUS]; // NULL: no second device
	bool fresh[DOMAIN_MOST_VGPUS];	 // was not this VM's before
	size_t n;
};

static bool add_socket(struct reserved *r, const struct domain *d, char *socket, char **ret_why)
{
	bool known = false;

	for (size_t i = 0; i < r->n; i++)
		known |= strcmp(r->socket[i], socket) == 0;
	for (size_t i = 0; i < d->n_sockets; i++)
		known |= strcmp(d->sockets[i], socket) == 0;
	r->socket[r->n++] = socket;
	if (known)
		*ret_why = text_print("a VM can have one vGPU: two of them have the socket %s", socket);
	return !known;
}

static bool reserve(struct slots *s, const struct domain *d, const struct slot *slot, struct reserved *r,
		    char **ret_why)
{
	char *socket;

	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->vgpu[i], slot->vgpu) == 0) {
			*ret_why = text_print("the domain has the vGPU %s twice", slot->vgpu);
			return false;
		}
	}
	if (slot->vm[0] && strcmp(slot->vm, d->uuid) != 0) {
		cleanup_free char *name = text_clean(slot->name);

		*ret_why = text_print("the vGPU %s is that of the VM %s (%s)", slot->vgpu, name, slot->vm);
		return false;
	}
	socket = slots_reserve(s, slot->vgpu, d->uuid, d->name, &r->nvidia[r->n], ret_why);
	if (!socket && r->n) {
		cleanup_free char *said = *ret_why;

		*ret_why =
		    text_print("a VM can have one vGPU, and the offering's gpucount is more: %s", said);
	}
	if (!socket)
		return false;
	r->vgpu[r->n] = slot->vgpu;
	r->fresh[r->n] = !slot->vm[0];
	return add_socket(r, d, socket, ret_why) && stub_unit_start(d->uuid, socket, s->until_ns, ret_why);
}

// Everything of ours that the domain names. True also if that is nothing.
static bool reserve_all(struct slots *s, const struct domain *d, struct reserved *r, char **ret_why)
{
	*ret_why = NULL;
	for (size_t i = 0; i < d->n_mdevs; i++) {
		const struct slot *slot = slots_find(s, d->mdevs[i].uuid);

		if (slot && (!d->uuid[0] || !d->name[0])) {
			*ret_why = text_print("the domain has no uuid or name");
			return false;
		}
		if (slot && !reserve(s, d, slot, r, ret_why))
			return false;
	}
	return true;
}

static void give_back(struct slots *s, const struct domain *d, const struct reserved *r)
{
	s->until_ns = clock_now_ns() + GIVE_BACK_S * NSEC_PER_SEC;
	for (size_t i = 0; i < r->n; i++) {
		cleanup_free char *why = NULL;
		bool kept;

		if (!r->fresh[i])
			continue;
		slots_release(s, r->vgpu[i], d->uuid, &kept, &why); // else it ends by itself
		stub_unit_stop(d->uuid, r->socket[i]);
	}
}

static bool put(const char *text, size_t len)
{
	return fwrite(text, 1, len, stdout) == len && fflush(stdout) == 0;
}

static bool put_rewritten(struct domain *d, const struct reserved *r, char **ret_why)
{
	struct domain_plan plan = { .n = r->n };
	const char *emulator = getenv("VGPU_CLOUDSTACK_EMULATOR");
	cleanup_free char *text = NULL;

	plan.emulator = emulator && emulator[0] ? emulator : NULL;
	for (size_t i = 0; i < r->n; i++) {
		plan.vgpus[i].vgpu = r->vgpu[i];
		plan.vgpus[i].socket = r->socket[i];
		plan.vgpus[i].nvidia = r->nvidia[i];
	}
	text = domain_rewrite(d, &plan, ret_why);
	if (text && !put(text, strlen(text)))
		*ret_why = text_print("stdout cannot be written to");
	return !*ret_why;
}

static int put_unchanged(const char *xml, size_t len)
{
	if (len > DOMAIN_MOST_OUTPUT)
		return hook_refuse("the domain's XML has more than %d bytes", DOMAIN_MOST_OUTPUT);
	return put(xml, len) ? ADMIN_OK : hook_refuse("stdout cannot be written to");
}

static int transform(struct admin_call *c, struct domain *d, const char *xml, size_t len)
{
	struct slots s = { 0 };
	struct reserved r = { 0 };
	cleanup_free char *why = NULL;
	int status = ADMIN_OK;

	if (slots_list(&s, c, clock_now_ns() + WAIT_S * NSEC_PER_SEC, &why) &&
	    (!d->n_sockets || slots_are_of(&s, d, &why)) && reserve_all(&s, d, &r, &why) && r.n)
		put_rewritten(d, &r, &why);
	if (why) {
		status = hook_refuse("%s", why);
		give_back(&s, d, &r);
	} else if (!r.n) {
		status = put_unchanged(xml, len);
	}
	for (size_t i = 0; i < r.n; i++) {
		free(r.socket[i]);
		free(r.nvidia[i]);
	}
	slots_done(&s);
	return status;
}

int cloudstack_transform(struct admin_call *c)
{
	size_t len = 0;
	cleanup_free char *xml = hook_input(DOMAIN_MOST_BYTES, &len), *why = NULL;
	struct domain *d = xml ? domain_read(xml, len, DOMAIN_MOST_BYTES, &why) : NULL;
	int status;

	if (!d)
		return hook_refuse("%s", why ? why : "stdin cannot be read");
	if (d->strange)
		status = hook_refuse("%s", d->strange);
	else if (domain_concerns_us(d))
		status = transform(c, d, xml, len);
	else
		status = put_unchanged(xml, len);
	domain_free(d);
	return status;
}
