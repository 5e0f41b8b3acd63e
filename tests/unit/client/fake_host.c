// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in a thread of the client's unit tests.
#include "tests/unit/client/fake_host.h"

#include <assert.h>
#include <linux/futex.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/seqpacket.h"
#include "protocol/guest/calls.h"
#include "protocol/guest/channel.h"

static struct channel_header *header_of(struct fake_host *h)
{
	return (struct channel_header *)h->channel;
}

static void wake(struct fake_host *h)
{
	struct channel_header *header = header_of(h);

	if (!atomic_load(&header->guest_waiters))
		return;
	atomic_fetch_add(&header->wake_word, 1);
	syscall(SYS_futex, &header->wake_word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void answer(struct fake_host *h, const struct record_header *r, const uint8_t *payload)
{
	struct reply_slot *slot = (struct reply_slot *)(h->channel + h->geometry.reply_offset +
							(size_t)r->reply_slot * VGPU_REPLY_SLOT_BYTES);

	slot->result = r->opcode == OPCODE_PING ? 0 : 801;
	slot->length = 0;
	if (r->opcode == OPCODE_PING) {
		memcpy(slot->payload, payload, sizeof(uint64_t));
		slot->length = sizeof(uint64_t);
	}
	atomic_store_explicit(&slot->cookie, r->cookie, memory_order_release);
	wake(h);
}

static void act(struct fake_host *h, const struct record_header *r, const uint8_t *payload)
{
	atomic_fetch_add(&h->records, 1);
	atomic_fetch_add(&h->pushes_seen_bytes, r->length);
	if (atomic_load(&h->mute))
		return;
	if (r->opcode == OPCODE_FENCE) {
		struct record_fence f;

		memcpy(&f, payload, sizeof(f));
		atomic_store((_Atomic uint64_t *)(h->channel + h->geometry.fence_offset) + f.slot, f.value);
		wake(h);
	}
	if (r->reply_slot != REPLY_NONE)
		answer(h, r, payload);
}

static bool consume(struct fake_host *h)
{
	struct channel_header *header = header_of(h);
	uint64_t head = atomic_load(&header->head),
		 tail = atomic_load_explicit(&header->tail, memory_order_acquire);
	bool any = false;

	while (head != tail && !atomic_load(&h->hold)) {
		uint8_t *at = h->channel + h->geometry.ring_offset + (head & (h->geometry.ring_bytes - 1));
		static uint8_t copy[VGPU_RECORD_MAX];
		struct record_header r;

		memcpy(&r, at, sizeof(r));
		if (r.opcode == OPCODE_PAD) {
			atomic_fetch_add(&h->pads, 1);
			assert(((head + r.length) & (h->geometry.ring_bytes - 1)) == 0);
			head += r.length;
		} else {
			assert(r.length >= sizeof(r) && r.length <= sizeof(copy));
			memcpy(copy, at, r.length);
			act(h, &r, copy + sizeof(r));
			head += (r.length + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
		}
		assert(head <= tail);
		atomic_store_explicit(&header->head, head, memory_order_release);
		any = true;
	}
	return any;
}

void fake_host_make_memory(struct fake_host *h, int *ret_channel, int *ret_window)
{
	struct channel_header *header;
	uint8_t *memory;

	*ret_channel = memfd_create("channel", MFD_CLOEXEC);
	*ret_window = memfd_create("window", MFD_CLOEXEC);
	assert(ftruncate(*ret_channel, (off_t)h->geometry.channel_bytes) == 0);
	assert(ftruncate(*ret_window, (off_t)h->geometry.host_window_bytes) == 0);
	memory = mmap(NULL, h->geometry.channel_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_channel, 0);
	assert(memory != MAP_FAILED);
	header = (struct channel_header *)memory;
	header->magic = CHANNEL_MAGIC;
	header->version = CHANNEL_VERSION;
	h->channel = memory;
}

static void make_channel(struct fake_host *h, int link, uint32_t cookie)
{
	struct link_channel_ok ok = { .header = { LINK_MAGIC, LINK_CHANNEL_OK, 3, sizeof(ok), cookie },
				      .channel_id = 1,
				      .geometry = h->geometry };
	int fds[3] = { -1, -1, h->doorbell };

	fake_host_make_memory(h, &fds[0], &fds[1]);
	seqpacket_send(link, &ok, sizeof(ok), fds, 3, 0);
	close(fds[0]);
	close(fds[1]);
}

static void serve_link(struct fake_host *h, int link)
{
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	uint8_t packet[LINK_MAX_PACKET];
	struct link_header *in = (struct link_header *)packet;

	while (seqpacket_recv(link, packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT) > 0) {
		struct link_hello_ok hello = { .header = { LINK_MAGIC, LINK_HELLO_OK, 0, sizeof(hello),
							   in->cookie },
					       .version = LINK_VERSION,
					       .tenant_id = 7 };
		struct link_error no = { .header = { LINK_MAGIC, LINK_ERROR, 0, sizeof(no), in->cookie },
					 .code = h->refuse_code,
					 .text = "no channel for you" };

		if (in->type == LINK_HELLO)
			seqpacket_send(link, &hello, sizeof(hello), NULL, 0, 0);
		else if (h->refuse_code)
			seqpacket_send(link, &no, sizeof(no), NULL, 0, 0);
		else
			make_channel(h, link, in->cookie);
	}
}

static void *run(void *opaque)
{
	struct fake_host *h = opaque;

	while (!atomic_load(&h->quit)) {
		struct pollfd p[3] = { { h->listener, POLLIN, 0 },
				       { atomic_load(&h->link), POLLIN, 0 },
				       { h->doorbell, POLLIN, 0 } };
		bool busy = h->channel && consume(h);
		uint64_t rung;

		if (h->channel && !busy) {
			atomic_store(&header_of(h)->consumer_asleep, 1);
			if (!atomic_load(&h->hold) && consume(h))
				atomic_store(&header_of(h)->consumer_asleep, 0);
		}
		poll(p, 3, busy ? 0 : 2);
		if (p[0].revents & POLLIN)
			atomic_store(&h->link, accept(h->listener, NULL, NULL));
		if (p[1].revents & POLLIN && atomic_load(&h->link) >= 0)
			serve_link(h, atomic_load(&h->link));
		if (p[2].revents & POLLIN && read(h->doorbell, &rung, sizeof(rung)) > 0)
			atomic_fetch_add(&h->doorbells, rung);
	}
	return NULL;
}

void fake_host_start(struct fake_host *h, uint32_t ring_bytes)
{
	uint32_t ring = ring_bytes ? ring_bytes : VGPU_RING_BYTES;
	uint32_t reply = CHANNEL_HEADER_BYTES + ring,
		 fence = reply + VGPU_REPLY_SLOTS * (uint32_t)VGPU_REPLY_SLOT_BYTES;

	h->geometry = (struct link_geometry){
		.ring_offset = CHANNEL_HEADER_BYTES,
		.ring_bytes = ring,
		.reply_offset = reply,
		.reply_slots = VGPU_REPLY_SLOTS,
		.fence_offset = fence,
		.fence_slots = 1024,
		.channel_bytes = fence + 1024 * sizeof(uint64_t),
		.host_window_base = VGPU_HOST_WINDOW_BASE,
		.host_window_bytes = VGPU_MIB(256),
		.arena_bytes = VGPU_MIB(8),
		.device_window_base = VGPU_DEVICE_WINDOW_BASE,
		.device_window_bytes = VGPU_WINDOW_BYTES,
	};
	snprintf(h->path, sizeof(h->path), "/tmp/vgpu-fake-host-%d-%p", getpid(), (void *)h);
	atomic_store(&h->link, -1);
	h->listener = seqpacket_listen(h->path, 0600, 4);
	h->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(h->listener >= 0 && h->doorbell >= 0);
	pthread_create(&h->thread, NULL, run, h);
}

void fake_host_hang_up(struct fake_host *h)
{
	shutdown(atomic_load(&h->link), SHUT_RDWR);
}

void fake_host_send_lost(struct fake_host *h, uint32_t code)
{
	struct link_channel_lost lost = { .header = { LINK_MAGIC, LINK_CHANNEL_LOST, 0, sizeof(lost), 0 },
					  .code = code,
					  .channel_id = 1,
					  .text = "test" };

	seqpacket_send(atomic_load(&h->link), &lost, sizeof(lost), NULL, 0, 0);
}

void fake_host_stop(struct fake_host *h)
{
	atomic_store(&h->quit, true);
	pthread_join(h->thread, NULL);
	if (h->channel)
		munmap(h->channel, h->geometry.channel_bytes);
	if (atomic_load(&h->link) >= 0)
		close(atomic_load(&h->link));
	close(h->listener);
	close(h->doorbell);
	unlink(h->path);
}
