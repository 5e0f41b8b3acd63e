// SPDX-License-Identifier: Apache-2.0
// executor/graph_branch.c: conditional nodes as a hostile guest may describe them, over the null backend, and
// how long conditions live.
#include <string.h>

#include "executor/graph.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

const struct backend_ops *vgpu_backend(void);

#define SET   handle_make(HANDLE_CONDITIONS, 1, 0)
#define OTHER handle_make(HANDLE_CONDITIONS, 1, 1)

static struct fixture *f;
static uint32_t generation;
static struct {
	uint8_t bytes[65536];
	uint32_t n;
} d;

static int32_t make_set(uint64_t set)
{
	struct record_conditions_create r = { .conditions = set };

	return fixture_call(f, OPCODE_CONDITIONS_CREATE, &r, sizeof(r), NULL, 0, NULL, 0);
}

static int32_t add_condition(uint64_t set)
{
	struct record_condition_add r = { .conditions = set };
	struct reply_condition_add reply;

	return fixture_call(f, OPCODE_CONDITION_ADD, &r, sizeof(r), NULL, 0, &reply, sizeof(reply));
}

static int setup(void **state)
{
	(void)state;
	f = fixture_new(vgpu_backend());
	generation = 0;
	return fixture_activate(f) || make_set(SET) || make_set(OTHER) || add_condition(SET) ||
	       add_condition(OTHER);
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

static void empty(void)
{
	node((struct graph_node){ .kind = GRAPH_NODE_EMPTY }, "", 0);
}

static void branch(struct graph_condition_node c, const uint32_t *counts, uint32_t n_counts)
{
	uint8_t body[256];

	memcpy(body, &c, sizeof(c));
	memcpy(body + sizeof(c), counts, n_counts * sizeof(*counts));
	node((struct graph_node){ .kind = GRAPH_NODE_CONDITION }, body,
	     (uint32_t)(sizeof(c) + n_counts * sizeof(*counts)));
}

static void branch_if(uint64_t set, uint32_t yes, uint32_t no)
{
	branch(
	    (struct graph_condition_node){ .conditions = set, .type = CU_GRAPH_COND_TYPE_IF, .n_bodies = 2 },
	    (uint32_t[]){ yes, no }, 2);
}

static int32_t create(void)
{
	const uint64_t blob = handle_make(HANDLE_BLOB, ++generation, 0);
	struct record_blob_create b = { .blob = blob, .size = d.n };
	struct record_graph_create g = { .graph = handle_make(HANDLE_GRAPH, generation, generation),
					 .blob = blob };
	struct reply_graph_create reply = { 0 };

	assert_int_equal(fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0), CUDA_SUCCESS);
	memcpy(((struct blob *)handle_get(&f->x, HANDLE_BLOB, blob))->data, d.bytes, d.n);
	return fixture_call(f, OPCODE_GRAPH_CREATE, &g, sizeof(g), NULL, 0, &reply, sizeof(reply));
}

static void destroy_graph(void)
{
	struct record_graph_destroy r = { .graph = handle_make(HANDLE_GRAPH, generation, generation) };

	PUSH(f, OPCODE_GRAPH_DESTROY, &r);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
}

static void destroy_set(uint64_t set)
{
	struct record_conditions_destroy r = { .conditions = set };

	PUSH(f, OPCODE_CONDITIONS_DESTROY, &r);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
}

static void bodies_lie_behind_their_node(void **state)
{
	(void)state;
	begin(7, 3);
	edge(0, 1);
	edge(2, 3);
	edge(1, 6);
	empty();
	branch_if(SET, 2, 2);
	empty();
	empty();
	branch_if(SET, 0, 1);
	empty();
	empty();
	assert_int_equal(create(), CUDA_SUCCESS);
	destroy_graph();
}

static void bodies_that_are_not_there(void **state)
{
	(void)state;
	begin(2, 0);
	branch_if(SET, 1, 1); // one node too many
	empty();
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	begin(2, 0);
	branch_if(SET, UINT32_MAX, 2); // a sum that wraps around
	empty();
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	begin(3, 0);
	branch_if(SET, 1, 0);
	branch_if(SET, 2, 0); // out of the body around it
	empty();
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(f->x.graph_bytes, 0);
}

static void no_edge_leads_into_a_body_or_out_of_one(void **state)
{
	static const uint32_t edges[][2] = { { 0, 2 }, { 1, 2 }, { 2, 4 }, { 2, 3 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		begin(5, 1);
		edge(edges[i][0], edges[i][1]);
		empty();
		branch_if(SET, 1, 1);
		empty();
		empty();
		empty();
		assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	}
}

static void conditions_of_others_are_refused(void **state)
{
	struct graph_condition_node c = { .conditions = SET, .condition = 1, .n_bodies = 1 };

	(void)state;
	begin(2, 0); // of two sets at once
	branch_if(SET, 0, 0);
	branch_if(OTHER, 0, 0);
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	begin(1, 0); // of none
	branch_if(handle_make(HANDLE_CONDITIONS, 2, 0), 0, 0);
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	begin(1, 0); // one that was not made
	branch(c, (uint32_t[]){ 0 }, 1);
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	begin(1, 0); // another kind of object
	branch_if(handle_make(HANDLE_GRAPH, 1, 0), 0, 0);
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
}

static void shapes(void **state)
{
	static const struct {
		uint32_t type, n_bodies, n_counts, reserved;
		int32_t want;
	} cases[] = {
		{ CU_GRAPH_COND_TYPE_IF, 1, 1, 0, 0 },
		{ CU_GRAPH_COND_TYPE_IF, 3, 3, 0, CUDA_ERROR_INVALID_VALUE },
		{ CU_GRAPH_COND_TYPE_IF, 0, 0, 0, CUDA_ERROR_INVALID_VALUE },
		{ CU_GRAPH_COND_TYPE_WHILE, 1, 1, 0, 0 },
		{ CU_GRAPH_COND_TYPE_WHILE, 2, 2, 0, CUDA_ERROR_INVALID_VALUE },
		{ CU_GRAPH_COND_TYPE_SWITCH, 5, 5, 0, 0 },
		{ CU_GRAPH_COND_TYPE_SWITCH, 5, 4, 0, CUDA_ERROR_INVALID_VALUE },
		{ CU_GRAPH_COND_TYPE_SWITCH, VGPU_MAX_BODIES + 1, 5, 0, CUDA_ERROR_INVALID_VALUE },
		{ 3, 1, 1, 0, CUDA_ERROR_INVALID_VALUE },
		{ CU_GRAPH_COND_TYPE_IF, 1, 1, 7, CUDA_ERROR_INVALID_VALUE },
	};
	static const uint32_t counts[8];

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(1, 0);
		branch((struct graph_condition_node){ .conditions = SET,
						      .type = cases[i].type,
						      .n_bodies = cases[i].n_bodies,
						      .reserved = cases[i].reserved },
		       counts, cases[i].n_counts);
		assert_int_equal(create(), cases[i].want);
		if (!cases[i].want)
			destroy_graph();
	}
	begin(1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_CONDITION }, counts, 8);
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
}

static void nest(uint32_t depth)
{
	begin(depth, 0);
	for (uint32_t i = 0; i < depth; i++)
		branch_if(SET, depth - 1 - i, 0);
}

static void depth_is_bounded(void **state)
{
	(void)state;
	nest(VGPU_MAX_GRAPH_DEPTH);
	assert_int_equal(create(), CUDA_SUCCESS);
	destroy_graph();
	nest(VGPU_MAX_GRAPH_DEPTH + 1);
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
}

static void bodies_take_some_nodes_only(void **state)
{
	struct graph_host_node host = { 1, 2 };

	(void)state;
	begin(2, 0);
	branch_if(SET, 1, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_HOST }, &host, sizeof(host));
	assert_int_equal(create(), CUDA_ERROR_INVALID_VALUE);
	begin(2, 0); // beside one: only a replay could run it
	branch_if(SET, 0, 0);
	node((struct graph_node){ .kind = GRAPH_NODE_HOST }, &host, sizeof(host));
	assert_int_equal(create(), CUDA_ERROR_NOT_SUPPORTED);
}

static void one_graph_at_a_time(void **state)
{
	struct record_graph_launch launch = { .run = 1 };

	(void)state;
	begin(1, 0);
	branch_if(SET, 0, 0);
	assert_int_equal(create(), CUDA_SUCCESS);
	assert_int_equal(create(), CUDA_ERROR_NOT_SUPPORTED);
	generation--;	  // the first one's
	destroy_set(SET); // the graph keeps what it has
	assert_int_equal(add_condition(SET), CUDA_ERROR_INVALID_HANDLE);
	launch.graph = handle_make(HANDLE_GRAPH, generation, generation);
	PUSH(f, OPCODE_GRAPH_LAUNCH, &launch);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
	destroy_graph();
	assert_int_equal(f->x.graph_bytes, 0);
}

static void conditions_are_bounded(void **state)
{
	(void)state;
	for (unsigned i = 1; i < VGPU_MAX_CONDITIONS; i++)
		assert_int_equal(add_condition(SET), CUDA_SUCCESS);
	assert_int_equal(add_condition(SET), CUDA_ERROR_OUT_OF_MEMORY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bodies_lie_behind_their_node, setup, teardown),
		cmocka_unit_test_setup_teardown(bodies_that_are_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(no_edge_leads_into_a_body_or_out_of_one, setup, teardown),
		cmocka_unit_test_setup_teardown(conditions_of_others_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(shapes, setup, teardown),
		cmocka_unit_test_setup_teardown(depth_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(bodies_take_some_nodes_only, setup, teardown),
		cmocka_unit_test_setup_teardown(one_graph_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(conditions_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
