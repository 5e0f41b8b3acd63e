// SPDX-License-Identifier: Apache-2.0
//
// Before and after cuInit: codes, devices, names, sizes, all 148 attributes, bad ordinals.
#include "tests/e2e/check.h"

#include <stdio.h>
#include <string.h>

static void before_init(void)
{
	int n = -7;
	CUdevice device = 0;
	CUcontext context = NULL;
	CUdeviceptr ptr;
	size_t bytes;
	char name[8];
	void *host;

	OK(cuDriverGetVersion(&n));
	CHECK(n >= 12000, "driver version %d", n);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDriverGetVersion(NULL));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&n));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGet(&device, 0));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetName(name, 8, 0));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetAttribute(&n, 1, 0));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuDevicePrimaryCtxRetain(&context, 0));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuCtxGetCurrent(&context));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuCtxSynchronize());
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuMemAlloc_v2(&ptr, 4));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuMemAllocHost_v2(&host, 4));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuMemGetInfo_v2(&bytes, &bytes));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuStreamSynchronize(NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuInit(1));
	MUST(cuInit(0)); // nothing below makes sense without
	OK(cuInit(0));
}

static void identity(CUdevice device)
{
	char name[256], text[32], short_name[5];
	CUuuid uuid, uuid2;
	CUdevice again = -1;
	int domain, bus, slot, a, b;
	size_t total = 0;

	memset(name, 'x', sizeof(name));
	OK(cuDeviceGetName(name, sizeof(name), device));
	CHECK(memchr(name, 0, sizeof(name)) && name[0], "name is \"%s\"", name);
	OK(cuDeviceGetName(short_name, sizeof(short_name), device));
	CHECK(!short_name[4] && !strncmp(short_name, name, 4), "a short buffer gets the name's beginning");
	OK(cuDeviceTotalMem_v2(&total, device));
	CHECK(total >= 64 * MIB, "total memory %zu", total);
	OK(cuDeviceGetUuid(&uuid, device));
	OK(cuDeviceGetUuid_v2(&uuid2, device));
	CHECK(!memcmp(&uuid, &uuid2, 16), "both forms give the same UUID");
	OK(cuDeviceGetPCIBusId(text, sizeof(text), device));
	OK(cuDeviceGetAttribute(&domain, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, device));
	OK(cuDeviceGetAttribute(&bus, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, device));
	OK(cuDeviceGetAttribute(&slot, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, device));
	snprintf(name, sizeof(name), "%04X:%02X:%02X.0", domain, bus, slot);
	CHECK(!strcasecmp(name, text), "bus id %s is %s", text, name);
	OK(cuDeviceGetByPCIBusId(&again, text));
	EQUAL(device, again);
	EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetByPCIBusId(&again, "fffe:fe:1f.0"));
	OK(cuDeviceComputeCapability(&a, &b, device));
	int major = 0, minor = -1;
	OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
	OK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
	CHECK(a == major && b == minor && a >= 7, "compute capability %d.%d", a, b);
	OK(cuDeviceCanAccessPeer(&a, device, device));
	EQUAL(0, a);
}

static void attributes(CUdevice device)
{
	int wrong = 0, value;
	for (int i = 1; i < CU_DEVICE_ATTRIBUTE_COUNT; i++) {
		CUresult result = cuDeviceGetAttribute(&value, i, device);
		if (result != CUDA_SUCCESS && ++wrong < 10)
			CHECK(false, "attribute %d: %s", i, driver_error_name(result));
	}
	EQUAL(0, wrong);
	value = -7;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, 0, device));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, 148, device));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, 100000, device));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, -1, device));
	EQUAL(-7, value);
	EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetAttribute(&value, 1, 99));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(NULL, 1, device));
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, device));
	EQUAL(32, value);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, device));
	EQUAL(1, value);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, device));
	EQUAL(1024, value);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device));
	CHECK(value > 0, "%d multiprocessors", value);
}

int main(void)
{
	CUdevice device = -1;
	int count = 0;
	check_open();
	before_init();
	OK(cuDeviceGetCount(&count));
	CHECK(count >= 1, "%d devices", count);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetCount(NULL));
	OK(cuDeviceGet(&device, 0));
	EQUAL(0, device);
	EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, count));
	EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, -1));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGet(NULL, 0));
	identity(0);
	attributes(0);
	return check_done();
}
