// SPDX-License-Identifier: Apache-2.0
// The generated dispatch: every record with wrong lengths, reserved fields, flags and enums must end the
// channel, and every record without a context must be answered, not believed.
#include <errno.h>
#include <string.h>

#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

static struct fixture *f;
static uint8_t payload[65536];

static int setup(void **state)
{
	(void)state;
	memset(payload, 0, sizeof(payload));
	f = fixture_new(fake_backend());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static int dispatch(uint16_t opcode, uint32_t bytes, int32_t *ret_result)
{
	static uint8_t room[8192];
	struct dispatch_reply reply = { .payload = room, .room = sizeof(room) - 16 };
	const char *why = NULL;
	int r = dispatch_record(&f->x, opcode, payload, bytes, &reply, &why);

	if (r)
		assert_non_null(why);
	if (ret_result)
		*ret_result = reply.result;
	assert_true(reply.bytes <= reply.room);
	return r;
}

static void wrong_lengths(void **state)
{
	(void)state;
	for (uint16_t op = 1; op < OPCODE_COUNT; op++) {
		const struct call_info *c = &call_infos[op];

		if (c->bytes)
			assert_int_equal(dispatch(op, c->bytes - 1, NULL), -EPROTO);
		if (c->bytes)
			assert_int_equal(dispatch(op, 0, NULL), -EPROTO);
		if (!c->has_tail)
			assert_int_equal(dispatch(op, c->bytes + 1, NULL), -EPROTO);
		assert_int_equal(dispatch(op, sizeof(payload), NULL), -EPROTO);
	}
}

static void unknown_opcodes(void **state)
{
	(void)state;
	assert_int_equal(dispatch(0, 0, NULL), -EPROTO);
	assert_int_equal(dispatch(OPCODE_COUNT, 0, NULL), -EPROTO);
	assert_int_equal(dispatch(UINT16_MAX, 0, NULL), -EPROTO);
}

// A field with one bit too many, at its offset.
static const struct {
	uint16_t opcode;
	uint16_t offset;
	uint32_t value;
} bad_fields[] = {
#define BAD(OP, record, field, value) { OPCODE_##OP, offsetof(struct record_##record, field), value }
	BAD(CONTEXT_ACTIVATE, context_activate, reserved0, 1),
	BAD(CONTEXT_ACTIVATE, context_activate, flags, 0x200),
	BAD(LIMIT_SET, limit_set, limit, 16),
	BAD(LIMIT_SET, limit_set, reserved0, 0x80000000),
	BAD(FENCE, fence, slot, VGPU_FENCE_SLOTS),
	BAD(FENCE, fence, slot, UINT32_MAX),
	BAD(FENCE, fence, reserved0, 1),
	BAD(EVENT_WATCH, event_watch, slot, VGPU_FENCE_SLOTS),
	BAD(EVENT_WATCH, event_watch, reserved0, 1),
	BAD(COPY, copy, dst_space, 2),
	BAD(COPY, copy, src_space, UINT32_MAX),
	BAD(SET, set, dst_space, 2),
	BAD(SET, set, element, 5),
	BAD(SET, set, element, 0),
	BAD(SET, set, reserved0, 1),
	BAD(STREAM_CREATE, stream_create, flags, 2),
	BAD(STREAM_WAIT_EVENT, stream_wait_event, flags, 2),
	BAD(STREAM_WAIT_EVENT, stream_wait_event, reserved0, 1),
	BAD(STREAM_WAIT_VALUE, stream_wait_value, slot, VGPU_FENCE_SLOTS),
	BAD(STREAM_WAIT_VALUE, stream_wait_value, reserved0, 1),
	BAD(STREAM_SET, stream_set, attribute, 0),
	BAD(STREAM_SET, stream_set, attribute, 17),
	BAD(STREAM_SET, stream_set, reserved0, 1),
	BAD(EVENT_CREATE, event_create, flags, 8),
	BAD(EVENT_CREATE, event_create, reserved0, 1),
	BAD(EVENT_RECORD, event_record, flags, 2),
	BAD(EVENT_RECORD, event_record, reserved0, 1),
	BAD(MODULE_LOAD, module_load, options, 0x400),
	BAD(MODULE_LOAD, module_load, log_info, 4097),
	BAD(MODULE_LOAD, module_load, log_error, UINT32_MAX),
	BAD(FUNCTION_SET, function_set, attribute, 101),
	BAD(GRAPH_CREATE, graph_create, flags, 4),
	BAD(GRAPH_CREATE, graph_create, reserved0, 1),
	BAD(OCCUPANCY, occupancy, block_threads, 1025),
	BAD(OCCUPANCY, occupancy, block_threads, 0),
	BAD(OCCUPANCY, occupancy, flags, 2),
	BAD(OCCUPANCY_CLUSTERS, occupancy_clusters, what, 2),
	BAD(OCCUPANCY_CLUSTERS, occupancy_clusters, n_attributes, 17),
	BAD(OCCUPANCY_CLUSTERS, occupancy_clusters, reserved0, 1),
	BAD(VM_IMPORT, vm_import, others, 2),
	BAD(VM_IMPORT, vm_import, reserved0, 1),
	BAD(TENSOR_MAP, tensor_map, kind, 3),
	BAD(TENSOR_MAP, tensor_map, rank, 6),
	BAD(TENSOR_MAP, tensor_map, reserved0, 1),
};

// Fields whose rule does not allow 0.
static void make_valid(uint16_t opcode)
{
	memset(payload, 0, sizeof(payload));
	if (opcode == OPCODE_SET)
		((struct record_set *)payload)->element = 1;
	if (opcode == OPCODE_WORDS)
		((struct record_words *)payload)->n = 1;
	if (opcode == OPCODE_STREAM_SET)
		((struct record_stream_set *)payload)->attribute = 1;
	if (opcode == OPCODE_OCCUPANCY)
		((struct record_occupancy *)payload)->block_threads = 32;
	if (opcode == OPCODE_MIPMAP_CREATE)
		((struct record_mipmap_create *)payload)->levels = 1;
	if (opcode == OPCODE_TEXTURE_LINEAR_MAX)
		*(struct record_texture_linear_max *)payload =
		    (struct record_texture_linear_max){ CU_AD_FORMAT_FLOAT, 1 };
}

static void wrong_values(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(bad_fields) / sizeof(bad_fields[0]); i++) {
		uint16_t op = bad_fields[i].opcode;

		make_valid(op);
		assert_int_equal(dispatch(op, call_infos[op].bytes, NULL), 0);
		memcpy(payload + bad_fields[i].offset, &bad_fields[i].value, sizeof(uint32_t));
		assert_int_equal(dispatch(op, call_infos[op].bytes, NULL), -EPROTO);
	}
}

static void tails(void **state)
{
	struct record_words *words = (void *)payload;
	struct record_write *w = (void *)payload;
	struct record_launch *l = (void *)payload;

	(void)state;
	w->size = 16;
	assert_int_equal(dispatch(OPCODE_WRITE, sizeof(*w) + 15, NULL), -EPROTO);
	assert_int_equal(dispatch(OPCODE_WRITE, sizeof(*w) + 17, NULL), -EPROTO);
	assert_int_equal(dispatch(OPCODE_WRITE, sizeof(*w) + 16, NULL), 0);
	memset(payload, 0, sizeof(struct record_words) + 2 * sizeof(struct word_op));
	words->n = 1;
	assert_int_equal(dispatch(OPCODE_WORDS, sizeof(*words), NULL), -EPROTO);
	assert_int_equal(dispatch(OPCODE_WORDS, sizeof(*words) + 8193, NULL), -EPROTO);
	words->n = 257;
	assert_int_equal(dispatch(OPCODE_WORDS, sizeof(*words) + 8192, NULL), -EPROTO);
	memset(payload, 0, sizeof(*w));
	w->size = 16385;
	assert_int_equal(dispatch(OPCODE_WRITE, sizeof(*w) + 16385, NULL), -EPROTO);
	w->size = 0;
	assert_int_equal(dispatch(OPCODE_WRITE, sizeof(*w), NULL), -EPROTO);
	assert_int_equal(dispatch(OPCODE_FUNCTION_GET, sizeof(struct record_function_get), NULL), -EPROTO);
	assert_int_equal(dispatch(OPCODE_FUNCTION_GET, sizeof(struct record_function_get) + 4097, NULL),
			 -EPROTO);
	memset(payload, 0, sizeof(*l));
	l->n_attributes = 17;
	assert_int_equal(dispatch(OPCODE_LAUNCH, sizeof(*l), NULL), -EPROTO);
	l->n_attributes = 0;
	l->param_bytes = 32765;
	assert_int_equal(dispatch(OPCODE_LAUNCH, sizeof(*l), NULL), -EPROTO);
}

// Nothing exists yet: handles are unknown, and what needs a context says so.
static void without_a_context(void **state)
{
	(void)state;
	for (uint16_t op = 1; op < OPCODE_COUNT; op++) {
		bool answers = op == OPCODE_PING || op == OPCODE_DEVICE_INFO || op == OPCODE_CONTEXT_RESET ||
			       op == OPCODE_CONTEXT_ACTIVATE || op == OPCODE_PRINT_TAKE ||
			       op == OPCODE_TEXTURE_LINEAR_MAX;
		uint32_t tail = call_infos[op].has_tail && op != OPCODE_LAUNCH ? 1 : 0;
		int32_t result;

		if (op == OPCODE_CONTEXT_ACTIVATE)
			continue;
		if (op == OPCODE_WORDS)
			tail = sizeof(struct word_op);
		make_valid(op);
		if (op == OPCODE_WRITE)
			((struct record_write *)payload)->size = 1;
		assert_int_equal(dispatch(op, call_infos[op].bytes + tail, &result), 0);
		if (answers)
			assert_int_equal(result, CUDA_SUCCESS);
		else
			assert_true(result == CUDA_ERROR_INVALID_CONTEXT ||
				    result == CUDA_ERROR_INVALID_HANDLE ||
				    (op == OPCODE_BLOB_CREATE && result == CUDA_ERROR_INVALID_HANDLE));
	}
}

// ---- objects by way of the ring ----

static void make_module(uint64_t module, uint64_t blob)
{
	struct record_blob_create b = { .blob = blob, .size = 100 };
	struct record_module_load m = { .module = module, .blob = blob };

	assert_int_equal(fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(fixture_call(f, OPCODE_MODULE_LOAD, &m, sizeof(m), NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_null(handle_get(&f->x, HANDLE_BLOB, blob)); // used up
}

static int32_t get_function(uint64_t module, uint64_t function, const char *name, size_t bytes,
			    struct reply_function_get *ret)
{
	struct record_function_get r = { .module = module, .function = function };

	return fixture_call(f, OPCODE_FUNCTION_GET, &r, sizeof(r), name, (uint32_t)bytes, ret, sizeof(*ret));
}

static uint32_t launch(struct record_launch r, const void *tail, uint32_t bytes)
{
	fixture_push(f, OPCODE_LAUNCH, REPLY_NONE, &r, sizeof(r), tail, bytes);
	assert_int_equal(fixture_run(f), 0);
	return fixture_deferred(f);
}

static void modules_functions_launches(void **state)
{
	const uint64_t module = handle_make(HANDLE_MODULE, 1, 0), fn = handle_make(HANDLE_FUNCTION, 1, 0);
	struct record_launch l = { .function = fn,
				   .grid_x = 1,
				   .grid_y = 1,
				   .grid_z = 1,
				   .block_x = 32,
				   .block_y = 1,
				   .block_z = 1,
				   .param_bytes = 12 };
	struct record_module_unload u = { .module = module };
	uint32_t attribute[18] = { CU_LAUNCH_ATTRIBUTE_COOPERATIVE };
	struct reply_function_get reply;
	uint8_t tail[72 + 13] = { 0 };

	(void)state;
	assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
	make_module(module, handle_make(HANDLE_BLOB, 1, 0));
	assert_int_equal(get_function(module, fn, "axpy__p12", 9, &reply), CUDA_SUCCESS);
	assert_int_equal(reply.n_params, 1);
	assert_int_equal(reply.param_bytes, 12);
	assert_int_equal(get_function(module, handle_make(HANDLE_FUNCTION, 1, 1), "a\0b", 3, &reply),
			 CUDA_ERROR_NOT_FOUND);
	assert_int_equal(launch(l, tail, 12), CUDA_SUCCESS);
	assert_int_equal(launch(l, tail, 13), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(launch(l, tail, 0), CUDA_ERROR_INVALID_VALUE);
	l.grid_y = 0;
	assert_int_equal(launch(l, tail, 12), CUDA_ERROR_INVALID_VALUE);
	l.grid_y = 1;
	l.block_z = 2048;
	assert_int_equal(launch(l, tail, 12), CUDA_ERROR_INVALID_VALUE);
	l.block_z = 1;
	l.n_attributes = 1;
	memcpy(tail, attribute, sizeof(attribute));
	assert_int_equal(launch(l, tail, 84), CUDA_SUCCESS);
	attribute[0] = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT;
	memcpy(tail, attribute, sizeof(attribute));
	assert_int_equal(launch(l, tail, 84), CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(fake.launches, 2);
	PUSH(f, OPCODE_MODULE_UNLOAD, &u);
	l.n_attributes = 0;
	assert_int_equal(launch(l, tail, 12), CUDA_ERROR_INVALID_HANDLE); // its functions went with it
}

static void clusters_are_asked_of_the_backend(void **state)
{
	const uint64_t module = handle_make(HANDLE_MODULE, 1, 0), fn = handle_make(HANDLE_FUNCTION, 1, 0);
	struct record_occupancy_clusters r = {
		.function = fn, .grid_x = 4, .block_y = 128, .dynamic_shared = 1024, .n_attributes = 1
	};
	uint32_t attribute[18] = { CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, 0, 2, 1, 1 };
	struct reply_function_get function;
	struct reply_occupancy_clusters reply;

	(void)state;
	assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
	make_module(module, handle_make(HANDLE_BLOB, 1, 0));
	assert_int_equal(get_function(module, fn, "f__p4", 5, &function), CUDA_SUCCESS);
#define ASK(bytes) \
	fixture_call(f, OPCODE_OCCUPANCY_CLUSTERS, &r, sizeof(r), attribute, bytes, &reply, sizeof(reply))
	assert_int_equal(ASK(72), CUDA_SUCCESS);
	assert_int_equal(reply.value, 66);
	assert_int_equal(fake.clusters_what, CLUSTER_QUESTION_ACTIVE);
	assert_int_equal(fake.clusters.grid[0], 4);
	assert_int_equal(fake.clusters.block[1], 128);
	assert_int_equal(fake.clusters.dynamic_shared, 1024);
	assert_int_equal(fake.clusters.n_attributes, 1);
	assert_memory_equal(fake.clusters_attribute, attribute, 72);
	r.what = CLUSTER_QUESTION_POTENTIAL;
	assert_int_equal(ASK(72), CUDA_SUCCESS);
	assert_int_equal(reply.value, 8);
	assert_int_equal(fake.clusters_what, CLUSTER_QUESTION_POTENTIAL);
	assert_int_equal(ASK(71), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(ASK(0), CUDA_ERROR_INVALID_VALUE);
	attribute[0] = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT; // a handle of the guest's process
	assert_int_equal(ASK(72), CUDA_ERROR_NOT_SUPPORTED);
	r.function = handle_make(HANDLE_FUNCTION, 1, 7);
	assert_int_equal(ASK(72), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fake.clusters_asked, 2);
#undef ASK
}

static void globals_are_memory_while_their_module_lives(void **state)
{
	const uint64_t module = handle_make(HANDLE_MODULE, 1, 0);
	struct record_global_get g = { .module = module };
	struct record_module_unload u = { .module = module };
	struct reply_global_get reply;

	(void)state;
	assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
	make_module(module, handle_make(HANDLE_BLOB, 1, 0));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
		    fixture_call(f, OPCODE_GLOBAL_GET, &g, sizeof(g), "lut", 3, &reply, sizeof(reply)), 0);
	assert_true(memory_contains(&f->x.memory, reply.address, reply.size, VM_ACCESS_READ_WRITE));
	PUSH(f, OPCODE_MODULE_UNLOAD, &u);
	assert_int_equal(fixture_run(f), 0);
	assert_false(memory_contains(&f->x.memory, reply.address, 1, VM_ACCESS_READ_WRITE));
}

static void memory_without_address_is_named(void **state)
{
	const uint64_t piece = handle_make(HANDLE_PHYSICAL, 1, 7);
	struct record_vm_reserve reserve = { .size = VGPU_MIB(8) };
	struct record_vm_create create = { .physical = piece, .size = VGPU_MIB(4) };
	struct record_vm_release release = { .physical = piece };
	struct record_vm_map map = { .physical = piece, .size = VGPU_MIB(4) };
	struct record_vm_access access = { .size = VGPU_MIB(4), .access = VM_ACCESS_READ_WRITE };
	struct record_set set = { .width = 16, .height = 1, .element = 1 };
	struct reply_vm_reserve at;

	(void)state;
	assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
	assert_int_equal(
	    fixture_call(f, OPCODE_VM_RESERVE, &reserve, sizeof(reserve), NULL, 0, &at, sizeof(at)), 0);
	map.address = access.address = set.dst = at.address;
#define CALL(opcode, record) fixture_call(f, opcode, &(record), sizeof(record), NULL, 0, NULL, 0)
	assert_int_equal(CALL(OPCODE_VM_MAP, map), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(CALL(OPCODE_VM_CREATE, create), CUDA_SUCCESS);
	assert_int_equal(CALL(OPCODE_VM_CREATE, create), CUDA_ERROR_INVALID_HANDLE); // the name is taken
	assert_int_equal(CALL(OPCODE_VM_MAP, map), CUDA_SUCCESS);
	PUSH(f, OPCODE_SET, &set); // no access yet
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(CALL(OPCODE_VM_ACCESS, access), CUDA_SUCCESS);
	PUSH(f, OPCODE_SET, &set);
	PUSH(f, OPCODE_VM_RELEASE, &release);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
	PUSH(f, OPCODE_VM_RELEASE, &release); // the name has ended
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_HANDLE);
	map.address += VGPU_MIB(4);
	assert_int_equal(CALL(OPCODE_VM_MAP, map), CUDA_ERROR_INVALID_HANDLE);
	access.access = VM_ACCESS_READ;
	assert_int_equal(CALL(OPCODE_VM_ACCESS, access), CUDA_SUCCESS);
	PUSH(f, OPCODE_SET, &set); // not any more
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.physical, VGPU_MIB(4));
	assert_int_equal(fixture_call(f, OPCODE_CONTEXT_RESET, NULL, 0, NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(fake.physical, 0);
#undef CALL
}

static void blobs_stay_inside(void **state)
{
	const uint64_t blob = handle_make(HANDLE_BLOB, 1, 0);
	struct record_blob_create b = { .blob = blob, .size = UINT64_MAX };
	struct record_blob_write w = { .blob = blob, .offset = 90, .length = 10 };
	const uint64_t arena = f->assign.geometry.arena_bytes;

	(void)state;
	assert_int_equal(fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0),
			 CUDA_ERROR_OUT_OF_MEMORY);
	b.size = 100;
	assert_int_equal(fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0), CUDA_SUCCESS);
	*(volatile uint8_t *)(uintptr_t)(VGPU_HOST_WINDOW_BASE + arena - 1) = 0x5a;
	w.arena_offset = arena - 10;
	PUSH(f, OPCODE_BLOB_WRITE, &w);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_SUCCESS);
	assert_int_equal(((struct blob *)handle_get(&f->x, HANDLE_BLOB, blob))->data[99], 0x5a);
	for (unsigned i = 0; i < 6; i++) {
		struct record_blob_write bad = w;

		switch (i) {
		case 0: bad.offset = 91; break;
		case 1: bad.arena_offset++; break;
		case 2: bad.length = 11; break;
		case 3: bad.length = UINT64_MAX; break;
		case 4: bad.offset = UINT64_MAX - 5; break;
		default: bad.arena_offset = UINT64_MAX - 5; break;
		}
		PUSH(f, OPCODE_BLOB_WRITE, &bad);
		assert_int_equal(fixture_run(f), 0);
		assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
	}
}

static void the_first_deferred_error_stays(void **state)
{
	struct record_stream_destroy s = { .stream = handle_make(HANDLE_STREAM, 1, 9) };
	struct record_mem_free m = { .address = 1 };

	(void)state;
	assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
	PUSH(f, OPCODE_STREAM_DESTROY, &s);
	PUSH(f, OPCODE_MEM_FREE, &m);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fixture_deferred(f), 0);
	assert_int_equal(atomic_load(&f->x.turn->faults), 2);
}

static void context_reset_frees_everything(void **state)
{
	const uint64_t stream = handle_make(HANDLE_STREAM, 1, 1), event = handle_make(HANDLE_EVENT, 1, 1);
	struct record_stream_create s = { .stream = stream };
	struct record_event_create e = { .event = event };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		s.stream = handle_make(HANDLE_STREAM, 1 + i, 1);
		e.event = handle_make(HANDLE_EVENT, 1 + i, 1);
		assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
		PUSH(f, OPCODE_STREAM_CREATE, &s);
		PUSH(f, OPCODE_EVENT_CREATE, &e);
		make_module(handle_make(HANDLE_MODULE, 1 + i, 0), handle_make(HANDLE_BLOB, 1 + i, 0));
		assert_int_not_equal(fixture_alloc(f, 1000), 0);
		assert_int_not_equal(fixture_alloc(f, VGPU_MIB(5)), 0);
		assert_int_equal(fixture_call(f, OPCODE_CONTEXT_RESET, NULL, 0, NULL, 0, NULL, 0),
				 CUDA_SUCCESS);
		assert_int_equal(fake.mapped, 0);
		assert_null(handle_get(&f->x, HANDLE_STREAM, s.stream));
		assert_null(handle_get(&f->x, HANDLE_EVENT, e.event));
		assert_int_equal(fixture_alloc(f, 1), 0); // no context
		assert_int_equal(fixture_deferred(f), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wrong_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_opcodes, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_values, setup, teardown),
		cmocka_unit_test_setup_teardown(tails, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_context, setup, teardown),
		cmocka_unit_test_setup_teardown(modules_functions_launches, setup, teardown),
		cmocka_unit_test_setup_teardown(clusters_are_asked_of_the_backend, setup, teardown),
		cmocka_unit_test_setup_teardown(globals_are_memory_while_their_module_lives, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_without_address_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(blobs_stay_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_deferred_error_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(context_reset_frees_everything, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
