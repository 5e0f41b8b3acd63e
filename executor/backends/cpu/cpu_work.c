// SPDX-License-Identifier: Apache-2.0
// Copies, fills and launches of the cpu backend: checked and queued on the executor's loop thread, run on the
// worker. Parameters and inline bytes are copied into the work, so nothing of the caller's is kept.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "executor/backends/cpu/cpu_array.h"
#include "executor/backends/cpu/ptx/ptx_texture.h"
#include "executor/backends/event_word.h"
#include "executor/backends/rows.h"

static bool covers_copy(const struct backend *b, const struct backend_copy *c)
{
	uint64_t dst, src;

	return rows_extent(c->width, c->height, c->depth, c->dst_pitch, c->dst_slice, &dst) &&
	       rows_extent(c->width, c->height, c->depth, c->src_pitch, c->src_slice, &src) &&
	       cpu_memory_covers(b, c->dst_device, c->dst, dst, VM_ACCESS_READ_WRITE) &&
	       cpu_memory_covers(b, c->src_device, c->src, src, VM_ACCESS_READ);
}

static bool covers_set(const struct backend *b, const struct backend_set *s)
{
	uint64_t width, bytes;

	return !__builtin_mul_overflow(s->width, s->element, &width) &&
	       rows_extent(width, s->height, 1, s->pitch, 0, &bytes) &&
	       cpu_memory_covers(b, s->dst_device, s->dst, bytes, VM_ACCESS_READ_WRITE);
}

// The memory may have gone since the work was queued; then it is a fault, as on a GPU.
static void run_memory(struct backend *b, struct cpu_work *w)
{
	bool covered;

	pthread_rwlock_rdlock(&b->memory_lock);
	if (w->kind == WORK_COPY) {
		covered = covers_copy(b, &w->copy);
		if (covered)
			rows_copy(&w->copy);
	} else if (w->kind == WORK_SET) {
		covered = covers_set(b, &w->set);
		if (covered)
			rows_set(&w->set);
	} else {
		covered =
		    cpu_memory_covers(b, w->write.device, w->write.address, w->size, VM_ACCESS_READ_WRITE);
		if (covered)
			memcpy((void *)(uintptr_t)w->write.address, w->data, w->size);
	}
	pthread_rwlock_unlock(&b->memory_lock);
	if (!covered)
		cpu_fault(b, CUDA_ERROR_ILLEGAL_ADDRESS,
			  "cpu backend: a copy or fill touched memory that is not mapped");
}

static int fault_result(const struct ptx_fault *fault)
{
	switch (fault->kind) {
	case PTX_FAULT_ADDRESS: return CUDA_ERROR_ILLEGAL_ADDRESS;
	case PTX_FAULT_MISALIGNED: return CUDA_ERROR_MISALIGNED_ADDRESS;
	case PTX_FAULT_ASSERT: return CUDA_ERROR_ASSERT;
	case PTX_FAULT_STOPPED: return CUDA_ERROR_LAUNCH_TIMEOUT;
	case PTX_FAULT_TRAP:
	case PTX_FAULT_NONE: break;
	}
	return CUDA_ERROR_LAUNCH_FAILED;
}

static void run_launch(struct backend *b, struct cpu_work *w)
{
	const struct cpu_launch *l = &w->launch;
	struct ptx_fault fault = { 0 };
	char text[400];
	int code, result = ptx_launch(b->machine, l->kernel, l->grid, l->block, l->dynamic_shared, w->data,
				      w->size, &fault);

	if (!result || atomic_load(&b->queue.stop))
		return;
	if (result == -EFAULT || result == -ECANCELED)
		code = result == -ECANCELED ? CUDA_ERROR_LAUNCH_TIMEOUT : fault_result(&fault);
	else
		code = result == -ENOMEM ? CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES : CUDA_ERROR_LAUNCH_FAILED;
	if (code == CUDA_ERROR_ASSERT && b->env.complain)
		b->env.complain(b->env.opaque, fault.text, strlen(fault.text));
	snprintf(text, sizeof(text), "cpu backend: kernel %.100s failed: %.200s",
		 ptx_kernel_info(l->kernel)->name, fault.text);
	cpu_fault(b, code, text);
}

void cpu_work_run(struct backend *b, struct cpu_work *w)
{
	switch (w->kind) {
	case WORK_COPY:
	case WORK_WRITE:
	case WORK_SET: run_memory(b, w); return;
	case WORK_LAUNCH: run_launch(b, w); return;
	case WORK_EVENT:
		atomic_store(&w->mark->when_ns, clock_now_ns());
		atomic_store_explicit(&w->mark->done, true, memory_order_release);
		if (w->mark->word)
			event_word_complete(w->mark->word, w->mark->number);
		return;
	case WORK_GRAPH: cpu_graph_run(b, w->graph); return;
	case WORK_STORE: atomic_store_explicit(w->word.where, w->word.value, memory_order_release); return;
	case WORK_WAIT:
	case WORK_WAIT_EVENT:
	case WORK_WORDS: return;  // done when they were due
	case WORK_FORGET: return; // what happens when it is dropped is all
	case WORK_BRANCH: return; // the graph's
	}
}

void cpu_work_drop(struct backend *b, struct cpu_work *w)
{
	if (w->kind == WORK_GRAPH)
		cpu_graph_unref(b, w->graph);
	if (w->kind == WORK_EVENT || w->kind == WORK_WAIT_EVENT)
		cpu_mark_unref(w->mark);
	if (w->kind == WORK_FORGET)
		ptx_texture_remove(w->object);
	cpu_stream_unref(w->stream);
	free(w);
}

int cpu_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *s)
{
	struct backend_copy copy = *c;
	struct cpu_work *w;

	// Arrays are memory here.
	if (c->dst_array)
		cpu_array_side(c->dst_array, c->dst_at, &copy.dst, &copy.dst_pitch, &copy.dst_slice);
	if (c->src_array)
		cpu_array_side(c->src_array, c->src_at, &copy.src, &copy.src_pitch, &copy.src_slice);
	if (!covers_copy(b, &copy))
		return CUDA_ERROR_INVALID_VALUE;
	w = cpu_work_new(WORK_COPY, 0);
	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w->copy = copy;
	return cpu_work_submit(b, s, w);
}

int cpu_write(struct backend *b, uint64_t dst, bool dst_device, const void *data, uint32_t size,
	      struct backend_stream *s)
{
	struct cpu_work *w;

	if (!cpu_memory_covers(b, dst_device, dst, size, VM_ACCESS_READ_WRITE))
		return CUDA_ERROR_INVALID_VALUE;
	w = cpu_work_new(WORK_WRITE, size);
	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w->write.address = dst;
	w->write.device = dst_device;
	memcpy(w->data, data, size);
	return cpu_work_submit(b, s, w);
}

int cpu_set(struct backend *b, const struct backend_set *set, struct backend_stream *s)
{
	struct cpu_work *w;

	if (!rows_set_valid(set) || !covers_set(b, set))
		return CUDA_ERROR_INVALID_VALUE;
	w = cpu_work_new(WORK_SET, 0);
	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w->set = *set;
	return cpu_work_submit(b, s, w);
}

// What a launch asks for by attribute. Most are hints, which in-order execution satisfies as it is; grid-wide
// synchronisation and clusters need blocks that run at the same time, which this device does not promise.
static int check_attributes(const struct backend_launch *l)
{
	for (uint32_t i = 0; i < l->n_attributes; i++) {
		CUlaunchAttribute a;

		memcpy(&a, (const char *)l->attributes + i * sizeof(a), sizeof(a));
		if (a.id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && a.value.cooperative)
			return CUDA_ERROR_NOT_SUPPORTED;
		if (a.id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION &&
		    (a.value.clusterDim.x > 1 || a.value.clusterDim.y > 1 || a.value.clusterDim.z > 1))
			return CUDA_ERROR_NOT_SUPPORTED;
		if (a.id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT ||
		    a.id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT ||
		    a.id == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE)
			return CUDA_ERROR_NOT_SUPPORTED;
	}
	return l->cooperative ? CUDA_ERROR_NOT_SUPPORTED : 0;
}

static int check_shape(const struct backend_function *f, const struct backend_launch *l)
{
	const struct ptx_kernel_info *info = f->info;
	uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];

	if (!l->grid[0] || !l->grid[1] || !l->grid[2] || l->grid[0] > CPU_GRID_X ||
	    l->grid[1] > CPU_GRID_YZ || l->grid[2] > CPU_GRID_YZ)
		return CUDA_ERROR_INVALID_VALUE;
	if (l->block[0] > PTX_MAX_BLOCK_THREADS || l->block[1] > PTX_MAX_BLOCK_THREADS ||
	    l->block[2] > CPU_BLOCK_Z || !threads || threads > info->max_threads)
		return CUDA_ERROR_INVALID_VALUE;
	if (info->req_ntid[0] && memcmp(l->block, info->req_ntid, sizeof(info->req_ntid)) != 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (l->dynamic_shared > (uint32_t)f->max_dynamic || l->param_bytes < info->param_bytes)
		return CUDA_ERROR_INVALID_VALUE;
	return 0;
}

int cpu_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
	       struct backend_stream *s)
{
	struct cpu_work *w;
	int result = f->kernel ? check_shape(f, l) : CUDA_ERROR_NO_BINARY_FOR_GPU;

	if (!result)
		result = check_attributes(l);
	if (result)
		return result;
	w = cpu_work_new(WORK_LAUNCH, f->info->param_bytes);
	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w->launch.kernel = f->kernel;
	memcpy(w->launch.grid, l->grid, sizeof(l->grid));
	memcpy(w->launch.block, l->block, sizeof(l->block));
	w->launch.dynamic_shared = l->dynamic_shared;
	if (w->size)
		memcpy(w->data, l->params, w->size);
	return cpu_work_submit(b, s, w);
}
