// SPDX-License-Identifier: Apache-2.0
//
// device_agrees [card]: what the client tells about the device (guest/client/device_state.h) is what libcuda
// shows in the same process: identity, memory, this process among the tenant's. card: with readings of a card
// behind it. Runs through vgpu only.
#include <string.h>
#include <unistd.h>

#include "guest/client/device_state.h"
#include "tests/e2e/check.h"

static struct vgpu_device *device;

static struct device_state state(void)
{
	struct device_state s = { 0 };

	sleep_ms(30); // a new answer, not the last one
	EQUAL(0, vgpu_device_state(device, 0, &s));
	return s;
}

static void known(const struct device_state *s, enum device_value which, const char *name)
{
	CHECK(device_value_known(&s->values, which), "%s is known: %llu", name,
	      (unsigned long long)s->values.value[which]);
}

static void identity_agrees(void)
{
	struct device_state s = state();
	char name[256] = "";
	size_t total = 0;
	CUuuid uuid;
	int value = 0;

	OK(cuDeviceGetName(name, sizeof(name), 0));
	OK(cuDeviceGetUuid(&uuid, 0));
	OK(cuDeviceTotalMem_v2(&total, 0));
	CHECK(strcmp(name, s.identity.name) == 0, "the name is '%s'", s.identity.name);
	CHECK(memcmp(uuid.bytes, s.identity.uuid, sizeof(uuid.bytes)) == 0, "the UUIDs are the same");
	EQUAL(total, s.identity.total_memory);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
	EQUAL(value, s.identity.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR]);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
	EQUAL(value, s.identity.attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT]);
}

// The numbers of cuMemGetInfo; of a card with other users only as far as its own are concerned.
static void memory_agrees(bool card)
{
	size_t free_bytes = 0, total = 0, before = 0;
	CUdeviceptr p = 0;
	struct device_state s = state();

	known(&s, DEVICE_MEMORY_USED, "used memory");
	before = (size_t)s.values.value[DEVICE_MEMORY_USED];
	OK(cuMemAlloc_v2(&p, 64 * MIB));
	OK(cuMemGetInfo_v2(&free_bytes, &total));
	s = state();
	EQUAL(total, s.values.value[DEVICE_MEMORY_TOTAL]);
	EQUAL(before + 64 * MIB, s.values.value[DEVICE_MEMORY_USED]);
	known(&s, DEVICE_MEMORY_FREE, "free memory");
	if (!card)
		EQUAL(free_bytes, s.values.value[DEVICE_MEMORY_FREE]);
	OK(cuMemFree_v2(p));
	s = state();
	EQUAL(before, s.values.value[DEVICE_MEMORY_USED]);
}

static void work_is_counted(void)
{
	CUfunction fill = check_function(check_module("basic.ptx"), "spin");
	struct device_state s = state();
	uint64_t launches = s.values.value[DEVICE_LAUNCHES], gpu_ns = s.values.value[DEVICE_GPU_NS],
		 rounds = 1000;
	struct device_process rows[4];
	CUdeviceptr out;
	uint32_t n = 0;

	MUST(cuMemAlloc_v2(&out, 8));
	for (int i = 0; i < 10; i++)
		LAUNCH(fill, 1, 1, NULL, &out, &rounds);
	OK(cuCtxSynchronize());
	s = state();
	EQUAL(launches + 10, s.values.value[DEVICE_LAUNCHES]);
	if (check_computes())
		CHECK(s.values.value[DEVICE_GPU_NS] > gpu_ns, "%llu ns were added",
		      (unsigned long long)(s.values.value[DEVICE_GPU_NS] - gpu_ns));
	known(&s, DEVICE_GPU_BUSY, "the share of the last second");
	EQUAL(0, vgpu_device_processes(device, UINT64_MAX, rows, 4, &n));
	EQUAL(1, n);
	EQUAL(getpid(), rows[0].pid);
	EQUAL(s.values.value[DEVICE_LAUNCHES], rows[0].launches);
	EQUAL(s.values.value[DEVICE_MEMORY_USED], rows[0].memory_bytes);
}

static void card_is_read(void)
{
	struct device_state s = state();

	EQUAL(DEVICE_CARD, s.source);
	known(&s, DEVICE_TEMPERATURE, "the temperature");
	known(&s, DEVICE_POWER_DRAW, "the power");
	known(&s, DEVICE_CLOCK_SM, "the clock");
	known(&s, DEVICE_PCI_ID, "the PCI id");
	CHECK(s.texts.driver[0], "the driver's version is '%s'", s.texts.driver);
	CHECK(!device_value_known(&s.values, DEVICE_CARD_GPU_UTILISATION), "others' use is not told");
}

int main(int argc, char **argv)
{
	bool card = argc > 1 && strcmp(argv[1], "card") == 0;
	struct device_state s;

	EQUAL(0, vgpu_device_open(NULL, &device));
	s = state();
	EQUAL(0, s.values.value[DEVICE_MEMORY_USED]);
	EQUAL(card ? DEVICE_CARD : DEVICE_IDENTITY, s.source);
	CHECK(!device_value_known(&s.values, DEVICE_TEMPERATURE) || card, "nothing is made up");
	check_context();
	identity_agrees();
	memory_agrees(card);
	work_is_counted();
	if (card)
		card_is_read();
	vgpu_device_close(device);
	return check_done();
}
