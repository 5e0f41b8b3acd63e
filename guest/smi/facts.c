// SPDX-License-Identifier: Apache-2.0
// How each fact of facts.def is asked of NVML and written. A getter writes a value without its unit and
// answers false when the library does not tell it. Runs in nvidia-smi, one thread.
#include "guest/smi/facts.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum pci_part {
	PCI_DOMAIN,
	PCI_BUS,
	PCI_DEVICE,
	PCI_BASE_CLASS,
	PCI_SUB_CLASS,
	PCI_DEVICE_ID,
	PCI_SUBSYSTEM_ID
};
enum memory_part { MEMORY_TOTAL, MEMORY_RESERVED, MEMORY_USED, MEMORY_FREE };
enum reasons_part { REASONS_SUPPORTED, REASONS_ACTIVE };
enum remapped_part {
	REMAPPED_CORRECTED,
	REMAPPED_CORRECTED_INACTIVE,
	REMAPPED_UNCORRECTED,
	REMAPPED_UNCORRECTED_INACTIVE,
	REMAPPED_PENDING,
	REMAPPED_FAILURE
};
enum power_part {
	POWER_DRAW,
	POWER_LIMIT,
	POWER_LIMIT_ENFORCED,
	POWER_LIMIT_DEFAULT,
	POWER_LIMIT_MIN,
	POWER_LIMIT_MAX
};
enum utilization_part {
	UTILIZATION_GPU,
	UTILIZATION_MEMORY,
	UTILIZATION_ENCODER,
	UTILIZATION_DECODER,
	UTILIZATION_JPEG,
	UTILIZATION_OFA
};
enum pcie_part {
	PCIE_GENERATION,
	PCIE_GENERATION_MAX,
	PCIE_GENERATION_GPU_MAX,
	PCIE_WIDTH,
	PCIE_WIDTH_MAX,
	PCIE_REPLAYS,
	PCIE_SENT,
	PCIE_RECEIVED
};
enum mode {
	MODE_PERSISTENCE,
	MODE_DISPLAY,
	MODE_DISPLAY_ACTIVE,
	MODE_ACCOUNTING,
	MODE_POWER_MANAGEMENT,
	MODE_RETIRED_PENDING
};
enum clock_kind { CLOCK_CURRENT, CLOCK_APPLICATION, CLOCK_DEFAULT, CLOCK_MAX, CLOCK_BOOST };

// Two and three small numbers in a fact's one argument.
#define CLOCK(kind, domain) (CLOCK_##kind << 8 | NVML_CLOCK_##domain)
#define ECC(error, counter, location) \
	(NVML_MEMORY_ERROR_TYPE_##error << 16 | NVML_##counter##_ECC << 8 | NVML_MEMORY_LOCATION_##location)

static bool put(char *value, nvmlReturn_t result, const char *text)
{
	if (result)
		return false;
	snprintf(value, SMI_VALUE_BYTES, "%s", text);
	return true;
}

static bool put_number(char *value, nvmlReturn_t result, unsigned long long number)
{
	if (result)
		return false;
	snprintf(value, SMI_VALUE_BYTES, "%llu", number);
	return true;
}

static bool put_mib(char *value, nvmlReturn_t result, unsigned long long bytes)
{
	return put_number(value, result, smi_mib(bytes));
}

static bool put_watts(char *value, nvmlReturn_t result, unsigned int milliwatts)
{
	if (result)
		return false;
	snprintf(value, SMI_VALUE_BYTES, "%.2f", milliwatts / 1000.0);
	return true;
}

// The name of a value in a list of names without holes.
static bool put_name(char *value, nvmlReturn_t result, unsigned int number, const char *const *names,
		     size_t count)
{
	return put(value, result, number < count && names[number] ? names[number] : "Unknown");
}
#define NAMES(list) (list), sizeof(list) / sizeof((list)[0])

static bool unknown(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	(void)gpu, (void)arg, (void)value;
	return false;
}

// Of cards without NVLink's fabric, which is all that a tenant sees: the driver's tool says so without
// brackets.
static bool no_fabric(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	(void)gpu, (void)arg;
	return put(value, NVML_SUCCESS, "N/A");
}

// The driver's own answer since display_mode has no meaning any more.
static bool deprecated(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	(void)gpu, (void)arg;
	return put(value, NVML_SUCCESS, "Requested functionality has been deprecated");
}

// ---- identity ----

static bool timestamp(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	struct timespec now;
	struct tm tm;
	char day[32];

	(void)gpu, (void)arg;
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(day, sizeof(day), "%Y/%m/%d %H:%M:%S", localtime_r(&now.tv_sec, &tm));
	snprintf(value, SMI_VALUE_BYTES, "%s.%03ld", day, now.tv_nsec / 1000000);
	return true;
}

static bool driver_version(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	(void)gpu, (void)arg;
	return !NVML(nvmlSystemGetDriverVersion, value, NVML_DRIVER_VERSION_BYTES);
}

static bool count(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	unsigned int n = 0;

	(void)gpu, (void)arg;
	result = NVML(nvmlDeviceGetCount_v2, &n);
	return put_number(value, result, n);
}

// What NVML gives as a text in a buffer of a known size.
#define TEXT_FACT(function, nvml_function, bytes)                                      \
	static bool function(const struct smi_gpu *gpu, unsigned int arg, char *value) \
	{                                                                              \
		(void)arg;                                                             \
		return !NVML(nvml_function, gpu->handle, value, bytes);                \
	}
TEXT_FACT(name, nvmlDeviceGetName, NVML_NAME_BYTES)
TEXT_FACT(serial, nvmlDeviceGetSerial, NVML_SERIAL_BYTES)
TEXT_FACT(uuid, nvmlDeviceGetUUID, NVML_UUID_BYTES)
TEXT_FACT(vbios_version, nvmlDeviceGetVbiosVersion, NVML_VBIOS_BYTES)
TEXT_FACT(inforom_image, nvmlDeviceGetInforomImageVersion, NVML_INFOROM_BYTES)
TEXT_FACT(board_part, nvmlDeviceGetBoardPartNumber, NVML_PART_NUMBER_BYTES)

static bool gsp_version(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	(void)arg;
	return !NVML(nvmlDeviceGetGspFirmwareVersion, gpu->handle, value);
}

static bool index_number(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	(void)arg;
	return put_number(value, NVML_SUCCESS, gpu->index);
}

// What NVML gives as one unsigned number.
#define NUMBER_FACT(function, nvml_function, format)                                   \
	static bool function(const struct smi_gpu *gpu, unsigned int arg, char *value) \
	{                                                                              \
		unsigned int n = 0;                                                    \
                                                                                       \
		(void)arg;                                                             \
		if (NVML(nvml_function, gpu->handle, &n))                              \
			return false;                                                  \
		snprintf(value, SMI_VALUE_BYTES, format, n);                           \
		return true;                                                           \
	}
NUMBER_FACT(minor_number, nvmlDeviceGetMinorNumber, "%u")
NUMBER_FACT(module_id, nvmlDeviceGetModuleId, "%u")
NUMBER_FACT(board_id, nvmlDeviceGetBoardId, "0x%x")
NUMBER_FACT(accounting_buffer, nvmlDeviceGetAccountingBufferSize, "%u")
NUMBER_FACT(fan_speed, nvmlDeviceGetFanSpeed, "%u")

static bool pci_bus_id(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	nvmlPciInfo_t pci = { 0 };

	(void)arg;
	result = NVML(nvmlDeviceGetPciInfo_v3, gpu->handle, &pci);
	return put(value, result, pci.busId);
}

static bool pci_number(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlPciInfoExt_t pci = { .version = NVML_VERSION(nvmlPciInfoExt_t, 1) };
	nvmlReturn_t result = NVML(nvmlDeviceGetPciInfoExt, gpu->handle, &pci);

	if (result)
		return false;
	switch ((enum pci_part)part) {
	case PCI_DOMAIN: snprintf(value, SMI_VALUE_BYTES, "0x%04X", pci.domain); break;
	case PCI_BUS: snprintf(value, SMI_VALUE_BYTES, "0x%02X", pci.bus); break;
	case PCI_DEVICE: snprintf(value, SMI_VALUE_BYTES, "0x%02X", pci.device); break;
	case PCI_BASE_CLASS: snprintf(value, SMI_VALUE_BYTES, "0x%X", pci.baseClass); break;
	case PCI_SUB_CLASS: snprintf(value, SMI_VALUE_BYTES, "0x%X", pci.subClass); break;
	case PCI_DEVICE_ID: snprintf(value, SMI_VALUE_BYTES, "0x%08X", pci.pciDeviceId); break;
	case PCI_SUBSYSTEM_ID: snprintf(value, SMI_VALUE_BYTES, "0x%08X", pci.pciSubSystemId); break;
	}
	return true;
}

static bool brand(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	static const char *const names[] = { "Unknown",
					     "Quadro",
					     "Tesla",
					     "NVS",
					     "GRID",
					     "GeForce",
					     "Titan",
					     [NVML_BRAND_QUADRO_RTX] = "Quadro RTX",
					     [NVML_BRAND_NVIDIA_RTX] = "NVIDIA RTX",
					     [NVML_BRAND_NVIDIA] = "NVIDIA",
					     [NVML_BRAND_GEFORCE_RTX] = "GeForce RTX",
					     [NVML_BRAND_TITAN_RTX] = "Titan RTX" };
	nvmlBrandType_t n = 0;

	(void)arg;
	result = NVML(nvmlDeviceGetBrand, gpu->handle, &n);
	return put_name(value, result, n, NAMES(names));
}

static bool architecture(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	static const char *const names[] = {
		[NVML_DEVICE_ARCH_KEPLER] = "Kepler",	   [NVML_DEVICE_ARCH_MAXWELL] = "Maxwell",
		[NVML_DEVICE_ARCH_PASCAL] = "Pascal",	   [NVML_DEVICE_ARCH_VOLTA] = "Volta",
		[NVML_DEVICE_ARCH_TURING] = "Turing",	   [NVML_DEVICE_ARCH_AMPERE] = "Ampere",
		[NVML_DEVICE_ARCH_ADA] = "Ada Lovelace",   [NVML_DEVICE_ARCH_HOPPER] = "Hopper",
		[NVML_DEVICE_ARCH_BLACKWELL] = "Blackwell"
	};
	nvmlDeviceArchitecture_t n = 0;

	(void)arg;
	result = NVML(nvmlDeviceGetArchitecture, gpu->handle, &n);
	return put_name(value, result, n, NAMES(names));
}

static bool compute_capability(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	int major = 0, minor = 0;

	(void)arg;
	if (NVML(nvmlDeviceGetCudaComputeCapability, gpu->handle, &major, &minor))
		return false;
	snprintf(value, SMI_VALUE_BYTES, "%d.%d", major, minor);
	return true;
}

static bool multi_gpu_board(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	unsigned int multiple = 0;

	(void)arg;
	result = NVML(nvmlDeviceGetMultiGpuBoard, gpu->handle, &multiple);
	return put(value, result, multiple ? "Yes" : "No");
}

// ---- modes ----

static nvmlReturn_t ask_mode(const struct smi_gpu *gpu, enum mode mode, nvmlEnableState_t *on)
{
	switch (mode) {
	case MODE_PERSISTENCE: return NVML(nvmlDeviceGetPersistenceMode, gpu->handle, on);
	case MODE_DISPLAY: return NVML(nvmlDeviceGetDisplayMode, gpu->handle, on);
	case MODE_DISPLAY_ACTIVE: return NVML(nvmlDeviceGetDisplayActive, gpu->handle, on);
	case MODE_ACCOUNTING: return NVML(nvmlDeviceGetAccountingMode, gpu->handle, on);
	case MODE_POWER_MANAGEMENT: return NVML(nvmlDeviceGetPowerManagementMode, gpu->handle, on);
	case MODE_RETIRED_PENDING: return NVML(nvmlDeviceGetRetiredPagesPendingStatus, gpu->handle, on);
	}
	return NVML_ERROR_NOT_SUPPORTED;
}

static bool enabled(const struct smi_gpu *gpu, unsigned int mode, char *value)
{
	nvmlReturn_t result;
	nvmlEnableState_t on = 0;

	result = ask_mode(gpu, (enum mode)mode, &on);
	return put(value, result, on ? "Enabled" : "Disabled");
}

static bool yes_no(const struct smi_gpu *gpu, unsigned int mode, char *value)
{
	nvmlReturn_t result;
	nvmlEnableState_t on = 0;

	result = ask_mode(gpu, (enum mode)mode, &on);
	return put(value, result, on ? "Yes" : "No");
}

static bool addressing_mode(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	static const char *const names[] = { "None", "HMM", "ATS" };
	nvmlDeviceAddressingMode_t mode = { .version = NVML_VERSION(nvmlDeviceAddressingMode_t, 1) };

	(void)arg;
	result = NVML(nvmlDeviceGetAddressingMode, gpu->handle, &mode);
	return put_name(value, result, mode.value, NAMES(names));
}

static bool compute_mode(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	static const char *const names[] = { "Default", "Exclusive_Thread", "Prohibited",
					     "Exclusive_Process" };
	nvmlComputeMode_t mode = 0;

	(void)arg;
	result = NVML(nvmlDeviceGetComputeMode, gpu->handle, &mode);
	return put_name(value, result, mode, NAMES(names));
}

static bool virtualization(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	static const char *const names[] = { "None", "Pass-Through", "VGPU", "Host VGPU", "Host VSGA" };
	nvmlGpuVirtualizationMode_t mode = 0;

	(void)arg;
	result = NVML(nvmlDeviceGetVirtualizationMode, gpu->handle, &mode);
	return put_name(value, result, mode, NAMES(names));
}

static bool ecc_mode(const struct smi_gpu *gpu, unsigned int pending, char *value)
{
	nvmlReturn_t result;
	nvmlEnableState_t on[2] = { 0 };

	result = NVML(nvmlDeviceGetEccMode, gpu->handle, &on[0], &on[1]);
	return put(value, result, on[pending] ? "Enabled" : "Disabled");
}

static bool mig_mode(const struct smi_gpu *gpu, unsigned int pending, char *value)
{
	nvmlReturn_t result;
	unsigned int on[2] = { 0 };

	result = NVML(nvmlDeviceGetMigMode, gpu->handle, &on[0], &on[1]);
	return put(value, result, on[pending] ? "Enabled" : "Disabled");
}

static bool gsp_mode(const struct smi_gpu *gpu, unsigned int by_default, char *value)
{
	nvmlReturn_t result;
	unsigned int on[2] = { 0 };

	result = NVML(nvmlDeviceGetGspFirmwareMode, gpu->handle, &on[0], &on[1]);
	return put(value, result, on[by_default] ? "Enabled" : "Disabled");
}

static bool c2c_mode(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	nvmlC2cModeInfo_v1_t info = { 0 };

	(void)arg;
	result = NVML(nvmlDeviceGetC2cModeInfoV, gpu->handle, &info);
	return put(value, result, info.isC2cEnabled ? "Enabled" : "Disabled");
}

// ---- memory and load ----

static bool memory(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlMemory_v2_t m = { .version = NVML_VERSION(nvmlMemory_v2_t, 2) };
	nvmlReturn_t result = NVML(nvmlDeviceGetMemoryInfo_v2, gpu->handle, &m);
	const unsigned long long parts[] = { m.total, m.reserved, m.used, m.free };

	return put_mib(value, result, parts[part]);
}

static bool bar1(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlBAR1Memory_t m = { 0 };
	nvmlReturn_t result = NVML(nvmlDeviceGetBAR1MemoryInfo, gpu->handle, &m);
	const unsigned long long parts[] = { m.bar1Total, 0, m.bar1Used, m.bar1Free };

	return put_mib(value, result, parts[part]);
}

static bool protected_memory(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlMemory_t m = { 0 };
	nvmlReturn_t result = NVML(nvmlDeviceGetConfComputeProtectedMemoryUsage, gpu->handle, &m);
	const unsigned long long parts[] = { m.total, 0, m.used, m.free };

	return put_mib(value, result, parts[part]);
}

static bool utilization(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlUtilization_t both = { 0 };
	unsigned int percent = 0, period = 0;
	nvmlReturn_t result = NVML_ERROR_NOT_SUPPORTED;

	switch ((enum utilization_part)part) {
	case UTILIZATION_GPU:
	case UTILIZATION_MEMORY:
		result = NVML(nvmlDeviceGetUtilizationRates, gpu->handle, &both);
		percent = part == UTILIZATION_GPU ? both.gpu : both.memory;
		break;
	case UTILIZATION_ENCODER:
		result = NVML(nvmlDeviceGetEncoderUtilization, gpu->handle, &percent, &period);
		break;
	case UTILIZATION_DECODER:
		result = NVML(nvmlDeviceGetDecoderUtilization, gpu->handle, &percent, &period);
		break;
	case UTILIZATION_JPEG:
		result = NVML(nvmlDeviceGetJpgUtilization, gpu->handle, &percent, &period);
		break;
	case UTILIZATION_OFA:
		result = NVML(nvmlDeviceGetOfaUtilization, gpu->handle, &percent, &period);
		break;
	}
	return put_number(value, result, percent);
}

static bool encoder(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlReturn_t result;
	unsigned int n[3] = { 0 };

	result = NVML(nvmlDeviceGetEncoderStats, gpu->handle, &n[0], &n[1], &n[2]);
	return put_number(value, result, n[part]);
}

static bool fbc(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlFBCStats_t s = { 0 };
	nvmlReturn_t result = NVML(nvmlDeviceGetFBCStats, gpu->handle, &s);
	const unsigned int n[] = { s.sessionsCount, s.averageFPS, s.averageLatency };

	return put_number(value, result, n[part]);
}

// ---- clocks, power, temperature ----

static bool performance_state(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlPstates_t state = NVML_PSTATE_UNKNOWN;

	(void)arg;
	if (NVML(nvmlDeviceGetPerformanceState, gpu->handle, &state) || state > NVML_PSTATE_15)
		return false;
	snprintf(value, SMI_VALUE_BYTES, "P%u", state);
	return true;
}

static bool clock_reasons(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	unsigned long long mask = 0;
	nvmlReturn_t result = part == REASONS_SUPPORTED
				  ? NVML(nvmlDeviceGetSupportedClocksEventReasons, gpu->handle, &mask)
				  : NVML(nvmlDeviceGetCurrentClocksEventReasons, gpu->handle, &mask);

	if (result)
		return false;
	snprintf(value, SMI_VALUE_BYTES, "0x%016llX", mask);
	return true;
}

static bool clock_reason(const struct smi_gpu *gpu, unsigned int reason, char *value)
{
	nvmlReturn_t result;
	unsigned long long supported = 0, active = 0;

	if (NVML(nvmlDeviceGetSupportedClocksEventReasons, gpu->handle, &supported) || !(supported & reason))
		return false;
	result = NVML(nvmlDeviceGetCurrentClocksEventReasons, gpu->handle, &active);
	return put(value, result, active & reason ? "Active" : "Not Active");
}

static bool clock_mhz(const struct smi_gpu *gpu, unsigned int which, char *value)
{
	unsigned int mhz = 0, domain = which & 0xff;
	nvmlReturn_t result = NVML_ERROR_NOT_SUPPORTED;

	switch ((enum clock_kind)(which >> 8)) {
	case CLOCK_CURRENT: result = NVML(nvmlDeviceGetClockInfo, gpu->handle, domain, &mhz); break;
	case CLOCK_APPLICATION:
		result = NVML(nvmlDeviceGetApplicationsClock, gpu->handle, domain, &mhz);
		break;
	case CLOCK_DEFAULT:
		result = NVML(nvmlDeviceGetDefaultApplicationsClock, gpu->handle, domain, &mhz);
		break;
	case CLOCK_MAX: result = NVML(nvmlDeviceGetMaxClockInfo, gpu->handle, domain, &mhz); break;
	case CLOCK_BOOST: result = NVML(nvmlDeviceGetMaxCustomerBoostClock, gpu->handle, domain, &mhz); break;
	}
	return put_number(value, result, mhz);
}

static bool power(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	unsigned int milliwatts = 0, lowest = 0, highest = 0;
	nvmlReturn_t result = NVML_ERROR_NOT_SUPPORTED;

	switch ((enum power_part)part) {
	case POWER_DRAW: result = NVML(nvmlDeviceGetPowerUsage, gpu->handle, &milliwatts); break;
	case POWER_LIMIT: result = NVML(nvmlDeviceGetPowerManagementLimit, gpu->handle, &milliwatts); break;
	case POWER_LIMIT_ENFORCED:
		result = NVML(nvmlDeviceGetEnforcedPowerLimit, gpu->handle, &milliwatts);
		break;
	case POWER_LIMIT_DEFAULT:
		result = NVML(nvmlDeviceGetPowerManagementDefaultLimit, gpu->handle, &milliwatts);
		break;
	case POWER_LIMIT_MIN:
	case POWER_LIMIT_MAX:
		result = NVML(nvmlDeviceGetPowerManagementLimitConstraints, gpu->handle, &lowest, &highest);
		milliwatts = part == POWER_LIMIT_MIN ? lowest : highest;
		break;
	}
	return put_watts(value, result, milliwatts);
}

static nvmlReturn_t ask_field(const struct smi_gpu *gpu, unsigned int id, nvmlFieldValue_t *f)
{
	nvmlReturn_t result;

	memset(f, 0, sizeof(*f));
	f->fieldId = id;
	result = NVML(nvmlDeviceGetFieldValues, gpu->handle, 1, f);
	return result ? result : f->nvmlReturn;
}

static bool power_field(const struct smi_gpu *gpu, unsigned int id, char *value)
{
	nvmlFieldValue_t f;
	nvmlReturn_t result = ask_field(gpu, id, &f);

	return put_watts(value, result, f.value.uiVal);
}

static bool field(const struct smi_gpu *gpu, unsigned int id, char *value)
{
	nvmlFieldValue_t f;
	nvmlReturn_t result = ask_field(gpu, id, &f);

	return put_number(value, result, f.value.uiVal);
}

static bool recovery_action(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	static const char *const names[] = { "None", "Reset", "Reboot", "Drain P2P", "Drain and Reset" };
	nvmlFieldValue_t f;
	nvmlReturn_t result = ask_field(gpu, NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, &f);

	(void)arg;
	return put_name(value, result, f.value.uiVal, NAMES(names));
}

static bool temperature(const struct smi_gpu *gpu, unsigned int arg, char *value)
{
	nvmlReturn_t result;
	unsigned int degrees = 0;

	(void)arg;
	result = NVML(nvmlDeviceGetTemperature, gpu->handle, NVML_TEMPERATURE_GPU, &degrees);
	return put_number(value, result, degrees);
}

static bool temperature_threshold(const struct smi_gpu *gpu, unsigned int type, char *value)
{
	nvmlReturn_t result;
	unsigned int degrees = 0;

	result = NVML(nvmlDeviceGetTemperatureThreshold, gpu->handle, type, &degrees);
	return put_number(value, result, degrees);
}

// ---- errors and PCIe ----

static bool ecc_errors(const struct smi_gpu *gpu, unsigned int which, char *value)
{
	unsigned int error = which >> 16, counter = which >> 8 & 0xff, location = which & 0xff;
	unsigned long long n = 0;
	nvmlReturn_t result =
	    location == NVML_MEMORY_LOCATION_COUNT
		? NVML(nvmlDeviceGetTotalEccErrors, gpu->handle, error, counter, &n)
		: NVML(nvmlDeviceGetMemoryErrorCounter, gpu->handle, error, counter, location, &n);

	return put_number(value, result, n);
}

static bool retired_pages(const struct smi_gpu *gpu, unsigned int cause, char *value)
{
	unsigned int n = 0;
	nvmlReturn_t result = NVML(nvmlDeviceGetRetiredPages, gpu->handle, cause, &n, NULL);

	return put_number(value, result == NVML_ERROR_INSUFFICIENT_SIZE ? NVML_SUCCESS : result, n);
}

static bool remapped_rows(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	nvmlRemappedRowsInfo_v2_t r = { 0 };
	nvmlReturn_t result = NVML(nvmlDeviceGetRemappedRows_v2, gpu->handle, &r);
	const unsigned int numbers[] = { r.corrActiveRemaps, r.corrInactiveRemaps, r.uncActiveRemaps,
					 r.uncInactiveRemaps };

	if (part == REMAPPED_PENDING)
		return put(value, result, r.bPending ? "Yes" : "No");
	if (part == REMAPPED_FAILURE)
		return put(value, result, r.bFailureOccurred ? "Yes" : "No");
	return put_number(value, result, numbers[part]);
}

static bool pcie(const struct smi_gpu *gpu, unsigned int part, char *value)
{
	unsigned int n = 0;
	nvmlReturn_t result = NVML_ERROR_NOT_SUPPORTED;

	switch ((enum pcie_part)part) {
	case PCIE_GENERATION: result = NVML(nvmlDeviceGetCurrPcieLinkGeneration, gpu->handle, &n); break;
	case PCIE_GENERATION_MAX: result = NVML(nvmlDeviceGetMaxPcieLinkGeneration, gpu->handle, &n); break;
	case PCIE_GENERATION_GPU_MAX:
		result = NVML(nvmlDeviceGetGpuMaxPcieLinkGeneration, gpu->handle, &n);
		break;
	case PCIE_WIDTH: result = NVML(nvmlDeviceGetCurrPcieLinkWidth, gpu->handle, &n); break;
	case PCIE_WIDTH_MAX: result = NVML(nvmlDeviceGetMaxPcieLinkWidth, gpu->handle, &n); break;
	case PCIE_REPLAYS: result = NVML(nvmlDeviceGetPcieReplayCounter, gpu->handle, &n); break;
	case PCIE_SENT:
		result = NVML(nvmlDeviceGetPcieThroughput, gpu->handle, NVML_PCIE_UTIL_TX_BYTES, &n);
		break;
	case PCIE_RECEIVED:
		result = NVML(nvmlDeviceGetPcieThroughput, gpu->handle, NVML_PCIE_UTIL_RX_BYTES, &n);
		break;
	}
	return put_number(value, result, n);
}

const struct smi_fact smi_facts[SMI_FACTS] = {
#define FACT(id, name, alias, unit, get, arg) [SMI_##id] = { name, alias, unit, get, arg },
#include "guest/smi/facts.def"
#undef FACT
};

void smi_fact_text(const struct smi_gpu *gpu, enum smi_fact_id id, char *value)
{
	const struct smi_fact *f = &smi_facts[id];
	size_t length;

	if (!f->get(gpu, f->arg, value)) {
		snprintf(value, SMI_VALUE_BYTES, "N/A");
		return;
	}
	length = strlen(value);
	if (f->unit[0])
		snprintf(value + length, SMI_VALUE_BYTES - length, " %s", f->unit);
}
