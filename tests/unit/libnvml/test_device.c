// SPDX-License-Identifier: Apache-2.0
// Which device there is, how it is found, what it is called.
#include "tests/unit/libnvml/test.h"

#include <stdio.h>
#include <unistd.h>

#define UUID "GPU-a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"

static void by_index(void **state)
{
	nvmlDevice_t device = NULL;
	unsigned int index = 5;
	int same = 0;

	assert_int_equal(nvmlDeviceGetHandleByIndex_v2(1, &device), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetHandleByIndex_v2(0, NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_null(device);
	assert_int_equal(nvmlDeviceGetIndex(*state, &index), NVML_SUCCESS);
	assert_int_equal(index, 0);
	assert_int_equal(nvmlDeviceGetIndex(OTHER_HANDLE, &index), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetIndex(NULL, &index), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceOnSameBoard(*state, *state, &same), NVML_SUCCESS);
	assert_int_equal(same, 1);
	assert_int_equal(nvmlDeviceOnSameBoard(*state, OTHER_HANDLE, &same), NVML_ERROR_INVALID_ARGUMENT);
}

static void by_uuid(void **state)
{
	nvmlUUID_t uuid = { .version = NVML_VERSION(nvmlUUID_t, 1), .type = NVML_UUID_TYPE_BINARY };
	nvmlDevice_t device = NULL;

	assert_int_equal(nvmlDeviceGetHandleByUUID(UUID, &device), NVML_SUCCESS);
	assert_ptr_equal(device, *state);
	assert_int_equal(nvmlDeviceGetHandleByUUID("GPU-a0a1a2a3", &device), NVML_ERROR_NOT_FOUND);
	assert_int_equal(nvmlDeviceGetHandleByUUID(UUID "0", &device), NVML_ERROR_NOT_FOUND);
	assert_int_equal(nvmlDeviceGetHandleByUUID(NULL, &device), NVML_ERROR_INVALID_ARGUMENT);
	memcpy(uuid.value.bytes, fake.state.identity.uuid, 16);
	assert_int_equal(nvmlDeviceGetHandleByUUIDV(&uuid, &device), NVML_SUCCESS);
	uuid.value.bytes[3]++;
	assert_int_equal(nvmlDeviceGetHandleByUUIDV(&uuid, &device), NVML_ERROR_NOT_FOUND);
	uuid.type = NVML_UUID_TYPE_ASCII;
	memcpy(uuid.value.str, UUID, sizeof(UUID));
	assert_int_equal(nvmlDeviceGetHandleByUUIDV(&uuid, &device), NVML_SUCCESS);
	memset(uuid.value.str, 'a', sizeof(uuid.value.str)); // no end
	assert_int_equal(nvmlDeviceGetHandleByUUIDV(&uuid, &device), NVML_ERROR_NOT_FOUND);
	uuid.type = NVML_UUID_TYPE_NONE;
	assert_int_equal(nvmlDeviceGetHandleByUUIDV(&uuid, &device), NVML_ERROR_INVALID_ARGUMENT);
	uuid.version++;
	assert_int_equal(nvmlDeviceGetHandleByUUIDV(&uuid, &device), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
}

static void by_address_and_serial(void **state)
{
	static const char *const good[] = { "00000012:3A:1F.0", "0012:3a:1f.0", "12:3A:1F",
					    "00000012:3A:1F" };
	static const char *const others[] = { "0000:3A:1F.0", "0012:3B:1F.0", "0012:3A:1E.0", "0012:3A:1F.1",
					      "3A:1F.0" };
	nvmlDevice_t device = NULL;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2(good[i], &device), NVML_SUCCESS);
		assert_ptr_equal(device, *state);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(nvmlDeviceGetHandleByPciBusId(others[i], &device), NVML_ERROR_NOT_FOUND);
	assert_int_equal(nvmlDeviceGetHandleByPciBusId("", &device), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetHandleByPciBusId("gpu", &device), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetHandleByPciBusId(NULL, &device), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetHandleBySerial("", &device), NVML_ERROR_NOT_FOUND);
	memcpy(fake.state.texts.serial, "165032", 7);
	assert_int_equal(nvmlDeviceGetHandleBySerial("165032", &device), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetHandleBySerial("165033", &device), NVML_ERROR_NOT_FOUND);
}

static void names(void **state)
{
	char text[NVML_NAME_BYTES] = "?";

	assert_int_equal(nvmlDeviceGetName(*state, text, sizeof(text)), NVML_SUCCESS);
	assert_string_equal(text, "A device of the test");
	assert_int_equal(nvmlDeviceGetName(*state, text, 20), NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(nvmlDeviceGetName(*state, text, 21), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetName(*state, NULL, 21), NVML_ERROR_INVALID_ARGUMENT);
	memset(fake.state.identity.name, 'n', sizeof(fake.state.identity.name));
	assert_int_equal(nvmlDeviceGetName(*state, text, sizeof(text)), NVML_SUCCESS);
	assert_int_equal(strlen(text), NVML_NAME_BYTES - 1);
	assert_int_equal(nvmlDeviceGetUUID(*state, text, sizeof(text)), NVML_SUCCESS);
	assert_string_equal(text, UUID);
	assert_int_equal(nvmlDeviceGetUUID(*state, text, sizeof(UUID) - 1), NVML_ERROR_INSUFFICIENT_SIZE);
	memset(&fake.state.identity, 0, sizeof(fake.state.identity)); // no sensor has told anything
	assert_int_equal(nvmlDeviceGetUUID(*state, text, sizeof(text)), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetName(*state, text, sizeof(text)), NVML_ERROR_NOT_SUPPORTED);
}

static void texts_of_the_card(void **state)
{
	char text[96] = "?";

	assert_int_equal(nvmlDeviceGetVbiosVersion(*state, text, 32), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetGspFirmwareVersion(*state, text), NVML_ERROR_NOT_SUPPORTED);
	assert_string_equal(text, "?");
	memcpy(fake.state.texts.vbios, "96.00.30", 9);
	memcpy(fake.state.texts.gsp_firmware, "580.159.04", 11);
	assert_int_equal(nvmlDeviceGetVbiosVersion(*state, text, 32), NVML_SUCCESS);
	assert_string_equal(text, "96.00.30");
	assert_int_equal(nvmlDeviceGetVbiosVersion(*state, text, 8), NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(nvmlDeviceGetGspFirmwareVersion(*state, text), NVML_SUCCESS);
	assert_string_equal(text, "580.159.04");
	assert_int_equal(nvmlDeviceGetGspFirmwareVersion(*state, NULL), NVML_ERROR_INVALID_ARGUMENT);
}

// Each version writes its own part of the structure and nothing behind it.
static void pci_versions(void **state)
{
	nvmlPciInfo_t pci, untouched;
	nvmlPciInfoExt_t ext = { .version = NVML_VERSION(nvmlPciInfoExt_t, 1) };

	device_value_set(&fake.state.values, DEVICE_PCI_ID, 0x233110de);
	device_value_set(&fake.state.values, DEVICE_PCI_SUBSYSTEM_ID, 0x162610de);
	memset(&untouched, 0x5a, sizeof(untouched));
	pci = untouched;
	assert_int_equal(nvmlDeviceGetPciInfo(*state, &pci), NVML_SUCCESS);
	assert_string_equal(pci.busIdLegacy, "0012:3A:1F.0");
	assert_int_equal(pci.pciDeviceId, 0x233110de);
	assert_memory_equal((char *)&pci + 32, (char *)&untouched + 32, sizeof(pci) - 32);
	pci = untouched;
	assert_int_equal(nvmlDeviceGetPciInfo_v2(*state, &pci), NVML_SUCCESS);
	assert_int_equal(pci.pciSubSystemId, 0x162610de);
	assert_memory_equal((char *)&pci + 36, (char *)&untouched + 36, sizeof(pci) - 36);
	assert_int_equal(nvmlDeviceGetPciInfo_v3(*state, &pci), NVML_SUCCESS);
	assert_string_equal(pci.busId, "00000012:3A:1F.0");
	assert_int_equal(pci.domain, 0x12);
	assert_int_equal(pci.bus, 0x3a);
	assert_int_equal(pci.device, 0x1f);
	assert_int_equal(nvmlDeviceGetPciInfo_v3(*state, NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetPciInfoExt(*state, &ext), NVML_SUCCESS);
	assert_string_equal(ext.busId, "00000012:3A:1F.0");
	assert_int_equal(ext.baseClass, 3);
	ext.version++;
	assert_int_equal(nvmlDeviceGetPciInfoExt(*state, &ext), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	fake.state.identity.attribute_count = 0;
	assert_int_equal(nvmlDeviceGetPciInfo_v3(*state, &pci), NVML_ERROR_NOT_SUPPORTED);
}

static void architectures(void **state)
{
	static const int rows[][3] = { { 7, 0, 5 }, { 7, 5, 6 },   { 8, 0, 7 },	  { 8, 6, 7 },	{ 8, 9, 8 },
				       { 9, 0, 9 }, { 10, 0, 10 }, { 12, 0, 10 }, { 99, 0, -1 } };
	nvmlDeviceArchitecture_t arch;
	int major, minor;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fake.state.identity.attributes[75] = rows[i][0];
		fake.state.identity.attributes[76] = rows[i][1];
		assert_int_equal(nvmlDeviceGetArchitecture(*state, &arch), NVML_SUCCESS);
		assert_int_equal(arch, (nvmlDeviceArchitecture_t)rows[i][2]);
		assert_int_equal(nvmlDeviceGetCudaComputeCapability(*state, &major, &minor), NVML_SUCCESS);
		assert_int_equal(major, rows[i][0]);
		assert_int_equal(minor, rows[i][1]);
	}
	assert_int_equal(nvmlDeviceGetCudaComputeCapability(*state, &major, NULL),
			 NVML_ERROR_INVALID_ARGUMENT);
}

static void versions(void **state)
{
	char text[80];
	int version;

	(void)state;
	assert_int_equal(nvmlSystemGetDriverVersion(text, 80), NVML_SUCCESS);
	assert_string_equal(text, "580.0");
	memcpy(fake.state.texts.driver, "580.159.04", 11);
	assert_int_equal(nvmlSystemGetDriverVersion(text, 80), NVML_SUCCESS);
	assert_string_equal(text, "580.159.04");
	assert_int_equal(nvmlSystemGetDriverVersion(text, 10), NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(nvmlSystemGetNVMLVersion(text, 80), NVML_SUCCESS);
	assert_string_equal(text, "13.580.159.04");
	assert_int_equal(nvmlSystemGetNVMLVersion(NULL, 80), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlSystemGetCudaDriverVersion(&version), NVML_SUCCESS);
	assert_int_equal(version, 13000);
	assert_int_equal(nvmlSystemGetCudaDriverVersion_v2(NULL), NVML_ERROR_INVALID_ARGUMENT);
}

static void names_of_programs(void **state)
{
	unsigned int me = (unsigned int)getpid();
	char text[256], cut[4];

	(void)state;
	assert_int_equal(nvmlSystemGetProcessName(me, text, sizeof(text)), NVML_SUCCESS);
	assert_non_null(strstr(text, "test_libnvml_device"));
	assert_int_equal(nvmlSystemGetProcessName(me, cut, sizeof(cut)), NVML_SUCCESS);
	assert_memory_equal(cut, text, 3);
	assert_int_equal(cut[3], '\0');
	assert_int_equal(nvmlSystemGetProcessName(me, text, 0), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlSystemGetProcessName(me, NULL, 9), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlSystemGetProcessName(0x7fffffff, text, 9), NVML_ERROR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(by_index),	     TEST(by_uuid),	      TEST(by_address_and_serial),
		TEST(names),	     TEST(texts_of_the_card), TEST(pci_versions),
		TEST(architectures), TEST(versions),	      TEST(names_of_programs),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
