// SPDX-License-Identifier: Apache-2.0
// What a tenant is told of the device: the host driver's own answers, except for what this release cannot
// give a tenant, which is switched off here in one table. Executor process, cuda backend, before the context
// exists.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdio.h>
#include <string.h>

// Attributes that the guest sees changed. A program asks them before it uses a feature, so 0 is what keeps it
// from calling what would fail.
static const struct rewrite {
	uint8_t attribute;
	int32_t value;
	const char *reason;
} rewrites[] = {
	{ 20, 0, "compute mode: the device is shared, each tenant may use it from any thread" },
	{ 88, 0, "pageable access: the GPU sees registered guest memory only" },
	{ 89, 0, "concurrent managed access: managed memory is pinned memory of the host, no page migrates" },
	{ 92, 0, "stream memory operations v1: the names of the old form are the new form's (122)" },
	{ 93, 0, "64-bit stream memory operations v1: see 92" },
	{ 94, 0, "stream wait NOR v1: see 92" },
	{ 96, 0, "multi-device cooperative launch: one device a tenant" },
	{ 98, 0, "flush of remote writes: no device beside ours writes GPU memory" },
	{ 100, 0, "pageable access through the host's page tables: see 88" },
	{ 101, 0, "direct managed access from the host: see 89" },
	{ 104, 0, "Win32 handles: not on Linux" },
	{ 105, 0, "Win32 KMT handles: see 104" },
	{ 107, 0, "compressible memory: is asked for through 102" },
	{ 110, 0, "RDMA with virtual memory management: no device beside ours reaches GPU memory" },
	{ 112, 0, "sparse arrays: what would map their memory is not offered" },
	{ 113, 0, "read-only registration: the executor registers read-write" },
	{ 114, 0, "timeline semaphores: graphics interoperation is not offered" },
	{ 116, 0, "GPUDirect RDMA: see 110" },
	{ 117, 0, "RDMA flush options: see 110" },
	{ 118, 0, "RDMA write ordering: see 110" },
	{ 119, 0,
	  "handle types of memory pools: the pools that the guest library makes (115) stay in their "
	  "process" },
	{ 121, 0, "deferred mapping of arrays: see 112" },
	{ 124, 0, "dma-buf: no descriptor of the host goes to a guest" },
	{ 125, 1, "interprocess events: vgpu's own, whatever the driver has" },
	{ 128, 0, "fabric handles: one host" },
	{ 129, 0, "unified function pointers: not offered" },
	{ 130, 0, "NUMA configuration: GPU memory is no node of the guest" },
	{ 131, -1, "NUMA id of GPU memory: see 130" },
	{ 132, 0, "multicast: one device a tenant" },
	{ 133, 0, "MPS: not how tenants share" },
	{ 134, 0, "NUMA node nearest to the device: the host's numbers mean nothing in the guest" },
	{ 135, 0, "D3D12 interoperation: not offered" },
	{ 136, 0, "decompression algorithms: not offered" },
	{ 137, 0, "decompression length: see 136" },
	{ 138, 0, "Vulkan interoperation: not offered" },
	{ 141, 0, "host NUMA memory through 102: see 102" },
	{ 142, 0, "host NUMA memory pools: the host's nodes are not the guest's" },
	{ 143, 0, "multi-node IPC: see 128" },
	{ 144, 0, "host memory pools: not offered" },
	{ 145, 0, "host memory through 102: see 102" },
	{ 146, 0, "dma-buf of host memory: see 124" },
};

int cuda_device_read(struct backend *b, char *error, size_t error_bytes)
{
	struct cuda_driver *cu = &b->cu;
	const char *text = NULL, *step = "cuInit";
	CUresult result = cu->init(0);
	int count = 0;

	if (!result) {
		step = "cuDeviceGetCount";
		result = cu->device_get_count(&count);
	}
	if (!result) {
		step = "cuDeviceGet";
		result = b->env.device < (unsigned)count ? cu->device_get(&b->device, (int)b->env.device)
							 : CUDA_ERROR_INVALID_DEVICE;
	}
	if (result) {
		cu->get_error_string(result, &text);
		snprintf(error, error_bytes, "%s (device %u of %d): %s", step, b->env.device, count,
			 text ? text : "unknown error");
		return (int)result;
	}
	for (int i = 1; i < CU_DEVICE_ATTRIBUTE_COUNT; i++)
		if (cu->device_get_attribute(&b->attributes[i], i, b->device) != CUDA_SUCCESS)
			b->attributes[i] = 0;
	b->memory_ops = b->attributes[122] && cu->stream_write_64 && cu->stream_wait_64;
	return 0;
}

int cuda_device_info(struct backend *b, struct reply_device_info *ret)
{
	struct reply_device_info info = { .attribute_count = CU_DEVICE_ATTRIBUTE_COUNT };
	size_t total = 0;
	CUuuid uuid;
	int version = 0;
	CUresult result = b->cu.device_get_name(info.name, (int)sizeof(info.name), b->device);

	if (!result)
		result = b->cu.device_get_uuid(&uuid, b->device);
	if (!result)
		result = b->cu.device_total_mem(&total, b->device);
	if (!result)
		result = b->cu.driver_get_version(&version);
	if (result)
		return cuda_result(b, result);
	info.name[sizeof(info.name) - 1] = 0;
	memcpy(info.uuid, uuid.bytes, sizeof(info.uuid));
	info.total_memory = total;
	info.driver_version = version;
	memcpy(info.attributes, b->attributes, sizeof(b->attributes));
	if (!cuda_can_share(b) || !cuda_mem_granularity(b))
		info.attributes[CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED] = 0;
	for (size_t i = 0; i < sizeof(rewrites) / sizeof(rewrites[0]); i++)
		info.attributes[rewrites[i].attribute] = rewrites[i].value;
	if (!b->memory_ops || !b->cu.stream_words)
		info.attributes[CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS] =
		    info.attributes[CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR] = 0;
	if (!cuda_mem_granularity(b))
		info.attributes[CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED] = 0;
	*ret = info;
	return 0;
}
