// SPDX-License-Identifier: Apache-2.0
// Pinned memory: pieces of the host window that the executor has registered with the GPU. Called by libcuda
// and libvgpu, who say what a piece is used for; runs in the program's threads.
#include "guest/client/calls_gen.h"
#include "protocol/cuda/cuda_abi.h"

#define PAGE 4096ull

int vgpu_pinned_alloc(struct vgpu_client *c, uint64_t bytes, void **ret)
{
	void *p = vgpu_window_alloc(c, bytes);
	struct record_host_register record;
	int result;

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record = (struct record_host_register){ .address = vgpu_client_gpu_address(c, p),
						.size = (bytes + PAGE - 1) & ~(PAGE - 1) };
	record.offset = record.address - vgpu_client_window_base(c);
	result = vgpu_call_host_register(c, &record);
	if (result) {
		vgpu_window_free(c, p, bytes);
		return result;
	}
	*ret = p;
	return 0;
}

void vgpu_pinned_free(struct vgpu_client *c, void *address, uint64_t bytes)
{
	struct record_host_unregister record = { .address = vgpu_client_gpu_address(c, address) };

	vgpu_call_host_unregister(c, &record);
	vgpu_window_free(c, address, bytes);
}
