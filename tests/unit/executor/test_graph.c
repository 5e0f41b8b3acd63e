// SPDX-License-Identifier: Apache-2.0
// executor/graph.c: descriptions that a guest may send, right ones and hostile ones, and how a launch replays
// them on a backend without graphs of its own.
#include <string.h>

#include "common/clock.h"
#include "executor/graph.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define GRAPH handle_make(HANDLE_GRAPH, generation, 0)

static struct fixture *f;
static uint64_t dev; // 64 KiB
static uint32_t generation;

// A description under construction.
static struct {
	uint8_t bytes[262144];
	uint32_t n;
} d;

static int setup(void **state)
{
	(void)state;
	f = fixture_new(fake_backend());
	if (fixture_activate(f))
		return -1;
	dev = fixture_alloc(f, 65536);
	generation = 0;
	return !dev;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static void put(const void *p, size_t bytes)
{
	assert_true(d.n + bytes <= sizeof(d.bytes));
	memcpy(d.bytes + d.n, p, bytes);
	d.n += (uint32_t)bytes;
}

static void begin(uint32_t nodes, uint32_t edges)
{
	struct graph_header h = { .magic = GRAPH_MAGIC, .n_nodes = nodes, .n_edges = edges };

	d.n = 0;
	put(&h, sizeof(h));
}

static void edge(uint32_t from, uint32_t to)
{
	struct graph_edge e = { .from = from, .to = to };

	put(&e, sizeof(e));
}

static void node(struct graph_node n, const void *body, uint32_t bytes)
{
	static const uint8_t zeros[8];

	n.bytes = bytes;
	put(&n, sizeof(n));
	put(body, bytes);
	put(zeros, (8 - bytes % 8) % 8);
}

static void copy_node(uint64_t dst, uint64_t src)
{
	struct record_copy c = { .dst = dst, .src = src, .width = 64, .height = 1, .depth = 1 };

	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY }, &c, sizeof(c));
}

// Sends what was built; the blob is gone afterwards in any case.
static int32_t create(uint32_t *ret_error_node)
{
	const uint64_t blob = handle_make(HANDLE_BLOB, ++generation, 0);
	struct record_blob_create b = { .blob = blob, .size = d.n };
	struct record_graph_create g = { .graph = GRAPH, .blob = blob };
	struct reply_graph_create reply = { 0 };
	int32_t result;

	assert_int_equal(fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0), CUDA_SUCCESS);
	memcpy(((struct blob *)handle_get(&f->x, HANDLE_BLOB, blob))->data, d.bytes, d.n);
	result = fixture_call(f, OPCODE_GRAPH_CREATE, &g, sizeof(g), NULL, 0, &reply, sizeof(reply));
	assert_null(handle_get(&f->x, HANDLE_BLOB, blob));
	if (ret_error_node)
		*ret_error_node = reply.error_node;
	if (result)
		assert_int_equal(f->x.graph_bytes, 0);
	return result;
}

static uint32_t launch(void)
{
	static uint64_t run;
	struct record_graph_launch r = { .graph = GRAPH, .run = ++run };

	PUSH(f, OPCODE_GRAPH_LAUNCH, &r);
	assert_int_equal(fixture_run(f), 0);
	return fixture_deferred(f);
}

static void destroy(void)
{
	struct record_graph_destroy r = { .graph = GRAPH };

	PUSH(f, OPCODE_GRAPH_DESTROY, &r);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(f->x.graph_bytes, 0);
	assert_null(handle_get(&f->x, HANDLE_GRAPH, GRAPH));
}

static void launches_replay_the_records(void **state)
{
	struct record_graph_set set;
	struct record_copy other = { .dst = dev, .src = dev + 512, .width = 8, .height = 1, .depth = 1 };

	(void)state;
	begin(3, 2);
	edge(0, 1);
	edge(1, 2);
	copy_node(dev, dev + 64);
	node((struct graph_node){ .kind = GRAPH_NODE_EMPTY }, "", 0);
	copy_node(dev, dev + 128);
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 0);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 4);
	set = (struct record_graph_set){ .graph = GRAPH, .node = 2, .enabled = 0 };
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), NULL, 0, NULL, 0),
			 CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 5);
	set.enabled = 1;
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), &other, sizeof(other), NULL, 0),
			 CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 7);
	set.node = 1; // an empty node has no parameters
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), &other, sizeof(other), NULL, 0),
			 CUDA_ERROR_INVALID_VALUE);
	set.node = 3;
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_VALUE);
	destroy();
}

// A node's array is looked up at each launch: one that is gone is that launch's error.
static void copies_with_arrays(void **state)
{
	struct record_array_create a = { .array = handle_make(HANDLE_ARRAY, 1, 3),
					 .width = 64,
					 .format = CU_AD_FORMAT_UNSIGNED_INT8,
					 .channels = 1 };
	struct record_copy_array c = {
		.dst_array = a.array, .src = dev, .width = 64, .height = 1, .depth = 1
	};
	struct record_array_destroy end = { .array = a.array };

	(void)state;
	assert_int_equal(fixture_call(f, OPCODE_ARRAY_CREATE, &a, sizeof(a), NULL, 0, NULL, 0), CUDA_SUCCESS);
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY_ARRAY }, &c, sizeof(c));
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 1);
	PUSH(f, OPCODE_ARRAY_DESTROY, &end);
	assert_int_equal(launch(), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fake.copies, 1);
	destroy();
	begin(1, 0); // the name of nothing
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY_ARRAY }, &c, sizeof(c));
	assert_int_equal(create(NULL), CUDA_ERROR_INVALID_HANDLE);
}

// More nodes than may be in flight: the launch goes on where it stopped.
static void long_graphs_wait_for_room(void **state)
{
	enum { N = 3 * TRACK_MAX_RECORDS / 2 };

	(void)state;
	fake.async = true;
	begin(N, 0);
	for (int i = 0; i < N; i++)
		copy_node(dev, dev + 64);
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_true(fake.n_queued > 0 && fake.copies < N);
	for (int i = 0; i < 100 && fake.copies < N; i++) {
		fake_step(UINT32_MAX);
		assert_int_equal(fixture_run(f), 0);
	}
	assert_int_equal(fake.copies, N);
	fake_step(UINT32_MAX);
	assert_int_equal(fixture_run(f), 0);
	destroy();
}

// What freed memory or a bad address in a node does: the launch's own error, nothing else.
static void bad_addresses_are_the_launch_s_error(void **state)
{
	(void)state;
	begin(2, 0);
	copy_node(dev, dev + 64);
	copy_node(dev, dev + 65536 - 32);
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(launch(), CUDA_ERROR_INVALID_VALUE); // from the beginning again
	assert_int_equal(fake.copies, 2);
	destroy();
}

static void refused(const char *what)
{
	if (!create(NULL))
		fail_msg("accepted: %s", what);
}

static void hostile_headers(void **state)
{
	struct graph_header h;

	(void)state;
	d.n = 0;
	put("GRPH", 4);
	refused("a description that ends in its header");
	begin(0, 0);
	d.bytes[0] ^= 1;
	refused("another magic number");
	begin(VGPU_MAX_GRAPH_NODES + 1, 0);
	refused("too many nodes");
	begin(1, UINT32_MAX);
	refused("more edges than bytes");
	begin(1000, 0);
	refused("more nodes than bytes");
	h = (struct graph_header){ .magic = GRAPH_MAGIC, .reserved = 1 };
	d.n = 0;
	put(&h, sizeof(h));
	refused("a reserved field");
	begin(1, 0);
	copy_node(dev, dev);
	put("12345678", 8);
	refused("bytes behind the last node");
}

static void hostile_edges(void **state)
{
	static const uint32_t bad[][4] = { { 1, 0, 0, 2 }, { 0, 0, 1, 2 },	    { 0, 3, 1, 2 },
					   { 1, 2, 0, 1 }, { UINT32_MAX, 1, 0, 2 }, { 0, 1, 0, 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(3, 2);
		edge(bad[i][0], bad[i][1]);
		edge(bad[i][2], bad[i][3]);
		for (int k = 0; k < 3; k++)
			copy_node(dev, dev + 64);
		refused("edges that lead down, out, to themselves, come unsorted or too often");
	}
}

static void hostile_ports(void **state)
{
	const struct graph_edge bad[] = { { .to = 1, .type = 2 },
					  { .to = 1, .from_port = 3 },
					  { .to = 1, .to_port = 255 },
					  { .to = 1, .reserved = { 0, 0, 0, 0, 1 } } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(2, 1);
		put(&bad[i], sizeof(bad[i]));
		copy_node(dev, dev + 64);
		copy_node(dev, dev + 64);
		refused("an edge of no known kind");
	}
}

// ---- operations on words ----

struct words_body {
	struct record_words r;
	struct word_op op;
};

static struct words_body words(uint32_t operation)
{
	return (struct words_body){ .r.n = 1, .op = { .operation = operation, .address = dev, .value = 5 } };
}

static void words_node(uint32_t operation)
{
	struct words_body w = words(operation);

	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_WORDS }, &w, sizeof(w));
}

// The wait comes first in the description, but only what is behind it has to wait; and what a node does may
// become a wait later.
static void waits_keep_back_what_is_behind_them(void **state)
{
	struct words_body wait = words(CU_STREAM_MEM_OP_WAIT_VALUE_32);
	struct record_graph_set set = { .node = 2, .enabled = 1 };

	(void)state;
	fake.async = true;
	begin(4, 1);
	edge(0, 1);
	words_node(CU_STREAM_MEM_OP_WAIT_VALUE_32);
	copy_node(dev, dev + 64);
	words_node(CU_STREAM_MEM_OP_WRITE_VALUE_32);
	copy_node(dev, dev + 64);
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 2); // all are given to the device,
	fake_step(UINT32_MAX);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fake.words, 2);
	assert_int_equal(track_in_flight(&f->x.track), 0); // and what is in front of the wait is done
	assert_true(fake.n_queued > 0);
	atomic_store(&fake.word, 5);
	for (int i = 0; i < 4; i++) {
		fake_step(UINT32_MAX);
		assert_int_equal(fixture_run(f), 0);
	}
	assert_true(track_idle(&f->x.track));
	set.graph = GRAPH;
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), &wait, sizeof(wait), NULL, 0),
			 0);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_int_equal(fake.words, 4);
	fake_step(UINT32_MAX);
	assert_int_equal(fixture_run(f), 0);
	for (int i = 0; i < 4; i++) {
		fake_step(UINT32_MAX);
		assert_int_equal(fixture_run(f), 0);
	}
	destroy();
}

// More waits than may be in flight: the launch goes on where it stopped, and no node is run twice.
static void many_waits_go_on_where_they_stopped(void **state)
{
	enum { N = 300 };

	(void)state;
	fake.async = true;
	begin(N, 0);
	for (int i = 0; i < N; i++)
		words_node(CU_STREAM_MEM_OP_WAIT_VALUE_32);
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_SUCCESS);
	assert_true(fake.words < N && f->x.track.records <= TRACK_MAX_RECORDS);
	atomic_store(&fake.word, 5);
	for (int i = 0; i < 2 * N && !(fake.words == N && track_idle(&f->x.track)); i++) {
		fake_step(UINT32_MAX);
		assert_int_equal(fixture_run(f), 0);
	}
	assert_int_equal(fake.words, N);
	assert_true(track_idle(&f->x.track));
	destroy();
}

static void hostile_nodes(void **state)
{
	static const uint16_t opcodes[] = { 0,
					    OPCODE_WRITE,
					    OPCODE_MEM_FREE,
					    OPCODE_FENCE,
					    OPCODE_GRAPH_LAUNCH,
					    OPCODE_STREAM_WAIT_VALUE,
					    OPCODE_COUNT,
					    UINT16_MAX };
	struct graph_host_node host = { 3, 3 };
	uint32_t bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		begin(1, 0);
		node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = opcodes[i] }, "12345678", 8);
		refused("a record that may not stand in a graph");
	}
	begin(2, 0);
	copy_node(dev, dev);
	node((struct graph_node){ .kind = 77 }, "", 0);
	assert_int_equal(create(&bad), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(bad, 1); // which one is told
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_EMPTY, .flags = 2 }, "", 0);
	refused("an unknown flag");
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_EMPTY, .reserved = { 0, 1, 0 } }, "", 0);
	refused("a reserved field");
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_HOST }, &host, sizeof(host));
	refused("one slot for both ways");
	host.answer_slot = UINT32_MAX;
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_HOST }, &host, sizeof(host));
	refused("a slot outside of the page");
	begin(1, 0);
	put(&(struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY, .bytes = UINT32_MAX },
	    sizeof(struct graph_node));
	refused("a body longer than the description");
}

// A record that the ring would refuse, and handles that are nobody's: refused at once, and the channel lives
// on.
static void malformed_bodies(void **state)
{
	struct record_copy c = {
		.dst = dev, .src = dev, .width = 1, .height = 1, .depth = 1, .dst_space = 9
	};
	struct record_launch l = { .function = handle_make(HANDLE_FUNCTION, 1, 3) };
	uint32_t bad = 0;

	(void)state;
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY }, "12345678", 8);
	refused("a record that is too short");
	begin(2, 0);
	copy_node(dev, dev + 64);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY }, &c, sizeof(c));
	assert_int_equal(create(&bad), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(bad, 1);
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_LAUNCH }, &l, sizeof(l));
	assert_int_equal(create(NULL), CUDA_ERROR_INVALID_HANDLE);
}

// ---- on a backend that makes graphs of its own, and on one that has none ----

static unsigned captures, toggles;
static int toggle_result;
static int g_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n,
		   struct backend_stream **ret)
{
	(void)b;
	(void)conditions;
	(void)n;
	captures++;
	*ret = NULL;
	return 0;
}
static int g_place(struct backend *b, const struct backend_edge *x, uint32_t n)
{
	(void)b;
	(void)x;
	(void)n;
	return 0;
}
static int g_placed(struct backend *b)
{
	(void)b;
	return 0;
}
static int g_end(struct backend *b, struct backend_graph **g, uint32_t flags)
{
	(void)b;
	(void)flags;
	if (g)
		*g = (void *)8;
	return 0;
}
static int g_enable(struct backend *b, struct backend_graph *g, uint32_t node, bool enabled)
{
	(void)b;
	(void)g;
	(void)node;
	(void)enabled;
	toggles++;
	return toggle_result;
}
static unsigned native_launches;
static int g_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	(void)b;
	(void)g;
	(void)s;
	native_launches++;
	return 0;
}
static void g_free(struct backend *b, struct backend_graph *g)
{
	(void)b;
	(void)g;
}
static int setup_native(void **state)
{
	struct backend_ops *o = (struct backend_ops *)fake_backend();
	(void)state;
	o->capabilities |= BACKEND_CAP_GRAPHS;
	o->graph_begin = g_begin;
	o->graph_place = g_place;
	o->graph_placed = g_placed;
	o->graph_end = g_end;
	o->graph_enable = g_enable;
	captures = toggles = 0;
	toggle_result = 0;
	o->graph_launch = g_launch;
	o->graph_upload = g_launch;
	o->graph_free = g_free;
	native_launches = 0;
	f = fixture_new(o);
	if (fixture_activate(f))
		return -1;
	dev = fixture_alloc(f, 65536);
	generation = 0;
	return 0;
}
static void freed_memory_is_noticed(void **state)
{
	struct record_mem_free m = { .address = dev };
	(void)state;
	begin(1, 0);
	copy_node(dev, dev + 64);
	assert_int_equal(create(NULL), 0);
	assert_int_equal(launch(), 0);
	PUSH(f, OPCODE_MEM_FREE, &m);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
	assert_false(memory_is_base(&f->x.memory, dev));
	assert_int_not_equal(launch(), 0);
}
static void dead_events_are_noticed(void **state)
{
	uint64_t ev = handle_make(HANDLE_EVENT, 1, 0);
	struct record_event_create c = { .event = ev };
	struct record_event_destroy de = { .event = ev };
	struct record_event_record r = { .event = ev };
	(void)state;
	PUSH(f, OPCODE_EVENT_CREATE, &c);
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_EVENT_RECORD }, &r, sizeof(r));
	assert_int_equal(create(NULL), 0);
	assert_int_equal(launch(), 0);
	PUSH(f, OPCODE_EVENT_DESTROY, &de);
	assert_int_equal(fixture_run(f), 0);
	assert_int_not_equal(launch(), 0);
}
static void unloaded_modules_are_noticed(void **state)
{
	uint64_t mod = handle_make(HANDLE_MODULE, 1, 0), fn = handle_make(HANDLE_FUNCTION, 1, 0);
	struct record_module_unload u = { .module = mod };
	struct record_launch k = { .function = fn,
				   .grid_x = 1,
				   .grid_y = 1,
				   .grid_z = 1,
				   .block_x = 1,
				   .block_y = 1,
				   .block_z = 1 };
	(void)state;
	assert_int_equal(fixture_function(f, mod, fn), 0);
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_LAUNCH }, &k, sizeof(k));
	assert_int_equal(create(NULL), 0);
	assert_int_equal(launch(), 0);
	PUSH(f, OPCODE_MODULE_UNLOAD, &u);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
	assert_null(handle_get(&f->x, HANDLE_FUNCTION, fn));
	assert_int_not_equal(launch(), 0);
}
static void bytes_are_given_back(void **state)
{
	static struct {
		struct record_words r;
		struct word_op ops[200];
	} big = { .r.n = 200 };
	struct words_body small = words(CU_STREAM_MEM_OP_WRITE_VALUE_32);
	struct record_graph_set s = { .graph = 0, .node = 0, .enabled = 1 };
	uint64_t first;
	(void)state;
	begin(1, 0);
	words_node(CU_STREAM_MEM_OP_WRITE_VALUE_32);
	assert_int_equal(create(NULL), 0);
	s.graph = GRAPH;
	first = f->x.graph_bytes;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &s, sizeof(s), &big, sizeof(big), NULL, 0),
				 0);
		assert_int_equal(
		    fixture_call(f, OPCODE_GRAPH_SET, &s, sizeof(s), &small, sizeof(small), NULL, 0), 0);
		assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &s, sizeof(s), &big, 1, NULL, 0),
				 CUDA_ERROR_INVALID_VALUE); // no record at all
	}
	assert_int_equal(f->x.graph_bytes, first);
}
static void a_replay_keeps_to_the_budget(void **state)
{
	(void)state;
	fake.async = true;
	begin(400, 0);
	for (int i = 0; i < 400; i++)
		copy_node(dev, dev + 64);
	assert_int_equal(create(NULL), 0);
	fixture_open_gate(f, clock_now_ns() + 5000000000ull);
	atomic_store(&f->x.turn->inflight_budget_ns, 1);
	launch();
	assert_true(fake.copies < 10);
}
static void event_waits_carry_host_waits(void **state)
{
	uint64_t ev = handle_make(HANDLE_EVENT, 1, 0), s1 = handle_make(HANDLE_STREAM, 1, 0),
		 s2 = handle_make(HANDLE_STREAM, 1, 1);
	struct record_event_create c = { .event = ev };
	struct record_stream_create a = { .stream = s1, .flags = 1 }, b = { .stream = s2, .flags = 1 };
	struct record_stream_wait_value wv = { .stream = s1, .value = 1, .slot = 7 };
	struct record_event_record r = { .stream = s1, .event = ev };
	struct record_stream_wait_event w = { .event = ev };
	struct record_graph_launch gl = { .stream = s2, .run = 1 };
	uint32_t plain;
	(void)state;
	fake.async = true;
	PUSH(f, OPCODE_EVENT_CREATE, &c);
	PUSH(f, OPCODE_STREAM_CREATE, &a);
	PUSH(f, OPCODE_STREAM_CREATE, &b);
	PUSH(f, OPCODE_STREAM_WAIT_VALUE, &wv);
	PUSH(f, OPCODE_EVENT_RECORD, &r);
	fixture_run(f);
	plain = track_in_flight(&f->x.track);
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_STREAM_WAIT_EVENT }, &w,
	     sizeof(w));
	assert_int_equal(create(NULL), 0);
	gl.graph = GRAPH;
	PUSH(f, OPCODE_GRAPH_LAUNCH, &gl);
	fixture_run(f);
	assert_int_equal(track_in_flight(&f->x.track), plain);
}

// Where the backend can switch a node, nothing is captured anew; where it cannot, the next launch does.
static void toggled_nodes_are_not_captured_anew(void **state)
{
	struct record_graph_set set = { .node = 0, .enabled = 0 };

	(void)state;
	begin(1, 0);
	copy_node(dev, dev + 64);
	assert_int_equal(create(NULL), 0);
	set.graph = GRAPH;
	assert_int_equal(captures, 1);
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), NULL, 0, NULL, 0), 0);
	assert_int_equal(launch(), 0);
	assert_int_equal(toggles, 1);
	assert_int_equal(captures, 1);
	toggle_result = CUDA_ERROR_INVALID_VALUE;
	set.enabled = 1;
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &set, sizeof(set), NULL, 0, NULL, 0), 0);
	assert_int_equal(launch(), 0);
	assert_int_equal(captures, 2);
	assert_int_equal(native_launches, 2);
}

static int end_result;
static int g_end2(struct backend *b, struct backend_graph **g, uint32_t flags)
{
	(void)b;
	(void)flags;
	if (end_result)
		return end_result;
	if (g)
		*g = (void *)8;
	return 0;
}
static void what_only_a_replay_can_do(void **state)
{
	struct record_graph_set s = { .node = 0, .enabled = 1 };
	struct record_copy c = { .dst = dev, .src = dev + 64, .width = 8, .height = 1, .depth = 1 };
	(void)state;
	((struct backend_ops *)f->x.ops)->graph_end = g_end2;
	begin(1, 0);
	copy_node(dev, dev + 64);
	assert_int_equal(create(NULL), 0);
	s.graph = GRAPH;
	assert_int_equal(launch(), 0);
	end_result = CUDA_ERROR_NOT_SUPPORTED;
	assert_int_equal(fixture_call(f, OPCODE_GRAPH_SET, &s, sizeof(s), &c, sizeof(c), NULL, 0), 0);
	assert_int_equal(launch(), 0);
	assert_int_equal(launch(), 0);
	end_result = 0;
}
static void host_nodes_take_two_places(void **state)
{
	struct record_stream_wait_value wv = { .value = 1, .slot = 500 };
	(void)state;
	fake.async = true;
	PUSH(f, OPCODE_STREAM_WAIT_VALUE, &wv);
	begin(256, 0);
	for (uint32_t i = 0; i < 256; i++) {
		struct graph_host_node h = { 2 * (i % 200), 2 * (i % 200) + 1 };
		node((struct graph_node){ .kind = GRAPH_NODE_HOST }, &h, sizeof(h));
	}
	assert_int_equal(create(NULL), 0);
	launch();
	assert_true(f->x.track.records <= TRACK_MAX_RECORDS);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(launches_replay_the_records, setup, teardown),
		cmocka_unit_test_setup_teardown(copies_with_arrays, setup, teardown),
		cmocka_unit_test_setup_teardown(long_graphs_wait_for_room, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_addresses_are_the_launch_s_error, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_edges, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_keep_back_what_is_behind_them, setup, teardown),
		cmocka_unit_test_setup_teardown(many_waits_go_on_where_they_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_nodes, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_memory_is_noticed, setup_native, teardown),
		cmocka_unit_test_setup_teardown(dead_events_are_noticed, setup_native, teardown),
		cmocka_unit_test_setup_teardown(unloaded_modules_are_noticed, setup_native, teardown),
		cmocka_unit_test_setup_teardown(event_waits_carry_host_waits, setup_native, teardown),
		cmocka_unit_test_setup_teardown(what_only_a_replay_can_do, setup_native, teardown),
		cmocka_unit_test_setup_teardown(toggled_nodes_are_not_captured_anew, setup_native, teardown),
		cmocka_unit_test_setup_teardown(bytes_are_given_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_replay_keeps_to_the_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(host_nodes_take_two_places, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
