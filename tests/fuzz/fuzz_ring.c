// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: arbitrary bytes as the shared ring and its header, through the executor's whole loop over
// the null backend. The input is {u64 tail, ring bytes}; the executor may end the channel, nothing else.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "executor/executor.h"
#include "tests/unit/executor/fixture.h"

const struct backend_ops *vgpu_backend(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct fixture *f;
	uint8_t *ring;
	uint64_t tail;
	int r = 1;

	if (!f) {
		log_init("fuzz", LOG_ERROR);
		f = fixture_new(vgpu_backend());
	}
	if (bytes < sizeof(tail))
		return 0;
	memcpy(&tail, data, sizeof(tail));
	data += sizeof(tail);
	bytes -= sizeof(tail);
	ring = f->x.channel + f->assign.geometry.ring_offset;
	if (bytes > f->assign.geometry.ring_bytes)
		bytes = f->assign.geometry.ring_bytes;
	memcpy(ring, data, bytes);
	ring_init(&f->x.ring, f->x.header, ring, f->assign.geometry.ring_bytes,
		  f->assign.geometry.reply_slots);
	atomic_store(&f->x.header->head, 0);
	// Half of the inputs publish what they hold, the others what they say.
	atomic_store(&f->x.header->tail, tail & 1 ? tail >> 1 : bytes & ~(size_t)15);
	for (unsigned i = 0; i < 5000 && r > 0; i++) {
		r = loop_round(&f->loop, f->now_ns, &f->why);
		f->now_ns += 10000;
	}
	if (r < 0 && (r != -EPROTO || !f->why))
		abort();
	track_reset(&f->x); // host waits that no guest will answer
	executor_reset(&f->x);
	return 0;
}
