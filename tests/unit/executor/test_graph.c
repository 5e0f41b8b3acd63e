// SPDX-License-Identifier: Apache-2.0
// executor/graph.c: descriptions that a guest may send, right ones and hostile ones, and how a launch replays
// them on a backend without graphs of its own.
#include <string.h>

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
	static const uint32_t bad[][4] = {
		{ 1, 0, 0, 2 }, { 0, 0, 1, 2 }, { 0, 3, 1, 2 }, { 1, 2, 0, 1 }, { UINT32_MAX, 1, 0, 2 }
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(3, 2);
		edge(bad[i][0], bad[i][1]);
		edge(bad[i][2], bad[i][3]);
		for (int k = 0; k < 3; k++)
			copy_node(dev, dev + 64);
		refused("edges that lead down, out, to themselves or come unsorted");
	}
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

// A record that the ring would refuse is refused at the launch, and the channel lives on.
static void malformed_bodies(void **state)
{
	(void)state;
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_RECORD, .opcode = OPCODE_COPY }, "12345678", 8);
	assert_int_equal(create(NULL), CUDA_SUCCESS);
	assert_int_equal(launch(), CUDA_ERROR_INVALID_VALUE);
	destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(launches_replay_the_records, setup, teardown),
		cmocka_unit_test_setup_teardown(long_graphs_wait_for_room, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_addresses_are_the_launch_s_error, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_edges, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_nodes, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_bodies, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
