// SPDX-License-Identifier: Apache-2.0
// The executor under test with its channel; see the header.
#include "tests/unit/executor/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fixture: %s\n", what);
	abort();
}

static int memfd(uint64_t bytes)
{
	int fd = memfd_create("vgpu-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 &&
		 fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0,
	     "memfd");
	return fd;
}

void fixture_assign(struct link_assign *ret)
{
	*ret = (struct link_assign){
		.header = { LINK_MAGIC, LINK_ASSIGN, ASSIGN_FDS, sizeof(*ret), 0 },
		.channel_id = 7,
		.tenant_id = 3,
		.spin_ns = 20000,
		.geometry = {
			.ring_offset = 4096,
			.ring_bytes = 65536,
			.reply_offset = 4096 + 65536,
			.reply_slots = 4,
			.fence_offset = 4096 + 65536 + 4 * 8192,
			.fence_slots = 512,
			.channel_bytes = 4096 + 65536 + 4 * 8192 + 4096,
			.host_window_base = VGPU_HOST_WINDOW_BASE,
			.host_window_bytes = VGPU_MIB(16),
			.arena_bytes = VGPU_MIB(1),
			.device_window_base = VGPU_DEVICE_WINDOW_BASE,
			.device_window_bytes = VGPU_WINDOW_BYTES,
		},
	};
}

void fixture_objects(const struct link_assign *assign, int ret_fds[ASSIGN_FDS])
{
	const uint32_t magic[2] = { CHANNEL_MAGIC, CHANNEL_VERSION };

	ret_fds[ASSIGN_CHANNEL] = memfd(assign->geometry.channel_bytes);
	ret_fds[ASSIGN_HOST_WINDOW] = memfd(assign->geometry.host_window_bytes);
	ret_fds[ASSIGN_DOORBELL] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret_fds[ASSIGN_TURN_PAGE] = memfd(VGPU_TURN_PAGE_BYTES);
	ret_fds[ASSIGN_KICK] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret_fds[ASSIGN_TENANT_PAGE] = memfd(4096);
	must(pwrite(ret_fds[ASSIGN_CHANNEL], magic, sizeof(magic), 0) == sizeof(magic), "channel header");
}

struct fixture *fixture_new(const struct backend_ops *ops)
{
	const struct executor_place place = { .host_window = VGPU_HOST_WINDOW_BASE,
					      .device_window = VGPU_DEVICE_WINDOW_BASE };
	struct fixture *f = calloc(1, sizeof(*f));
	char why[256] = "";

	must(f, "memory");
	fixture_assign(&f->assign);
	fixture_objects(&f->assign, f->fds);
	must(executor_reserve(&f->x, &place, why, sizeof(why)) == 0, why);
	must(executor_open(&f->x, ops, why, sizeof(why)) == 0, why);
	must(executor_map(&f->x, &f->assign, f->fds, why, sizeof(why)) == 0, why);
	must(executor_init(&f->x, why, sizeof(why)) == 0, why);
	must(loop_open(&f->loop) == 0 && loop_init(&f->loop, &f->x) == 0, "loop");
	f->now_ns = clock_now_ns();
	fixture_open_gate(f, VGPU_NO_DEADLINE);
	return f;
}

void fixture_free(struct fixture *f)
{
	fake.async = false;
	fake_step(UINT32_MAX);
	loop_done(&f->loop);
	executor_done(&f->x);
	executor_unmap(&f->x);
	for (unsigned i = 0; i < ASSIGN_FDS; i++)
		close(f->fds[i]);
	free(f);
}

void fixture_open_gate(struct fixture *f, uint64_t deadline_ns)
{
	struct vgpu_turn_page *p = f->x.turn;

	atomic_store(&p->deadline_ns, deadline_ns);
	atomic_store(&p->gate, VGPU_GATE_OPEN);
	atomic_fetch_add(&p->turn_id, 1);
}

void fixture_close_gate(struct fixture *f)
{
	atomic_store(&f->x.turn->gate, VGPU_GATE_CLOSED);
}

void fixture_push(struct fixture *f, uint16_t opcode, uint16_t reply_slot, const void *fields, uint32_t bytes,
		  const void *tail, uint32_t tail_bytes)
{
	const uint32_t ring_bytes = f->assign.geometry.ring_bytes;
	struct record_header h = {
		.opcode = opcode,
		.reply_slot = reply_slot,
		.length = (uint32_t)sizeof(h) + bytes + tail_bytes,
		.cookie = reply_slot == REPLY_NONE ? 0 : ++f->cookie,
	};
	uint32_t at = (uint32_t)f->tail & (ring_bytes - 1), size = (h.length + 15) & ~15u;
	uint8_t *ring = f->x.channel + f->assign.geometry.ring_offset;

	if (ring_bytes - at < size) {
		struct record_header pad = { .opcode = OPCODE_PAD,
					     .reply_slot = REPLY_NONE,
					     .length = ring_bytes - at };

		memcpy(ring + at, &pad, sizeof(pad));
		f->tail += pad.length;
		at = 0;
	}
	must(f->tail + size - atomic_load(&f->x.header->head) <= ring_bytes, "the ring is full");
	memcpy(ring + at, &h, sizeof(h));
	if (bytes)
		memcpy(ring + at + sizeof(h), fields, bytes);
	if (tail_bytes)
		memcpy(ring + at + sizeof(h) + bytes, tail, tail_bytes);
	f->tail += size;
	atomic_store(&f->x.header->tail, f->tail);
}

int fixture_run(struct fixture *f)
{
	unsigned quiet = 0;

	for (unsigned rounds = 0; quiet < 8; rounds++) {
		int r = loop_round(&f->loop, f->now_ns, &f->why);

		must(rounds < 100000, "the loop does not come to rest");
		if (r < 0)
			return r;
		quiet = r ? 0 : quiet + 1;
		f->now_ns += 1000;
	}
	return 0;
}

int32_t fixture_call(struct fixture *f, uint16_t opcode, const void *fields, uint32_t bytes, const void *tail,
		     uint32_t tail_bytes, void *ret, uint32_t ret_bytes)
{
	const struct reply_slot *slot = (void *)(f->x.channel + f->assign.geometry.reply_offset);

	fixture_push(f, opcode, 0, fields, bytes, tail, tail_bytes);
	if (fixture_run(f) < 0 || atomic_load(&slot->cookie) != f->cookie)
		return -1000;
	if (ret_bytes)
		memcpy(ret, slot->payload, ret_bytes);
	return slot->result;
}

int32_t fixture_activate(struct fixture *f)
{
	struct record_context_activate r = { 0 };

	return fixture_call(f, OPCODE_CONTEXT_ACTIVATE, &r, sizeof(r), NULL, 0, NULL, 0);
}

int32_t fixture_function(struct fixture *f, uint64_t module, uint64_t function)
{
	// Tests begin theirs at index 0.
	struct record_blob_create b = { .blob = handle_make(HANDLE_BLOB, 1, 1), .size = 8 };
	struct record_module_load m = { .module = module, .blob = b.blob };
	struct record_function_get g = { .module = module, .function = function };
	int32_t r = fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0);

	r = r ? r : fixture_call(f, OPCODE_MODULE_LOAD, &m, sizeof(m), NULL, 0, NULL, 0);
	return r ? r : fixture_call(f, OPCODE_FUNCTION_GET, &g, sizeof(g), "k", 1, NULL, 0);
}

uint64_t fixture_alloc(struct fixture *f, uint64_t size)
{
	struct record_mem_alloc r = { .size = size };
	struct reply_mem_alloc reply;

	return fixture_call(f, OPCODE_MEM_ALLOC, &r, sizeof(r), NULL, 0, &reply, sizeof(reply))
		   ? 0
		   : reply.address;
}

uint32_t fixture_deferred(struct fixture *f)
{
	return atomic_exchange(&f->x.header->deferred_error, 0);
}
