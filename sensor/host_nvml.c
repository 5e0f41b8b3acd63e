// SPDX-License-Identifier: Apache-2.0
// See the header. What is read stands in tables: a function's name, its arguments, and where its numbers go.
// Signatures are those of NVIDIA's documented interface; functions of one shape share a type.
#include "sensor/host_nvml.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/cuda/cuda_abi.h"

typedef nvmlReturn_t (*plain_fn)(void);
typedef nvmlReturn_t (*handle_fn)(const char *, nvmlDevice_t *);
typedef nvmlReturn_t (*u32_fn)(nvmlDevice_t, unsigned int *);
typedef nvmlReturn_t (*u32_of_fn)(nvmlDevice_t, unsigned int, unsigned int *);
typedef nvmlReturn_t (*u32_pair_fn)(nvmlDevice_t, unsigned int *, unsigned int *);
typedef nvmlReturn_t (*u64_fn)(nvmlDevice_t, unsigned long long *);
typedef nvmlReturn_t (*ecc_fn)(nvmlDevice_t, unsigned int, unsigned int, unsigned long long *);
typedef nvmlReturn_t (*rows_fn)(nvmlDevice_t, unsigned int *, unsigned int *, unsigned int *, unsigned int *);
typedef nvmlReturn_t (*fields_fn)(nvmlDevice_t, int, nvmlFieldValue_t *);
typedef nvmlReturn_t (*text_fn)(nvmlDevice_t, char *, unsigned int);
typedef nvmlReturn_t (*long_text_fn)(nvmlDevice_t, char *);
typedef nvmlReturn_t (*system_text_fn)(char *, unsigned int);
typedef nvmlReturn_t (*system_int_fn)(int *);
typedef nvmlReturn_t (*pci_fn)(nvmlDevice_t, nvmlPciInfo_t *);
typedef nvmlReturn_t (*bar1_fn)(nvmlDevice_t, nvmlBAR1Memory_t *);
typedef nvmlReturn_t (*memory_fn)(nvmlDevice_t, nvmlMemory_v2_t *);
typedef nvmlReturn_t (*utilisation_fn)(nvmlDevice_t, nvmlUtilization_t *);

#define MEMORY_V2_VERSION	 (sizeof(nvmlMemory_v2_t) | 2u << 24)
#define FIELD_MEMORY_TEMPERATURE 82 // NVML_FI_DEV_MEMORY_TEMP
#define NONE			 DEVICE_VALUES

// ---- the tables ----

enum shape { U32, U32_OF, U32_PAIR, U64 };

static const struct row {
	const char *symbol;
	enum shape shape;
	bool fixed;		// read once
	unsigned int which;	// U32_OF: the argument
	unsigned first, second; // enum device_value; second of U32_PAIR, may be NONE
} table[] = {
	{ "nvmlDeviceGetBrand", U32, true, 0, DEVICE_BRAND, NONE },
	{ "nvmlDeviceGetArchitecture", U32, true, 0, DEVICE_ARCHITECTURE, NONE },
	{ "nvmlDeviceGetBoardId", U32, true, 0, DEVICE_BOARD_ID, NONE },
	{ "nvmlDeviceGetMultiGpuBoard", U32, true, 0, DEVICE_MULTI_GPU_BOARD, NONE },
	{ "nvmlDeviceGetMinorNumber", U32, true, 0, DEVICE_MINOR_NUMBER, NONE },
	{ "nvmlDeviceGetNumaNodeId", U32, true, 0, DEVICE_NUMA_NODE, NONE },
	{ "nvmlDeviceGetNumGpuCores", U32, true, 0, DEVICE_GPU_CORES, NONE },
	{ "nvmlDeviceGetMemoryBusWidth", U32, true, 0, DEVICE_MEMORY_BUS_WIDTH, NONE },
	{ "nvmlDeviceGetIrqNum", U32, true, 0, DEVICE_IRQ, NONE },
	{ "nvmlDeviceGetNumFans", U32, true, 0, DEVICE_FANS, NONE },
	{ "nvmlDeviceGetPersistenceMode", U32, false, 0, DEVICE_PERSISTENCE_MODE, NONE },
	{ "nvmlDeviceGetComputeMode", U32, false, 0, DEVICE_COMPUTE_MODE, NONE },
	{ "nvmlDeviceGetDisplayMode", U32, false, 0, DEVICE_DISPLAY_MODE, NONE },
	{ "nvmlDeviceGetDisplayActive", U32, false, 0, DEVICE_DISPLAY_ACTIVE, NONE },
	{ "nvmlDeviceGetMigMode", U32_PAIR, false, 0, DEVICE_MIG_MODE, DEVICE_MIG_MODE_PENDING },
	{ "nvmlDeviceGetEccMode", U32_PAIR, false, 0, DEVICE_ECC_MODE, DEVICE_ECC_MODE_PENDING },
	{ "nvmlDeviceGetGspFirmwareMode", U32_PAIR, false, 0, DEVICE_GSP_MODE, DEVICE_GSP_MODE_DEFAULT },
	{ "nvmlDeviceGetTemperature", U32_OF, false, NVML_TEMPERATURE_GPU, DEVICE_TEMPERATURE, NONE },
	{ "nvmlDeviceGetTemperatureThreshold", U32_OF, true, NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
	  DEVICE_TEMPERATURE_SHUTDOWN, NONE },
	{ "nvmlDeviceGetTemperatureThreshold", U32_OF, true, NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
	  DEVICE_TEMPERATURE_SLOWDOWN, NONE },
	{ "nvmlDeviceGetTemperatureThreshold", U32_OF, true, NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
	  DEVICE_TEMPERATURE_GPU_MAX, NONE },
	{ "nvmlDeviceGetTemperatureThreshold", U32_OF, true, NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
	  DEVICE_TEMPERATURE_MEMORY_MAX, NONE },
	{ "nvmlDeviceGetFanSpeed", U32, false, 0, DEVICE_FAN_SPEED, NONE },
	{ "nvmlDeviceGetPerformanceState", U32, false, 0, DEVICE_PERFORMANCE_STATE, NONE },
	{ "nvmlDeviceGetPowerUsage", U32, false, 0, DEVICE_POWER_DRAW, NONE },
	{ "nvmlDeviceGetPowerManagementLimit", U32, false, 0, DEVICE_POWER_LIMIT, NONE },
	{ "nvmlDeviceGetEnforcedPowerLimit", U32, false, 0, DEVICE_POWER_LIMIT_ENFORCED, NONE },
	{ "nvmlDeviceGetPowerManagementDefaultLimit", U32, true, 0, DEVICE_POWER_LIMIT_DEFAULT, NONE },
	{ "nvmlDeviceGetPowerManagementLimitConstraints", U32_PAIR, true, 0, DEVICE_POWER_LIMIT_LEAST,
	  DEVICE_POWER_LIMIT_MOST },
	{ "nvmlDeviceGetTotalEnergyConsumption", U64, false, 0, DEVICE_ENERGY, NONE },
	{ "nvmlDeviceGetClockInfo", U32_OF, false, NVML_CLOCK_GRAPHICS, DEVICE_CLOCK_GRAPHICS, NONE },
	{ "nvmlDeviceGetClockInfo", U32_OF, false, NVML_CLOCK_SM, DEVICE_CLOCK_SM, NONE },
	{ "nvmlDeviceGetClockInfo", U32_OF, false, NVML_CLOCK_MEM, DEVICE_CLOCK_MEMORY, NONE },
	{ "nvmlDeviceGetClockInfo", U32_OF, false, NVML_CLOCK_VIDEO, DEVICE_CLOCK_VIDEO, NONE },
	{ "nvmlDeviceGetMaxClockInfo", U32_OF, true, NVML_CLOCK_GRAPHICS, DEVICE_CLOCK_GRAPHICS_MAX, NONE },
	{ "nvmlDeviceGetMaxClockInfo", U32_OF, true, NVML_CLOCK_SM, DEVICE_CLOCK_SM_MAX, NONE },
	{ "nvmlDeviceGetMaxClockInfo", U32_OF, true, NVML_CLOCK_MEM, DEVICE_CLOCK_MEMORY_MAX, NONE },
	{ "nvmlDeviceGetMaxClockInfo", U32_OF, true, NVML_CLOCK_VIDEO, DEVICE_CLOCK_VIDEO_MAX, NONE },
	{ "nvmlDeviceGetDefaultApplicationsClock", U32_OF, true, NVML_CLOCK_GRAPHICS,
	  DEVICE_CLOCK_DEFAULT_GRAPHICS, NONE },
	{ "nvmlDeviceGetDefaultApplicationsClock", U32_OF, true, NVML_CLOCK_MEM, DEVICE_CLOCK_DEFAULT_MEMORY,
	  NONE },
	{ "nvmlDeviceGetApplicationsClock", U32_OF, false, NVML_CLOCK_GRAPHICS,
	  DEVICE_CLOCK_APPLICATION_GRAPHICS, NONE },
	{ "nvmlDeviceGetApplicationsClock", U32_OF, false, NVML_CLOCK_MEM, DEVICE_CLOCK_APPLICATION_MEMORY,
	  NONE },
	{ "nvmlDeviceGetCurrentClocksThrottleReasons", U64, false, 0, DEVICE_CLOCK_REASONS, NONE },
	{ "nvmlDeviceGetSupportedClocksThrottleReasons", U64, true, 0, DEVICE_CLOCK_REASONS_SUPPORTED, NONE },
	{ "nvmlDeviceGetCurrPcieLinkGeneration", U32, false, 0, DEVICE_PCIE_GENERATION, NONE },
	{ "nvmlDeviceGetMaxPcieLinkGeneration", U32, true, 0, DEVICE_PCIE_GENERATION_MAX, NONE },
	{ "nvmlDeviceGetGpuMaxPcieLinkGeneration", U32, true, 0, DEVICE_PCIE_GENERATION_DEVICE_MAX, NONE },
	{ "nvmlDeviceGetCurrPcieLinkWidth", U32, false, 0, DEVICE_PCIE_WIDTH, NONE },
	{ "nvmlDeviceGetMaxPcieLinkWidth", U32, true, 0, DEVICE_PCIE_WIDTH_MAX, NONE },
	{ "nvmlDeviceGetPcieReplayCounter", U32, false, 0, DEVICE_PCIE_REPLAYS, NONE },
	{ "nvmlDeviceGetPcieThroughput", U32_OF, false, NVML_PCIE_UTIL_RX_BYTES, DEVICE_CARD_PCIE_RECEIVED,
	  NONE },
	{ "nvmlDeviceGetPcieThroughput", U32_OF, false, NVML_PCIE_UTIL_TX_BYTES, DEVICE_CARD_PCIE_SENT,
	  NONE },
};

#define ROWS (sizeof(table) / sizeof(table[0]))

// ---- calls ----

// What a function answered counts: noted when the card is gone.
static bool good(struct host_nvml *n, nvmlReturn_t result)
{
	if (result == NVML_ERROR_GPU_IS_LOST || result == NVML_ERROR_RESET_REQUIRED)
		n->lost = true;
	return result == NVML_SUCCESS;
}

static void *find(const struct host_nvml *n, const char *symbol)
{
	return dlsym(n->library, symbol);
}

// All ones is the library's word for a number that it does not have.
static void set_u32(struct device_values *v, unsigned which, unsigned int value)
{
	if (which != NONE && value != UINT32_MAX)
		device_value_set(v, which, value);
}

static void set_u64(struct device_values *v, unsigned which, unsigned long long value)
{
	if (value != UINT64_MAX)
		device_value_set(v, which, value);
}

static void read_row(struct host_nvml *n, const struct row *r, struct device_values *v)
{
	void *call = find(n, r->symbol);
	unsigned long long wide = 0;
	unsigned int first = 0, second = 0;
	nvmlReturn_t result = NVML_ERROR_FUNCTION_NOT_FOUND;

	if (!call)
		return;
	switch (r->shape) {
	case U32: result = ((u32_fn)call)(n->device, &first); break;
	case U32_OF: result = ((u32_of_fn)call)(n->device, r->which, &first); break;
	case U32_PAIR: result = ((u32_pair_fn)call)(n->device, &first, &second); break;
	case U64: result = ((u64_fn)call)(n->device, &wide); break;
	}
	if (!good(n, result))
		return;
	if (r->shape == U64) {
		set_u64(v, r->first, wide);
		return;
	}
	set_u32(v, r->first, first);
	set_u32(v, r->second, second);
}

// ---- what has a shape of its own ----

static void read_pci(struct host_nvml *n, struct device_values *v)
{
	pci_fn call = (pci_fn)find(n, "nvmlDeviceGetPciInfo_v3");
	nvmlPciInfo_t pci = { 0 };

	if (!call || !good(n, call(n->device, &pci)))
		return;
	device_value_set(v, DEVICE_PCI_DOMAIN, pci.domain);
	device_value_set(v, DEVICE_PCI_BUS, pci.bus);
	device_value_set(v, DEVICE_PCI_DEVICE, pci.device);
	device_value_set(v, DEVICE_PCI_ID, pci.pciDeviceId);
	device_value_set(v, DEVICE_PCI_SUBSYSTEM_ID, pci.pciSubSystemId);
}

static void read_memory(struct host_nvml *n, struct device_values *v)
{
	memory_fn call = (memory_fn)find(n, "nvmlDeviceGetMemoryInfo_v2");
	bar1_fn bar1_call = (bar1_fn)find(n, "nvmlDeviceGetBAR1MemoryInfo");
	nvmlMemory_v2_t m = { .version = MEMORY_V2_VERSION };
	nvmlBAR1Memory_t bar1 = { 0 };

	if (call && good(n, call(n->device, &m))) {
		device_value_set(v, DEVICE_CARD_MEMORY_TOTAL, m.total);
		device_value_set(v, DEVICE_CARD_MEMORY_RESERVED, m.reserved);
		device_value_set(v, DEVICE_CARD_MEMORY_FREE, m.free);
		device_value_set(v, DEVICE_CARD_MEMORY_USED, m.used);
	}
	if (bar1_call && good(n, bar1_call(n->device, &bar1))) {
		device_value_set(v, DEVICE_BAR1_TOTAL, bar1.bar1Total);
		device_value_set(v, DEVICE_CARD_BAR1_USED, bar1.bar1Used);
	}
}

static void read_utilisation(struct host_nvml *n, struct device_values *v)
{
	utilisation_fn call = (utilisation_fn)find(n, "nvmlDeviceGetUtilizationRates");
	nvmlUtilization_t u = { 0 };

	if (!call || !good(n, call(n->device, &u)))
		return;
	device_value_set(v, DEVICE_CARD_GPU_UTILISATION, u.gpu);
	device_value_set(v, DEVICE_CARD_MEMORY_UTILISATION, u.memory);
}

static void read_errors(struct host_nvml *n, struct device_values *v)
{
	static const struct {
		unsigned int error, counter;
		enum device_value value;
	} counts[] = {
		{ NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_VOLATILE_ECC, DEVICE_ECC_VOLATILE_CORRECTED },
		{ NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC, DEVICE_ECC_VOLATILE_UNCORRECTED },
		{ NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_AGGREGATE_ECC, DEVICE_ECC_AGGREGATE_CORRECTED },
		{ NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_AGGREGATE_ECC, DEVICE_ECC_AGGREGATE_UNCORRECTED },
	};
	ecc_fn call = (ecc_fn)find(n, "nvmlDeviceGetTotalEccErrors");
	rows_fn rows = (rows_fn)find(n, "nvmlDeviceGetRemappedRows");
	unsigned int corrected = 0, uncorrected = 0, pending = 0, failed = 0;

	for (size_t i = 0; call && i < sizeof(counts) / sizeof(counts[0]); i++) {
		unsigned long long count = 0;

		if (good(n, call(n->device, counts[i].error, counts[i].counter, &count)))
			set_u64(v, counts[i].value, count);
	}
	if (!rows || !good(n, rows(n->device, &corrected, &uncorrected, &pending, &failed)))
		return;
	device_value_set(v, DEVICE_REMAPPED_CORRECTED, corrected);
	device_value_set(v, DEVICE_REMAPPED_UNCORRECTED, uncorrected);
	device_value_set(v, DEVICE_REMAPPED_PENDING, pending);
	device_value_set(v, DEVICE_REMAPPED_FAILED, failed);
}

static void read_fields(struct host_nvml *n, struct device_values *v)
{
	fields_fn call = (fields_fn)find(n, "nvmlDeviceGetFieldValues");
	nvmlFieldValue_t field = { .fieldId = FIELD_MEMORY_TEMPERATURE };

	if (call && good(n, call(n->device, 1, &field)) && good(n, (nvmlReturn_t)field.nvmlReturn) &&
	    field.valueType == NVML_VALUE_TYPE_UNSIGNED_INT)
		set_u32(v, DEVICE_TEMPERATURE_MEMORY, field.value.uiVal);
}

static void read_system(struct host_nvml *n, struct device_texts *texts, struct device_values *v)
{
	system_text_fn driver = (system_text_fn)find(n, "nvmlSystemGetDriverVersion");
	system_int_fn cuda = (system_int_fn)find(n, "nvmlSystemGetCudaDriverVersion_v2");
	int version = 0;

	if (driver && !good(n, driver(texts->driver, sizeof(texts->driver))))
		texts->driver[0] = 0;
	if (cuda && good(n, cuda(&version)) && version > 0)
		device_value_set(v, DEVICE_CUDA_DRIVER_VERSION, (uint64_t)version);
}

static void read_text(struct host_nvml *n, const char *symbol, char *ret, size_t bytes)
{
	text_fn call = (text_fn)find(n, symbol);

	if (call && !good(n, call(n->device, ret, (unsigned int)bytes)))
		ret[0] = 0;
	ret[bytes - 1] = 0;
}

static void read_texts(struct host_nvml *n, struct device_texts *t)
{
	long_text_fn gsp = (long_text_fn)find(n, "nvmlDeviceGetGspFirmwareVersion");

	read_text(n, "nvmlDeviceGetVbiosVersion", t->vbios, sizeof(t->vbios));
	read_text(n, "nvmlDeviceGetSerial", t->serial, sizeof(t->serial));
	read_text(n, "nvmlDeviceGetBoardPartNumber", t->board_part, sizeof(t->board_part));
	read_text(n, "nvmlDeviceGetInforomImageVersion", t->inforom_image, sizeof(t->inforom_image));
	// This one takes no length: its caller gives 64 bytes.
	static_assert(sizeof(t->gsp_firmware) >= 64, "nvmlDeviceGetGspFirmwareVersion");
	if (gsp && !good(n, gsp(n->device, t->gsp_firmware)))
		t->gsp_firmware[0] = 0;
}

int host_nvml_read(struct host_nvml *n, struct device_texts *texts, struct device_values *values)
{
	memset(texts, 0, sizeof(*texts));
	memset(values, 0, sizeof(*values));
	n->lost = false;
	for (size_t i = 0; i < ROWS && !n->lost; i++) {
		if (!table[i].fixed || !n->fixed_read)
			read_row(n, &table[i], values);
	}
	read_pci(n, values);
	read_memory(n, values);
	read_utilisation(n, values);
	read_errors(n, values);
	read_fields(n, values);
	read_system(n, texts, values);
	read_texts(n, texts);
	if (n->lost) {
		memset(texts, 0, sizeof(*texts));
		memset(values, 0, sizeof(*values));
		return -EIO;
	}
	n->fixed_read = true;
	return 0;
}

// ---- start ----

static nvmlReturn_t find_device(struct host_nvml *n, const struct device_identity *identity)
{
	handle_fn by_uuid = (handle_fn)find(n, "nvmlDeviceGetHandleByUUID");
	handle_fn by_place = (handle_fn)find(n, "nvmlDeviceGetHandleByPciBusId_v2");
	const uint8_t *u = identity->uuid;
	const int32_t *a = identity->attributes;
	nvmlReturn_t result = NVML_ERROR_FUNCTION_NOT_FOUND;
	char text[64];

	snprintf(text, sizeof(text),
		 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
		 u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	if (by_uuid)
		result = by_uuid(text, &n->device);
	if (result == NVML_SUCCESS || !by_place)
		return result;
	snprintf(text, sizeof(text), "%08x:%02x:%02x.0", (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
		 (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID], (unsigned)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]);
	return by_place(text, &n->device);
}

int host_nvml_open(struct host_nvml *n, const struct device_identity *identity, char *why, size_t why_bytes)
{
	const char *path = getenv(HOST_NVML_ENV);
	nvmlReturn_t result = NVML_ERROR_FUNCTION_NOT_FOUND;
	plain_fn init;

	*n = (struct host_nvml){ 0 };
	if (!path || !*path)
		path = "libnvidia-ml.so.1";
	n->library = dlopen(path, RTLD_NOW | RTLD_LOCAL); // stays until the process ends
	if (!n->library) {
		snprintf(why, why_bytes, "%s", dlerror());
		return -ENOENT;
	}
	init = (plain_fn)find(n, "nvmlInit_v2");
	if (init)
		result = init();
	if (result == NVML_SUCCESS)
		result = find_device(n, identity);
	if (result == NVML_SUCCESS)
		return 0;
	snprintf(why, why_bytes, "%s: NVML error %d", path, (int)result);
	return -ENOENT;
}
