// SPDX-License-Identifier: Apache-2.0
// executor/handles.c: live, stale, foreign and impossible names.
#include <string.h>

#include "common/limits.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/test.h"

static struct executor x;
static struct vgpu_tenant_page tenant;
static struct object a, b;

static int setup(void **state)
{
	(void)state;
	memset(&x.handles, 0, sizeof(x.handles));
	memset(&tenant, 0, sizeof(tenant));
	x.tenant = &tenant;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handles_done(&x.handles);
	return 0;
}

static int32_t check(uint8_t kind, uint32_t generation, uint32_t index)
{
	return handle_check_new(&x, HANDLE_EVENT, handle_make(kind, generation, index));
}

static void what_was_entered_is_found(void **state)
{
	uint64_t h = handle_make(HANDLE_EVENT, 9, 17);

	(void)state;
	assert_null(handle_get(&x, HANDLE_EVENT, h));
	assert_int_equal(handle_check_new(&x, HANDLE_EVENT, h), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, h, &a);
	assert_ptr_equal(handle_get(&x, HANDLE_EVENT, h), &a);
	assert_int_equal(a.handle, h);
	handle_remove(&x, h);
	assert_null(handle_get(&x, HANDLE_EVENT, h));
}

static void a_tenants_own_limit_is_of_live_objects(void **state)
{
	uint64_t h = handle_make(HANDLE_EVENT, 1, 0), other = handle_make(HANDLE_EVENT, 1, 900);

	(void)state;
	atomic_store(&tenant.objects[VGPU_OBJECTS_EVENTS], 2);
	assert_int_equal(handle_check_new(&x, HANDLE_EVENT, h), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, h, &a);
	assert_int_equal(handle_check_new(&x, HANDLE_EVENT, other), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, other, &b);
	assert_int_equal(check(HANDLE_EVENT, 1, 2), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(handle_check_new(&x, HANDLE_STREAM, handle_make(HANDLE_STREAM, 1, 0)), CUDA_SUCCESS);
	atomic_store(&tenant.objects[VGPU_OBJECTS_EVENTS], 3); // an operator changed it
	assert_int_equal(check(HANDLE_EVENT, 1, 2), CUDA_SUCCESS);
	atomic_store(&tenant.objects[VGPU_OBJECTS_EVENTS], 2);
	handle_remove(&x, h);
	assert_int_equal(check(HANDLE_EVENT, 1, 2), CUDA_SUCCESS);
	handle_remove(&x, other);
}

static void stale_generations_are_nothing(void **state)
{
	uint64_t old = handle_make(HANDLE_EVENT, 1, 5), new = handle_make(HANDLE_EVENT, 2, 5);

	(void)state;
	assert_int_equal(check(HANDLE_EVENT, 1, 5), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, old, &a);
	assert_int_equal(check(HANDLE_EVENT, 2, 5), CUDA_ERROR_INVALID_HANDLE); // in use
	handle_remove(&x, old);
	assert_int_equal(check(HANDLE_EVENT, 1, 5), CUDA_ERROR_INVALID_HANDLE); // the same name again
	assert_int_equal(check(HANDLE_EVENT, 2, 5), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, new, &b);
	assert_null(handle_get(&x, HANDLE_EVENT, old));
	assert_ptr_equal(handle_get(&x, HANDLE_EVENT, new), &b);
	handle_remove(&x, new);
}

static void foreign_kinds_are_nothing(void **state)
{
	uint64_t h = handle_make(HANDLE_EVENT, 1, 5);

	(void)state;
	assert_int_equal(check(HANDLE_STREAM, 1, 5), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(check(0, 1, 5), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(check(255, 1, 5), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(check(HANDLE_EVENT, 1, 5), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, h, &a);
	assert_null(handle_get(&x, HANDLE_STREAM, h));
	assert_null(handle_get(&x, HANDLE_STREAM, handle_make(HANDLE_STREAM, 1, 5)));
	assert_null(handle_get(&x, HANDLE_EVENT, h ^ 1ull << 60));
	handle_remove(&x, h);
}

static void indices_have_a_limit(void **state)
{
	uint64_t last = handle_make(HANDLE_EVENT, 1, VGPU_MAX_EVENTS - 1);

	(void)state;
	assert_int_equal(check(HANDLE_EVENT, 1, VGPU_MAX_EVENTS), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(check(HANDLE_EVENT, 1, 0xffffff), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(check(HANDLE_EVENT, 0, 3), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(check(HANDLE_EVENT, 1, VGPU_MAX_EVENTS - 1), CUDA_SUCCESS);
	handle_enter(&x, HANDLE_EVENT, last, &a);
	assert_ptr_equal(handle_get(&x, HANDLE_EVENT, last), &a);
	assert_null(handle_get(&x, HANDLE_EVENT, handle_make(HANDLE_EVENT, 1, 0xffffff)));
	handle_remove(&x, last);
}

static unsigned visited;

static void count_and_remove(struct executor *e, void *object)
{
	visited++;
	handle_remove(e, ((struct object *)object)->handle);
}

static void each_live_object_is_visited_once(void **state)
{
	static struct object many[50];

	(void)state;
	visited = 0;
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(check(HANDLE_EVENT, 1, 3 * i), CUDA_SUCCESS);
		handle_enter(&x, HANDLE_EVENT, handle_make(HANDLE_EVENT, 1, 3 * i), &many[i]);
	}
	handle_each(&x, HANDLE_EVENT, count_and_remove);
	handle_each(&x, HANDLE_EVENT, count_and_remove);
	assert_int_equal(visited, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_entered_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(a_tenants_own_limit_is_of_live_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_generations_are_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_kinds_are_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(indices_have_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(each_live_object_is_visited_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
