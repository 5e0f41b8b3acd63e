// SPDX-License-Identifier: Apache-2.0
// Handlers of the vm_* records: addresses and memory apart. What is checked is in memory_vm.c.
#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

int32_t on_vm_reserve(struct executor *x, const struct record_vm_reserve *r, struct reply_vm_reserve *ret)
{
	int32_t result = executor_ready(x);

	return result ? result : memory_reserve(&x->memory, r->size, r->hint, &ret->address);
}

int32_t on_vm_free(struct executor *x, const struct record_vm_free *r)
{
	int32_t result = executor_ready(x);

	return result ? result : memory_unreserve(&x->memory, r->address);
}

int32_t on_vm_create(struct executor *x, const struct record_vm_create *r, struct physical **ret_physical)
{
	int32_t result = executor_ready(x);

	if (!result)
		result = park_room(x, memory_create(&x->memory, r->size, r->handle_types, ret_physical));
	return result;
}

void physical_free(struct executor *x, void *object)
{
	struct physical *p = object;

	handle_remove(x, p->object.handle);
	memory_unref(&x->memory, p);
}

int32_t on_vm_release(struct executor *x, const struct record_vm_release *r, struct physical *p)
{
	(void)r;
	physical_free(x, p);
	return CUDA_SUCCESS;
}

int32_t on_vm_map(struct executor *x, const struct record_vm_map *r, struct physical *p)
{
	int32_t result = executor_ready(x);

	return result ? result : memory_map(&x->memory, p, r->address, r->size, r->offset);
}

// A change that takes something away from work: when nothing is in flight, and graphs must look again.
static int32_t before_less(struct executor *x, uint64_t address, uint64_t size)
{
	if (!memory_is_mapped(&x->memory, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	x->gone++;
	return CUDA_SUCCESS;
}

int32_t on_vm_access(struct executor *x, const struct record_vm_access *r)
{
	int32_t result = executor_ready(x);

	if (!result && r->access != VM_ACCESS_READ_WRITE)
		result = before_less(x, r->address, r->size);
	return result ? result : memory_access(&x->memory, r->address, r->size, (enum vm_access)r->access);
}

int32_t on_vm_unmap(struct executor *x, const struct record_vm_unmap *r)
{
	int32_t result = executor_ready(x);

	if (!result)
		result = before_less(x, r->address, r->size);
	return result ? result : memory_unmap(&x->memory, r->address, r->size);
}
