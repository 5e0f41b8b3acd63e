// SPDX-License-Identifier: Apache-2.0
//
// NVML beside CUDA in one process: both tell the same of the device, NVML sees what CUDA does, and answers as
// it should before its start, after its end and in a forked child.
#include "tests/e2e/check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/nvml/nvml_abi.h"

#define NVML_CALL(name, params) nvmlReturn_t name params;
#include "protocol/nvml/nvml_calls.def"
#undef NVML_CALL

static void *library;

static void *find(const char *name)
{
	void *call = dlsym(library, name);
	if (!call)
		check_bail("libnvidia-ml.so.1 has no %s", name);
	return call;
}

#define N(name)		      ((__typeof__(&name))find(#name))
#define NVML(want, name, ...) EQUAL(want, N(name)(__VA_ARGS__))

static bool vgpu(void)
{
	return check_backend() != BACKEND_NATIVE;
}

static void before_init(void)
{
	unsigned int count;

	NVML(NVML_ERROR_UNINITIALIZED, nvmlDeviceGetCount_v2, &count);
	NVML(NVML_ERROR_UNINITIALIZED, nvmlShutdown);
	NVML(NVML_SUCCESS, nvmlInit_v2);
	NVML(NVML_SUCCESS, nvmlDeviceGetCount_v2, &count);
	CHECK(count >= 1, "%u devices", count);
	NVML(NVML_ERROR_INVALID_ARGUMENT, nvmlDeviceGetCount_v2, NULL);
}

static nvmlDevice_t same_device(void)
{
	nvmlDevice_t device = NULL, again = NULL;
	char bus_id[32], name[96], text[96], ours[96];
	nvmlPciInfo_t pci;
	size_t total;
	nvmlMemory_t memory;
	CUuuid uuid;
	int a[2], b[2];
	const unsigned char *u = (const unsigned char *)uuid.bytes;

	MUST(cuDeviceGetPCIBusId(bus_id, sizeof(bus_id), 0));
	NVML(NVML_SUCCESS, nvmlDeviceGetHandleByPciBusId_v2, bus_id, &device);
	NVML(NVML_SUCCESS, nvmlDeviceGetPciInfo_v3, device, &pci);
	CHECK(!strcasecmp(pci.busIdLegacy, bus_id), "bus ids %s and %s", pci.busIdLegacy, bus_id);
	NVML(NVML_SUCCESS, nvmlDeviceGetHandleByPciBusId_v2, pci.busId, &again);
	CHECK(again == device, "the longer bus id finds the same device");

	MUST(cuDeviceGetName(ours, sizeof(ours), 0));
	NVML(NVML_SUCCESS, nvmlDeviceGetName, device, name, sizeof(name));
	CHECK(!strcmp(ours, name), "names %s and %s", ours, name);
	NVML(NVML_ERROR_INSUFFICIENT_SIZE, nvmlDeviceGetName, device, name, 2);

	MUST(cuDeviceGetUuid_v2(&uuid, 0));
	NVML(NVML_SUCCESS, nvmlDeviceGetUUID, device, text, sizeof(text));
	snprintf(ours, sizeof(ours),
		 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
		 u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	CHECK(!strcmp(ours, text), "UUIDs %s and %s", ours, text);
	NVML(NVML_SUCCESS, nvmlDeviceGetHandleByUUID, text, &again);
	CHECK(again == device, "the UUID finds the same device");
	NVML(NVML_ERROR_NOT_FOUND, nvmlDeviceGetHandleByUUID, "GPU-00000000-0000-0000-0000-000000000000",
	     &again);

	MUST(cuDeviceComputeCapability(&a[0], &a[1], 0));
	NVML(NVML_SUCCESS, nvmlDeviceGetCudaComputeCapability, device, &b[0], &b[1]);
	CHECK(a[0] == b[0] && a[1] == b[1], "compute capabilities %d.%d and %d.%d", a[0], a[1], b[0], b[1]);
	MUST(cuDriverGetVersion(&a[0]));
	NVML(NVML_SUCCESS, nvmlSystemGetCudaDriverVersion_v2, &b[0]);
	EQUAL(a[0], b[0]);

	// A driver of one's own keeps some memory back from CUDA.
	MUST(cuDeviceTotalMem_v2(&total, 0));
	NVML(NVML_SUCCESS, nvmlDeviceGetMemoryInfo, device, &memory);
	CHECK(vgpu() ? memory.total == total : memory.total >= total, "memory %llu and %zu", memory.total,
	      total);
	CHECK(memory.free <= memory.total && memory.used + memory.free == memory.total,
	      "used %llu, free %llu", memory.used, memory.free);
	return device;
}

// What CUDA holds is seen, soon: NVML may tell what it knew a moment ago.
static void sees_this_process(nvmlDevice_t device)
{
	unsigned long long seen = 0;
	CUdeviceptr ptr;

	MUST(cuMemAlloc_v2(&ptr, 64 * MIB));
	for (int i = 0; i < 100 && seen < 64 * MIB; i++, sleep_ms(50)) {
		nvmlProcessInfo_t rows[64];
		unsigned int n = 64;

		if (N(nvmlDeviceGetComputeRunningProcesses_v3)(device, &n, rows))
			break;
		for (unsigned int k = 0; k < n; k++)
			if (rows[k].pid == (unsigned int)getpid())
				seen = rows[k].usedGpuMemory;
	}
	CHECK(seen >= 64 * MIB, "this process is seen with %llu bytes", seen);
	MUST(cuMemFree_v2(ptr));
}

static void lists_that_do_not_fit(nvmlDevice_t device)
{
	nvmlMemory_v2_t memory = { .version = NVML_VERSION(nvmlMemory_v2_t, 2) };
	unsigned int n = 0;

	NVML(NVML_ERROR_INSUFFICIENT_SIZE, nvmlDeviceGetComputeRunningProcesses_v3, device, &n, NULL);
	CHECK(n >= 1, "%u processes", n);
	NVML(NVML_SUCCESS, nvmlDeviceGetMemoryInfo_v2, device, &memory);
	CHECK(memory.reserved + memory.used + memory.free == memory.total, "reserved %llu", memory.reserved);
	memory.version = 7;
	NVML(NVML_ERROR_ARGUMENT_VERSION_MISMATCH, nvmlDeviceGetMemoryInfo_v2, device, &memory);
}

static void waits_end(void)
{
	nvmlEventSet_t set;
	nvmlEventData_t data;

	NVML(NVML_SUCCESS, nvmlEventSetCreate, &set);
	NVML(NVML_ERROR_TIMEOUT, nvmlEventSetWait_v2, set, &data, 20);
	NVML(NVML_SUCCESS, nvmlEventSetFree, set);
}

// The mediator sees the child as another program of the tenant; CUDA is not for it.
static void in_a_child(nvmlDevice_t device)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		nvmlMemory_t memory;

		_exit(N(nvmlDeviceGetMemoryInfo)(device, &memory) || N(nvmlShutdown)() || N(nvmlInit_v2)() ||
		      N(nvmlDeviceGetMemoryInfo)(device, &memory));
	}
	waitpid(pid, &status, 0);
	CHECK(status == 0, "a forked child uses NVML: status %d", status);
}

int main(void)
{
	nvmlDevice_t device;
	unsigned int count;

	check_context();
	library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
	if (!library)
		check_skip("there is no libnvidia-ml.so.1");
	before_init();
	device = same_device();
	// Natively a container may hide processes.
	if (vgpu()) {
		sees_this_process(device);
		lists_that_do_not_fit(device);
		in_a_child(device);
	}
	waits_end();
	NVML(NVML_SUCCESS, nvmlShutdown);
	NVML(NVML_ERROR_UNINITIALIZED, nvmlDeviceGetCount_v2, &count);
	return check_done();
}
