// SPDX-License-Identifier: Apache-2.0
// Commands; see the header. Each is copied once out of guest memory, checked, then acted upon; what the guest
// writes there meanwhile changes nothing. Only the area itself is mapped, since its words must be stored
// whole.
#include "stub/command.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "common/limits.h"
#include "common/log.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/host/link.h"
#include "stub/device.h"

#define PAGE	   4096u
#define AREA_BYTES ((sizeof(struct vgpu_admin_area) + PAGE - 1) & ~(size_t)(PAGE - 1))

// ---- what a command may say ----

static bool is_page(uint64_t n)
{
	return n % PAGE == 0;
}

static enum vgpu_command_result check_list(uint64_t list, uint64_t extents)
{
	if (list % 8 || !extents || list > UINT64_MAX - extents * sizeof(struct vgpu_extent))
		return VGPU_RESULT_INVALID;
	return extents > VGPU_MAX_EXTENTS ? VGPU_RESULT_LIMIT : VGPU_RESULT_OK;
}

static enum vgpu_command_result check_open(const struct vgpu_command_open *o)
{
	if (o->library > VGPU_LIBRARY_MOST || o->reserved || !memchr(o->name, 0, sizeof(o->name)) ||
	    o->channel_bytes != VGPU_VM_CHANNEL_BYTES || !o->channel_extents || !o->arena_extents ||
	    !is_page(o->arena_bytes))
		return VGPU_RESULT_INVALID;
	if (o->arena_bytes < VGPU_MIN_VM_ARENA || o->arena_bytes > VGPU_ARENA_BYTES)
		return VGPU_RESULT_LIMIT;
	return check_list(o->list, (uint64_t)o->channel_extents + o->arena_extents);
}

static enum vgpu_command_result check_map(const struct vgpu_command_map *m)
{
	if (m->reserved || m->reserved2 || !m->bytes || !is_page(m->bytes) || !is_page(m->address) ||
	    m->address > UINT64_MAX - m->bytes)
		return VGPU_RESULT_INVALID;
	if (m->bytes > VGPU_MAX_VM_MAP_BYTES)
		return VGPU_RESULT_LIMIT;
	return check_list(m->list, m->extents);
}

static enum vgpu_command_result check_device(const struct vgpu_command_device *d)
{
	if (!is_page(d->buffer) || !is_page(d->buffer_bytes) || !d->buffer_bytes ||
	    d->request_bytes != sizeof(struct link_device) || d->buffer > UINT64_MAX - d->buffer_bytes)
		return VGPU_RESULT_INVALID;
	return d->buffer_bytes > VGPU_KIB(64) ? VGPU_RESULT_LIMIT : VGPU_RESULT_OK;
}

enum vgpu_command_result command_check(const struct vgpu_command *c)
{
	// The first field of all that are about a channel.
	if (c->code != VGPU_COMMAND_DEVICE && c->open.channel >= VGPU_MAX_VM_CHANNELS)
		return VGPU_RESULT_INVALID;
	switch (c->code) {
	case VGPU_COMMAND_OPEN: return check_open(&c->open);
	case VGPU_COMMAND_CLOSE: return c->close.reserved ? VGPU_RESULT_INVALID : VGPU_RESULT_OK;
	case VGPU_COMMAND_MAP: return check_map(&c->map);
	case VGPU_COMMAND_UNMAP:
		return c->unmap.reserved || !is_page(c->unmap.address) ? VGPU_RESULT_INVALID : VGPU_RESULT_OK;
	case VGPU_COMMAND_DEVICE: return check_device(&c->device);
	default: return VGPU_RESULT_INVALID;
	}
}

// ---- the area ----

enum vgpu_command_result commands_enable(struct stub *s)
{
	const struct registers *r = &s->registers;
	struct dma_piece piece;
	void *area;

	if (!r->admin || r->admin % PAGE || r->admin_bytes < sizeof(struct vgpu_admin_area) ||
	    r->admin > UINT64_MAX - AREA_BYTES)
		return VGPU_RESULT_INVALID;
	if (!dma_find(&s->dma, r->admin, AREA_BYTES, &piece) || piece.bytes != AREA_BYTES)
		return VGPU_RESULT_NOT_SHARED;
	area = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, piece.fd, (off_t)piece.offset);
	if (area == MAP_FAILED)
		return VGPU_RESULT_NOT_SHARED;
	s->commands.area = area;
	s->commands.address = r->admin;
	return VGPU_RESULT_OK;
}

void commands_disable(struct stub *s)
{
	if (s->commands.area)
		munmap(s->commands.area, AREA_BYTES);
	s->commands.area = NULL;
}

void commands_forget(struct stub *s)
{
	memset(s->commands.slots, 0, sizeof(s->commands.slots));
}

bool commands_meet(const struct stub *s, uint64_t address, uint64_t bytes)
{
	const struct commands *c = &s->commands;

	return c->area && address < c->address + AREA_BYTES && c->address < address + bytes;
}

void command_bell(struct stub *s, uint32_t channel, uint32_t value)
{
	if (!s->commands.area)
		return;
	__atomic_store_n(&s->commands.area->bell[channel], value, __ATOMIC_RELEASE);
	device_interrupt(s, VGPU_CAUSE_BELL);
}

// ---- commands ----

int command_of_channel(const struct stub *s, uint32_t channel, uint32_t code)
{
	int found = -1;

	for (int i = 0; i < VGPU_COMMAND_SLOTS; i++) {
		const struct command_slot *slot = &s->commands.slots[i];

		if (slot->busy && slot->code != VGPU_COMMAND_DEVICE && slot->channel == channel &&
		    (!code || slot->code == code) &&
		    (found < 0 || slot->order < s->commands.slots[found].order))
			found = i;
	}
	return found;
}

int command_of_cookie(const struct stub *s, uint32_t cookie)
{
	for (int i = 0; i < VGPU_COMMAND_SLOTS; i++)
		if (cookie && s->commands.slots[i].busy && s->commands.slots[i].cookie == cookie)
			return i;
	return -1;
}

uint32_t command_new_cookie(struct stub *s)
{
	if (!++s->commands.next_cookie)
		s->commands.next_cookie = 1;
	return s->commands.next_cookie;
}

void command_reply(struct stub *s, unsigned slot, enum vgpu_command_result result,
		   const struct vgpu_reply *body)
{
	struct command_slot *c = &s->commands.slots[slot];
	struct vgpu_reply reply = { 0 }, *there;
	uint32_t sequence = c->sequence;

	*c = (struct command_slot){ 0 };
	if (!s->commands.area)
		return;
	if (body)
		reply = *body;
	reply.result = result;
	there = &s->commands.area->slot[slot].reply;
	memcpy((uint8_t *)there + sizeof(reply.sequence), (uint8_t *)&reply + sizeof(reply.sequence),
	       sizeof(reply) - sizeof(reply.sequence));
	__atomic_store_n(&there->sequence, sequence, __ATOMIC_RELEASE);
	device_interrupt(s, VGPU_CAUSE_COMMAND);
}

static enum vgpu_command_result act(struct stub *s, unsigned slot, const struct vgpu_command *c)
{
	enum vgpu_command_result r = command_check(c);

	if (r)
		return r;
	if (c->code == VGPU_COMMAND_DEVICE)
		return host_ask_device(s, slot, &c->device);
	s->commands.slots[slot].channel = c->open.channel;
	switch (c->code) {
	case VGPU_COMMAND_OPEN: return channel_open(&s->channels[c->open.channel], &c->open);
	case VGPU_COMMAND_CLOSE: return channel_close(&s->channels[c->close.channel], slot);
	case VGPU_COMMAND_MAP: return channel_map(&s->channels[c->map.channel], slot, &c->map);
	default: return channel_unmap(&s->channels[c->unmap.channel], slot, &c->unmap);
	}
}

void command_submit(struct stub *s, uint32_t slot)
{
	struct command_slot *taken;
	struct vgpu_command c;
	enum vgpu_command_result r;

	if (!s->commands.area || s->disabling || slot >= VGPU_COMMAND_SLOTS || s->commands.slots[slot].busy) {
		s->commands.strange++;
		return;
	}
	memcpy(&c, &s->commands.area->slot[slot].command, sizeof(c));
	atomic_signal_fence(memory_order_seq_cst); // this copy, and no other look at the original
	taken = &s->commands.slots[slot];
	*taken = (struct command_slot){
		.busy = true,
		.sequence = c.sequence,
		.code = c.code,
		.channel = VGPU_MAX_VM_CHANNELS,
		.order = ++s->commands.next_order,
	};
	r = c.sequence ? act(s, slot, &c) : VGPU_RESULT_INVALID;
	if (r)
		command_reply(s, slot, r, NULL);
}
