// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's management library interface as this project speaks it: types and values of the C ABI (x86-64,
// driver 580), declared by ourselves from published facts. Header only. Used by guest/libnvml (which
// implements it), by what is built on it, and by tests. The structures are in nvml_structs.h, the functions
// in nvml_calls.def, the result codes in nvml_results.def.
#ifndef VGPU_PROTOCOL_NVML_NVML_ABI_H
#define VGPU_PROTOCOL_NVML_NVML_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nvml_result {
#define NVML_RESULT(code, name, text) name = (code),
#include "protocol/nvml/nvml_results.def"
#undef NVML_RESULT
} nvmlReturn_t;

typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct nvmlUnit_st *nvmlUnit_t;
typedef struct nvmlEventSet_st *nvmlEventSet_t;
typedef struct nvmlGpuInstance_st *nvmlGpuInstance_t;

// Enumerated arguments travel as unsigned int in the C ABI; their values are the constants below.
typedef unsigned int nvmlBrandType_t;
typedef unsigned int nvmlBusType_t;
typedef unsigned int nvmlClockId_t;
typedef unsigned int nvmlClockType_t;
typedef unsigned int nvmlComputeMode_t;
typedef unsigned int nvmlDeviceArchitecture_t;
typedef unsigned int nvmlDriverModel_t;
typedef unsigned int nvmlEccCounterType_t;
typedef unsigned int nvmlEnableState_t;
typedef unsigned int nvmlGpuOperationMode_t;
typedef unsigned int nvmlGpuP2PCapsIndex_t;
typedef unsigned int nvmlGpuP2PStatus_t;
typedef unsigned int nvmlGpuTopologyLevel_t;
typedef unsigned int nvmlGpuVirtualizationMode_t;
typedef unsigned int nvmlMemoryErrorType_t;
typedef unsigned int nvmlMemoryLocation_t;
typedef unsigned int nvmlPageRetirementCause_t;
typedef unsigned int nvmlPcieUtilCounter_t;
typedef unsigned int nvmlPerfPolicyType_t;
typedef unsigned int nvmlPstates_t;
typedef unsigned int nvmlRestrictedAPI_t;
typedef unsigned int nvmlSamplingType_t;
typedef unsigned int nvmlTemperatureSensors_t;
typedef unsigned int nvmlTemperatureThresholds_t;
typedef unsigned int nvmlValueType_t;

// Sizes of text buffers, terminating zero included. A shorter one answers NVML_ERROR_INSUFFICIENT_SIZE.
#define NVML_DRIVER_VERSION_BYTES 80
#define NVML_NVML_VERSION_BYTES	  80
#define NVML_NAME_BYTES		  96
#define NVML_UUID_BYTES		  96
#define NVML_SERIAL_BYTES	  30
#define NVML_VBIOS_BYTES	  32
#define NVML_PART_NUMBER_BYTES	  80
#define NVML_INFOROM_BYTES	  16

#define NVML_INIT_FLAG_NO_GPUS	 1u // succeed where there is no GPU
#define NVML_INIT_FLAG_NO_ATTACH 2u // look at the GPUs when they are asked for

// What a value answers that is not there, where a number must be given: UINT_MAX, ULLONG_MAX.
#define NVML_VALUE_NOT_AVAILABLE (-1)
#define NVML_NO_INSTANCE	 0xffffffffu // GPU or compute instance where MIG is off

enum nvml_enable { NVML_FEATURE_DISABLED = 0, NVML_FEATURE_ENABLED = 1 };

enum nvml_brand {
	NVML_BRAND_UNKNOWN = 0,
	NVML_BRAND_QUADRO = 1,
	NVML_BRAND_TESLA = 2,
	NVML_BRAND_NVS = 3,
	NVML_BRAND_GRID = 4,
	NVML_BRAND_GEFORCE = 5,
	NVML_BRAND_TITAN = 6,
	NVML_BRAND_QUADRO_RTX = 12,
	NVML_BRAND_NVIDIA_RTX = 13,
	NVML_BRAND_NVIDIA = 14,
	NVML_BRAND_GEFORCE_RTX = 15,
	NVML_BRAND_TITAN_RTX = 16,
};

enum nvml_architecture {
	NVML_DEVICE_ARCH_KEPLER = 2,
	NVML_DEVICE_ARCH_MAXWELL = 3,
	NVML_DEVICE_ARCH_PASCAL = 4,
	NVML_DEVICE_ARCH_VOLTA = 5,
	NVML_DEVICE_ARCH_TURING = 6,
	NVML_DEVICE_ARCH_AMPERE = 7,
	NVML_DEVICE_ARCH_ADA = 8,
	NVML_DEVICE_ARCH_HOPPER = 9,
	NVML_DEVICE_ARCH_BLACKWELL = 10,
};
#define NVML_DEVICE_ARCH_UNKNOWN 0xffffffffu

enum nvml_bus { NVML_BUS_TYPE_UNKNOWN = 0, NVML_BUS_TYPE_PCI = 1, NVML_BUS_TYPE_PCIE = 2 };

enum nvml_clock {
	NVML_CLOCK_GRAPHICS = 0,
	NVML_CLOCK_SM = 1,
	NVML_CLOCK_MEM = 2,
	NVML_CLOCK_VIDEO = 3,
	NVML_CLOCK_COUNT = 4,
};

enum nvml_clock_id {
	NVML_CLOCK_ID_CURRENT = 0,
	NVML_CLOCK_ID_APP_CLOCK_TARGET = 1,
	NVML_CLOCK_ID_APP_CLOCK_DEFAULT = 2,
	NVML_CLOCK_ID_CUSTOMER_BOOST_MAX = 3,
	NVML_CLOCK_ID_COUNT = 4,
};

enum nvml_temperature_sensor { NVML_TEMPERATURE_GPU = 0, NVML_TEMPERATURE_COUNT = 1 };

enum nvml_temperature_threshold {
	NVML_TEMPERATURE_THRESHOLD_SHUTDOWN = 0,
	NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1,
	NVML_TEMPERATURE_THRESHOLD_MEM_MAX = 2,
	NVML_TEMPERATURE_THRESHOLD_GPU_MAX = 3,
	NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_MIN = 4,
	NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR = 5,
	NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_MAX = 6,
	NVML_TEMPERATURE_THRESHOLD_GPS_CURR = 7,
	NVML_TEMPERATURE_THRESHOLD_COUNT = 8,
};

enum nvml_compute_mode {
	NVML_COMPUTEMODE_DEFAULT = 0,
	NVML_COMPUTEMODE_EXCLUSIVE_THREAD = 1,
	NVML_COMPUTEMODE_PROHIBITED = 2,
	NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3,
};

enum nvml_pstate { NVML_PSTATE_0 = 0, NVML_PSTATE_15 = 15, NVML_PSTATE_UNKNOWN = 32 };

enum nvml_ecc_counter { NVML_VOLATILE_ECC = 0, NVML_AGGREGATE_ECC = 1, NVML_ECC_COUNTER_TYPE_COUNT = 2 };

enum nvml_memory_error {
	NVML_MEMORY_ERROR_TYPE_CORRECTED = 0,
	NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1,
	NVML_MEMORY_ERROR_TYPE_COUNT = 2,
};

enum nvml_memory_location {
	NVML_MEMORY_LOCATION_L1_CACHE = 0,
	NVML_MEMORY_LOCATION_L2_CACHE = 1,
	NVML_MEMORY_LOCATION_DRAM = 2,
	NVML_MEMORY_LOCATION_REGISTER_FILE = 3,
	NVML_MEMORY_LOCATION_TEXTURE_MEMORY = 4,
	NVML_MEMORY_LOCATION_TEXTURE_SHM = 5,
	NVML_MEMORY_LOCATION_CBU = 6,
	NVML_MEMORY_LOCATION_SRAM = 7,
	NVML_MEMORY_LOCATION_COUNT = 8,
};

enum nvml_page_retirement {
	NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS = 0,
	NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR = 1,
	NVML_PAGE_RETIREMENT_CAUSE_COUNT = 2,
};

enum nvml_restricted_api {
	NVML_RESTRICTED_API_SET_APPLICATION_CLOCKS = 0,
	NVML_RESTRICTED_API_SET_AUTO_BOOSTED_CLOCKS = 1,
	NVML_RESTRICTED_API_COUNT = 2,
};

enum nvml_pcie_counter { NVML_PCIE_UTIL_TX_BYTES = 0, NVML_PCIE_UTIL_RX_BYTES = 1, NVML_PCIE_UTIL_COUNT = 2 };

enum nvml_topology {
	NVML_TOPOLOGY_INTERNAL = 0,
	NVML_TOPOLOGY_SINGLE = 10,
	NVML_TOPOLOGY_MULTIPLE = 20,
	NVML_TOPOLOGY_HOSTBRIDGE = 30,
	NVML_TOPOLOGY_NODE = 40,
	NVML_TOPOLOGY_SYSTEM = 50,
};

enum nvml_p2p_status {
	NVML_P2P_STATUS_OK = 0,
	NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED = 1,
	NVML_P2P_STATUS_GPU_NOT_SUPPORTED = 2,
	NVML_P2P_STATUS_NOT_SUPPORTED = 5,
	NVML_P2P_STATUS_UNKNOWN = 6,
};
#define NVML_P2P_CAPS_INDEX_UNKNOWN 5 // read, write, NVLink, atomics, PCI come before it

enum nvml_virtualization {
	NVML_GPU_VIRTUALIZATION_MODE_NONE = 0,
	NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH = 1,
	NVML_GPU_VIRTUALIZATION_MODE_VGPU = 2,
	NVML_GPU_VIRTUALIZATION_MODE_HOST_VGPU = 3,
	NVML_GPU_VIRTUALIZATION_MODE_HOST_VSGA = 4,
};

enum nvml_sampling {
	NVML_TOTAL_POWER_SAMPLES = 0,
	NVML_GPU_UTILIZATION_SAMPLES = 1,
	NVML_MEMORY_UTILIZATION_SAMPLES = 2,
	NVML_ENC_UTILIZATION_SAMPLES = 3,
	NVML_DEC_UTILIZATION_SAMPLES = 4,
	NVML_PROCESSOR_CLK_SAMPLES = 5,
	NVML_MEMORY_CLK_SAMPLES = 6,
	NVML_SAMPLINGTYPE_COUNT = 10,
};

enum nvml_perf_policy {
	NVML_PERF_POLICY_POWER = 0,
	NVML_PERF_POLICY_THERMAL = 1,
	NVML_PERF_POLICY_COUNT = 12
};

enum nvml_value_type {
	NVML_VALUE_TYPE_DOUBLE = 0,
	NVML_VALUE_TYPE_UNSIGNED_INT = 1,
	NVML_VALUE_TYPE_UNSIGNED_LONG = 2,
	NVML_VALUE_TYPE_UNSIGNED_LONG_LONG = 3,
	NVML_VALUE_TYPE_SIGNED_LONG_LONG = 4,
	NVML_VALUE_TYPE_SIGNED_INT = 5,
};

// Why clocks are lower than they could be (bits).
#define NVML_CLOCKS_GPU_IDLE		    0x001ull
#define NVML_CLOCKS_APPLICATIONS_SETTING    0x002ull
#define NVML_CLOCKS_SW_POWER_CAP	    0x004ull
#define NVML_CLOCKS_HW_SLOWDOWN		    0x008ull
#define NVML_CLOCKS_SYNC_BOOST		    0x010ull
#define NVML_CLOCKS_SW_THERMAL_SLOWDOWN	    0x020ull
#define NVML_CLOCKS_HW_THERMAL_SLOWDOWN	    0x040ull
#define NVML_CLOCKS_HW_POWER_BRAKE_SLOWDOWN 0x080ull
#define NVML_CLOCKS_DISPLAY_SETTING	    0x100ull
#define NVML_CLOCKS_ALL			    0x1ffull

// Events that a set can be told of (bits).
#define NVML_EVENT_SINGLE_BIT_ECC_ERROR 0x001ull
#define NVML_EVENT_DOUBLE_BIT_ECC_ERROR 0x002ull
#define NVML_EVENT_PSTATE		0x004ull
#define NVML_EVENT_XID_CRITICAL_ERROR	0x008ull
#define NVML_EVENT_CLOCK		0x010ull
#define NVML_EVENT_ALL			0xff9full

enum nvml_uuid_type { NVML_UUID_TYPE_NONE = 0, NVML_UUID_TYPE_ASCII = 1, NVML_UUID_TYPE_BINARY = 2 };

enum nvml_fabric_state {
	NVML_GPU_FABRIC_STATE_NOT_SUPPORTED = 0,
	NVML_GPU_FABRIC_STATE_NOT_STARTED = 1,
	NVML_GPU_FABRIC_STATE_IN_PROGRESS = 2,
	NVML_GPU_FABRIC_STATE_COMPLETED = 3,
};

#define NVML_NVLINK_MAX_LINKS 18
#define NVML_NVLINK_CAP_COUNT 6

// Field identifiers of nvmlDeviceGetFieldValues that this project answers or asks for. NVML_FI_MAX and above
// are none.
enum nvml_field {
	NVML_FI_DEV_ECC_CURRENT = 1,
	NVML_FI_DEV_ECC_PENDING = 2,
	NVML_FI_DEV_ECC_SBE_VOL_TOTAL = 3,
	NVML_FI_DEV_ECC_DBE_VOL_TOTAL = 4,
	NVML_FI_DEV_ECC_SBE_AGG_TOTAL = 5,
	NVML_FI_DEV_ECC_DBE_AGG_TOTAL = 6,
	NVML_FI_DEV_RETIRED_SBE = 29,
	NVML_FI_DEV_RETIRED_DBE = 30,
	NVML_FI_DEV_RETIRED_PENDING = 31,
	NVML_FI_DEV_MEMORY_TEMP = 82,
	NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION = 83,
	NVML_FI_DEV_NVLINK_LINK_COUNT = 91,
	NVML_FI_DEV_PCIE_REPLAY_COUNTER = 94,
	NVML_FI_DEV_REMAPPED_COR = 142,
	NVML_FI_DEV_REMAPPED_UNC = 143,
	NVML_FI_DEV_REMAPPED_PENDING = 144,
	NVML_FI_DEV_REMAPPED_FAILURE = 145,
	NVML_FI_DEV_C2C_LINK_COUNT = 170,
	NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED = 184,
	NVML_FI_DEV_POWER_AVERAGE = 185,
	NVML_FI_DEV_POWER_INSTANT = 186,
	NVML_FI_DEV_POWER_MIN_LIMIT = 187,
	NVML_FI_DEV_POWER_MAX_LIMIT = 188,
	NVML_FI_DEV_POWER_DEFAULT_LIMIT = 189,
	NVML_FI_DEV_POWER_CURRENT_LIMIT = 190,
	NVML_FI_DEV_ENERGY = 191,
	NVML_FI_DEV_POWER_REQUESTED_LIMIT = 192,
	NVML_FI_DEV_GET_GPU_RECOVERY_ACTION = 230,
	NVML_FI_MAX = 274,
};

#include "protocol/nvml/nvml_structs.h"

#endif
