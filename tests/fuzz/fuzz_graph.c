// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: the description of an executable graph, as a hostile guest writes it, through the real
// reader, then launches and changes of what came out, over the null backend. An input's first byte says how
// the rest is taken: even, as the description itself (its magic number put right); odd, as a list of choices
// from which a description is built that is right but for what the choices break. Words that begin with a
// kind of handle, 0xde or 0xa0 become handles, device and host addresses that exist. fuzz_main.c runs it
// without libFuzzer.
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "executor/executor.h"
#include "executor/graph.h"
#include "tests/unit/executor/fixture.h"

const struct backend_ops *vgpu_backend(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct fixture *f;
static uint32_t generation; // of all handles of this input
static uint64_t device;	    // 64 KiB
static struct {
	uint8_t bytes[32768];
	uint32_t n;
} d;
static struct {
	const uint8_t *at;
	size_t left;
} input;

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
}

// A right record, run until it asks for nothing more.
static int32_t call(uint16_t opcode, const void *fields, uint32_t bytes)
{
	static uint8_t room[VGPU_REPLY_SLOT_BYTES];
	struct dispatch_reply reply = { .payload = room, .room = sizeof(room) - sizeof(struct reply_slot) };
	const char *why = NULL;

	for (unsigned tries = 0;; tries++) {
		if (!track_has_room(&f->x.track))
			settle();
		if (dispatch_record(&f->x, opcode, fields, bytes, &reply, &why))
			abort();
		if (reply.result != RESULT_AGAIN)
			return reply.result;
		if (tries > VGPU_MAX_GRAPH_NODES)
			abort(); // nothing is in flight: it may not ask for ever
		settle();
	}
}

#define CALL(opcode, fields) call(opcode, fields, sizeof(*(fields)))

static uint64_t handle(uint8_t kind)
{
	return handle_make(kind, generation, 0);
}

static void make_objects(void)
{
	struct record_context_activate activate = { 0 };
	struct record_stream_create stream = { .stream = handle(HANDLE_STREAM) };
	struct record_event_create event = { .event = handle(HANDLE_EVENT) };
	struct record_conditions_create conditions = { .conditions = handle(HANDLE_CONDITIONS) };
	struct record_condition_add condition = { .conditions = conditions.conditions };
	struct record_blob_create image = { .blob = handle(HANDLE_BLOB), .size = 8 };
	struct record_module_load module = { .module = handle(HANDLE_MODULE), .blob = image.blob };
	struct {
		struct record_function_get r;
		char name[8];
	} function = { { .module = module.module, .function = handle(HANDLE_FUNCTION) }, "k__p8" };

	CALL(OPCODE_CONTEXT_ACTIVATE, &activate);
	CALL(OPCODE_STREAM_CREATE, &stream);
	CALL(OPCODE_EVENT_CREATE, &event);
	CALL(OPCODE_CONDITIONS_CREATE, &conditions);
	for (int i = 0; i < 3; i++)
		CALL(OPCODE_CONDITION_ADD, &condition);
	CALL(OPCODE_BLOB_CREATE, &image);
	CALL(OPCODE_MODULE_LOAD, &module);
	call(OPCODE_FUNCTION_GET, &function, sizeof(function.r) + 5);
	if (memory_alloc(&f->x.memory, 65536, &device, &(uint64_t){ 0 }))
		abort();
}

// ---- a description made of choices

static uint8_t next(void)
{
	uint8_t byte = input.left ? *input.at : 0;

	input.at += input.left != 0;
	input.left -= input.left != 0;
	return byte;
}

static void put(const void *p, uint32_t bytes)
{
	if (bytes > sizeof(d.bytes) - d.n)
		return; // what is cut off is one more way to be wrong
	memcpy(d.bytes + d.n, p, bytes);
	d.n += bytes;
}

static void put_node(uint16_t kind, uint16_t opcode, const void *body, uint32_t bytes)
{
	struct graph_node n = { .bytes = bytes, .kind = kind, .flags = next() & 1, .opcode = opcode };
	static const uint8_t zeros[8];

	put(&n, sizeof(n));
	put(body, bytes);
	put(zeros, (8 - bytes % 8) % 8);
}

static void put_words(void)
{
	struct {
		struct record_words r;
		struct word_op ops[8];
	} words = { .r.n = 1 + next() % 8u };

	for (uint32_t i = 0; i < words.r.n; i++) {
		words.ops[i].operation = next() % 8u;
		words.ops[i].flags = next() & 3;
		if (word_bytes(&words.ops[i]))
			words.ops[i].address = device + 8ull * next();
		words.ops[i].value = next();
	}
	put_node(GRAPH_NODE_RECORD, OPCODE_WORDS, &words,
		 (uint32_t)(sizeof(words.r) + words.r.n * sizeof(words.ops[0])));
}

// Often with bodies that are there.
static void put_branch(void)
{
	uint8_t body[sizeof(struct graph_condition_node) + 4 * sizeof(uint32_t)];
	struct graph_condition_node c = { .conditions = handle(HANDLE_CONDITIONS),
					  .condition = next() % 4u,
					  .type = next() % 4u,
					  .n_bodies = 1 + next() % 4u };

	memcpy(body, &c, sizeof(c));
	for (uint32_t i = 0; i < c.n_bodies; i++)
		memcpy(body + sizeof(c) + i * sizeof(uint32_t), &(uint32_t){ next() % 4u }, sizeof(uint32_t));
	put_node(GRAPH_NODE_CONDITION, 0, body, (uint32_t)(sizeof(c) + c.n_bodies * sizeof(uint32_t)));
}

static void put_any(void)
{
	struct record_copy copy = {
		.dst = device, .src = device + next(), .width = next(), .height = 1, .depth = 1
	};
	struct record_set set = { .dst = device, .width = next(), .height = 1, .element = 1 };
	struct record_event_record record = { .event = handle(HANDLE_EVENT) };
	struct record_stream_wait_event wait = { .event = handle(HANDLE_EVENT) };
	struct graph_host_node host = { next(), 256u + next() };
	struct {
		struct record_launch r;
		uint64_t parameter;
	} launch = { .r = { .function = handle(HANDLE_FUNCTION),
			    .grid_x = 1,
			    .grid_y = 1,
			    .grid_z = 1,
			    .block_x = next(),
			    .block_y = 1,
			    .block_z = 1,
			    .param_bytes = 8 } };
	uint8_t raw[64];

	switch (next() % 8) {
	case 0: put_node(GRAPH_NODE_EMPTY, 0, "", 0); return;
	case 1: put_node(GRAPH_NODE_RECORD, OPCODE_COPY, &copy, sizeof(copy)); return;
	case 2: put_node(GRAPH_NODE_RECORD, OPCODE_SET, &set, sizeof(set)); return;
	case 3: put_node(GRAPH_NODE_RECORD, OPCODE_EVENT_RECORD, &record, sizeof(record)); return;
	case 4: put_node(GRAPH_NODE_RECORD, OPCODE_STREAM_WAIT_EVENT, &wait, sizeof(wait)); return;
	case 5: put_node(GRAPH_NODE_HOST, 0, &host, sizeof(host)); return;
	case 6: put_node(GRAPH_NODE_RECORD, OPCODE_LAUNCH, &launch, sizeof(launch)); return;
	default: break;
	}
	switch (next() & 3) {
	case 0: break;
	case 1: put_branch(); return;
	default: put_words(); return;
	}
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = next();
	put_node(next(), next(), raw, next() % sizeof(raw));
}

static void build(void)
{
	struct graph_header h = { .magic = GRAPH_MAGIC, .n_nodes = next() % 12u };
	uint32_t n_edges[12] = { 0 };

	for (uint32_t to = 0; to < h.n_nodes; to++)
		h.n_edges += n_edges[to] = to ? next() % 3u : 0;
	put(&h, sizeof(h));
	for (uint32_t to = 0; to < h.n_nodes; to++)
		for (uint32_t i = 0; i < n_edges[to]; i++) {
			uint8_t choice = next();
			struct graph_edge e = { .from = choice % to, .to = to, .from_port = choice >> 7 };

			put(&e, sizeof(e));
		}
	for (uint32_t i = 0; i < h.n_nodes; i++)
		put_any();
	for (uint32_t wrong = next() % 4u; wrong > 1; wrong--) {
		uint32_t at = (next() << 8 | next()) % d.n;

		d.bytes[at] ^= next();
	}
}

static void take_raw(void)
{
	static const uint32_t magic = GRAPH_MAGIC;

	put(input.at, (uint32_t)(input.left < sizeof(d.bytes) ? input.left : sizeof(d.bytes)));
	if (d.n >= sizeof(magic))
		memcpy(d.bytes, &magic, sizeof(magic));
	for (uint32_t i = 0; i + 8 <= d.n; i += 8) {
		uint64_t w;

		memcpy(&w, d.bytes + i, 8);
		if (w >> 56 && w >> 56 < HANDLE_KINDS)
			w = handle((uint8_t)(w >> 56));
		else if (w >> 56 == 0xde)
			w = device + (w & 0xffff);
		else if (w >> 56 == 0xa0)
			w = VGPU_HOST_WINDOW_BASE + (w & 0xfffff);
		memcpy(d.bytes + i, &w, 8);
	}
}

// ---- what is done with it

static void use(void)
{
	struct record_graph_launch launch = { .stream = handle(HANDLE_STREAM),
					      .graph = handle(HANDLE_GRAPH) };
	struct record_graph_upload upload = { .stream = STREAM_LEGACY, .graph = launch.graph };
	struct record_graph_destroy destroy = { .graph = launch.graph };
	struct {
		struct record_graph_set r;
		uint8_t body[256];
	} set = { .r = { .graph = launch.graph, .node = next() % 12u, .enabled = next() & 1 } };
	uint32_t bytes = next();

	for (uint32_t i = 0; i < bytes; i++)
		set.body[i] = next();
	for (launch.run = 1; launch.run < 3; launch.run++)
		CALL(OPCODE_GRAPH_LAUNCH, &launch);
	call(OPCODE_GRAPH_SET, &set, (uint32_t)sizeof(set.r) + bytes);
	CALL(OPCODE_GRAPH_UPLOAD, &upload);
	CALL(OPCODE_GRAPH_LAUNCH, &launch);
	CALL(OPCODE_GRAPH_DESTROY, &destroy);
}

static void start(void)
{
	log_init("fuzz", LOG_ERROR);
	f = fixture_new(vgpu_backend());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct record_graph_create create = { 0 };
	struct record_blob_create blob = { 0 };
	struct blob *b;

	if (!f)
		start();
	if (!bytes)
		return 0;
	generation = generation == UINT16_MAX ? 1 : generation + 1;
	make_objects();
	input.at = data + 1;
	input.left = bytes - 1;
	d.n = 0;
	if (data[0] & 1)
		build();
	else
		take_raw();
	blob = (struct record_blob_create){ .blob = handle_make(HANDLE_BLOB, generation, 1), .size = d.n };
	create = (struct record_graph_create){ .graph = handle(HANDLE_GRAPH),
					       .blob = blob.blob,
					       .flags = data[0] & 8 };
	if (!CALL(OPCODE_BLOB_CREATE, &blob)) {
		b = handle_get(&f->x, HANDLE_BLOB, blob.blob);
		memcpy(b->data, d.bytes, d.n);
		if (!CALL(OPCODE_GRAPH_CREATE, &create))
			use();
	}
	if (f->x.graph_bytes)
		abort();
	for (unsigned i = 0; i < 100 && !track_idle(&f->x.track); i++)
		settle();
	if (!track_idle(&f->x.track))
		abort();
	executor_reset(&f->x);
	if (f->x.memory.held || f->x.image_bytes)
		abort();
	return 0;
}
