// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: a guest's records through dispatch_record and the handlers, over the null backend. An
// input is a sequence of {u8 opcode, u8 mode, u16 length, payload}. The mode bits help the fuzzer past the
// doors: 1 takes the length for that of the tail, 2 turns words that begin with a kind of handle into one of
// few handles, and words that begin with 0xde or 0xa0 into device and host window addresses. fuzz_main.c runs
// it without libFuzzer.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "executor/executor.h"
#include "tests/unit/executor/fixture.h"

const struct backend_ops *vgpu_backend(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct fixture *f;

static void quiet(void)
{
	log_init("fuzz", LOG_ERROR);
}

// Work is complete at once in the null backend; a handler that wants the device idle gets it by this.
static void settle(void)
{
	struct executor *x = &f->x;

	f->now_ns += 10000;
	x->now_ns = f->now_ns;
	track_flush(x);
	for (uint32_t slot = 0; x->track.n_waits && slot < f->assign.geometry.fence_slots; slot++)
		atomic_store(&x->fences[slot], UINT64_MAX); // the guest's part of host waits
	track_pass(x, x->now_ns, true);
	x->ops->error(x->backend); // the null backend looks at its waits then
	track_poll(x, x->now_ns);
	watches_poll(x);
}

static uint64_t likely_word(uint64_t w)
{
	uint8_t first = (uint8_t)(w >> 56);

	if (first && first < HANDLE_KINDS)
		return handle_make(first, 1 + (handle_generation(w) & 1), handle_index(w) & 3);
	if (first == 0xde)
		return VGPU_DEVICE_WINDOW_BASE + (w & 0xffffff);
	if (first == 0xa0)
		return VGPU_HOST_WINDOW_BASE + (w & 0xffffff);
	return w;
}

static void make_likely(uint8_t *payload, uint32_t bytes)
{
	for (uint32_t i = 0; i + 8 <= bytes && i < 64; i += 8) {
		uint64_t w;

		memcpy(&w, payload + i, 8);
		w = likely_word(w);
		memcpy(payload + i, &w, 8);
	}
}

static void one_record(uint8_t opcode, uint8_t mode, const uint8_t *payload, uint32_t bytes)
{
	static uint8_t room[VGPU_REPLY_SLOT_BYTES], copy[VGPU_RECORD_MAX] __attribute__((aligned(16)));
	struct dispatch_reply reply = { .payload = room, .room = sizeof(room) - sizeof(struct reply_slot) };
	const char *why = NULL;
	int r;

	memcpy(copy, payload, bytes);
	if (mode & 2)
		make_likely(copy, bytes);
	for (unsigned tries = 0;; tries++) {
		if (!track_has_room(&f->x.track))
			settle();
		r = dispatch_record(&f->x, opcode, copy, bytes, &reply, &why);
		if (r == -EPROTO ? !why : r != 0)
			abort();
		if (r || reply.result != RESULT_AGAIN)
			break;
		if (tries > 2)
			abort(); // nothing is in flight: it may not ask again
		settle();
	}
	if (!r && reply.bytes > reply.room)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (!f) {
		quiet();
		f = fixture_new(vgpu_backend());
	}
	while (bytes >= 4) {
		uint8_t opcode = data[0] % (OPCODE_COUNT + 2), mode = data[1];
		uint16_t length16;
		size_t length;

		memcpy(&length16, data + 2, 2);
		data += 4;
		bytes -= 4;
		length = length16;
		if ((mode & 1) && opcode < OPCODE_COUNT)
			length = call_infos[opcode].bytes + (call_infos[opcode].has_tail ? length % 512 : 0);
		if (length > bytes)
			length = bytes;
		one_record(opcode, mode, data, (uint32_t)length);
		data += length;
		bytes -= length;
	}
	settle();
	executor_reset(&f->x);
	if (f->x.memory.held || f->x.image_bytes || f->x.track.records || f->x.n_watches)
		abort();
	return 0;
}
