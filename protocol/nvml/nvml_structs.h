// SPDX-License-Identifier: Apache-2.0
//
// Structures of NVML's C ABI with their sizes and offsets checked (x86-64, driver 580). Included by
// nvml_abi.h only, which owns the types used here. They lie in a program's memory; none crosses the wire. A
// structure with a version in its first word is filled only when the word is NVML_VERSION of the structure.
#ifndef VGPU_PROTOCOL_NVML_NVML_STRUCTS_H
#define VGPU_PROTOCOL_NVML_NVML_STRUCTS_H

#define NVML_VERSION(type, number) ((unsigned int)(sizeof(type) | (unsigned int)(number) << 24))

// ---- identity

typedef struct nvmlPciInfo_st {
	char busIdLegacy[16]; // domain in 4 digits
	unsigned int domain;
	unsigned int bus;
	unsigned int device;
	unsigned int pciDeviceId;    // device << 16 | vendor
	unsigned int pciSubSystemId; // 0 before version 2
	char busId[32];		     // domain in 8 digits; not there before version 3
} nvmlPciInfo_t;
static_assert(sizeof(nvmlPciInfo_t) == 68, "nvmlPciInfo_t");
static_assert(offsetof(nvmlPciInfo_t, busId) == 36, "nvmlPciInfo_t");

typedef struct nvmlPciInfoExt_st {
	unsigned int version; // 1
	unsigned int domain;
	unsigned int bus;
	unsigned int device;
	unsigned int pciDeviceId;
	unsigned int pciSubSystemId;
	unsigned int baseClass;
	unsigned int subClass;
	char busId[32];
} nvmlPciInfoExt_t;
static_assert(sizeof(nvmlPciInfoExt_t) == 64, "nvmlPciInfoExt_t");

typedef struct nvmlUUID_st {
	unsigned int version; // 1
	unsigned int type;    // enum nvml_uuid_type
	union {
		char str[41];
		unsigned char bytes[16];
	} value;
} nvmlUUID_t;
static_assert(sizeof(nvmlUUID_t) == 52, "nvmlUUID_t");

typedef struct nvmlPdi_st {
	unsigned int version; // 1
	unsigned long long value;
} nvmlPdi_t;
static_assert(sizeof(nvmlPdi_t) == 16, "nvmlPdi_t");

typedef struct nvmlDeviceAttributes_st {
	unsigned int multiprocessorCount;
	unsigned int sharedCopyEngineCount;
	unsigned int sharedDecoderCount;
	unsigned int sharedEncoderCount;
	unsigned int sharedJpegCount;
	unsigned int sharedOfaCount;
	unsigned int gpuInstanceSliceCount;
	unsigned int computeInstanceSliceCount;
	unsigned long long memorySizeMB;
} nvmlDeviceAttributes_t;
static_assert(sizeof(nvmlDeviceAttributes_t) == 40, "nvmlDeviceAttributes_t");

typedef struct nvmlExcludedDeviceInfo_st {
	nvmlPciInfo_t pciInfo;
	char uuid[80];
} nvmlExcludedDeviceInfo_t;
static_assert(sizeof(nvmlExcludedDeviceInfo_t) == 148, "nvmlExcludedDeviceInfo_t");

typedef struct nvmlBridgeChipHierarchy_st {
	unsigned char bridgeCount;
	struct {
		unsigned int type;
		unsigned int fwVersion;
	} bridgeChipInfo[128];
} nvmlBridgeChipHierarchy_t;
static_assert(sizeof(nvmlBridgeChipHierarchy_t) == 1028, "nvmlBridgeChipHierarchy_t");

typedef struct nvmlSystemDriverBranchInfo_st {
	unsigned int version; // 1
	char branch[80];
} nvmlSystemDriverBranchInfo_t;
static_assert(sizeof(nvmlSystemDriverBranchInfo_t) == 84, "nvmlSystemDriverBranchInfo_t");

typedef struct nvmlHwbcEntry_st {
	unsigned int hwbcId;
	char firmwareVersion[32];
} nvmlHwbcEntry_t;
static_assert(sizeof(nvmlHwbcEntry_t) == 36, "nvmlHwbcEntry_t");

// ---- memory, bytes

typedef struct nvmlMemory_st {
	unsigned long long total;
	unsigned long long free;
	unsigned long long used; // reserved memory included
} nvmlMemory_t;
static_assert(sizeof(nvmlMemory_t) == 24, "nvmlMemory_t");

typedef struct nvmlMemory_v2_st {
	unsigned int version; // 2
	unsigned long long total;
	unsigned long long reserved;
	unsigned long long free;
	unsigned long long used;
} nvmlMemory_v2_t;
static_assert(sizeof(nvmlMemory_v2_t) == 40, "nvmlMemory_v2_t");

typedef struct nvmlBAR1Memory_st {
	unsigned long long bar1Total;
	unsigned long long bar1Free;
	unsigned long long bar1Used;
} nvmlBAR1Memory_t;
static_assert(sizeof(nvmlBAR1Memory_t) == 24, "nvmlBAR1Memory_t");

typedef struct nvmlConfComputeMemSizeInfo_st {
	unsigned long long protectedMemSizeKib;
	unsigned long long unprotectedMemSizeKib;
} nvmlConfComputeMemSizeInfo_t;
static_assert(sizeof(nvmlConfComputeMemSizeInfo_t) == 16, "nvmlConfComputeMemSizeInfo_t");

// ---- load and processes

typedef struct nvmlUtilization_st {
	unsigned int gpu; // percent of the time in which a kernel ran
	unsigned int memory;
} nvmlUtilization_t;
static_assert(sizeof(nvmlUtilization_t) == 8, "nvmlUtilization_t");

typedef struct nvmlProcessInfo_v1_st {
	unsigned int pid;
	unsigned long long usedGpuMemory; // bytes
} nvmlProcessInfo_v1_t;
static_assert(sizeof(nvmlProcessInfo_v1_t) == 16, "nvmlProcessInfo_v1_t");

// Versions 2 and 3 of the calls.
typedef struct nvmlProcessInfo_st {
	unsigned int pid;
	unsigned long long usedGpuMemory;
	unsigned int gpuInstanceId;
	unsigned int computeInstanceId;
} nvmlProcessInfo_t;
static_assert(sizeof(nvmlProcessInfo_t) == 24, "nvmlProcessInfo_t");

typedef struct nvmlProcessDetail_v1_st {
	unsigned int pid;
	unsigned long long usedGpuMemory;
	unsigned int gpuInstanceId;
	unsigned int computeInstanceId;
	unsigned long long usedGpuCcProtectedMemory;
} nvmlProcessDetail_v1_t;
static_assert(sizeof(nvmlProcessDetail_v1_t) == 32, "nvmlProcessDetail_v1_t");

typedef struct nvmlProcessDetailList_st {
	unsigned int version; // 1
	unsigned int mode;    // 0 compute, 1 graphics, 2 MPS
	unsigned int numProcArrayEntries;
	nvmlProcessDetail_v1_t *procArray;
} nvmlProcessDetailList_t;
static_assert(sizeof(nvmlProcessDetailList_t) == 24, "nvmlProcessDetailList_t");

typedef struct nvmlProcessUtilizationSample_st {
	unsigned int pid;
	unsigned long long timeStamp; // microseconds of the real-time clock
	unsigned int smUtil;
	unsigned int memUtil;
	unsigned int encUtil;
	unsigned int decUtil;
} nvmlProcessUtilizationSample_t;
static_assert(sizeof(nvmlProcessUtilizationSample_t) == 32, "nvmlProcessUtilizationSample_t");

typedef struct nvmlProcessUtilizationInfo_v1_st {
	unsigned long long timeStamp;
	unsigned int pid;
	unsigned int smUtil;
	unsigned int memUtil;
	unsigned int encUtil;
	unsigned int decUtil;
	unsigned int jpgUtil;
	unsigned int ofaUtil;
} nvmlProcessUtilizationInfo_v1_t;
static_assert(sizeof(nvmlProcessUtilizationInfo_v1_t) == 40, "nvmlProcessUtilizationInfo_v1_t");

typedef struct nvmlProcessesUtilizationInfo_st {
	unsigned int version; // 1
	unsigned int processSamplesCount;
	unsigned long long lastSeenTimeStamp;
	nvmlProcessUtilizationInfo_v1_t *procUtilArray;
} nvmlProcessesUtilizationInfo_t;
static_assert(sizeof(nvmlProcessesUtilizationInfo_t) == 24, "nvmlProcessesUtilizationInfo_t");

typedef union nvmlValue_st {
	double dVal;
	int siVal;
	unsigned int uiVal;
	unsigned long ulVal;
	unsigned long long ullVal;
	signed long long sllVal;
	unsigned short usVal;
} nvmlValue_t;
static_assert(sizeof(nvmlValue_t) == 8, "nvmlValue_t");

typedef struct nvmlSample_st {
	unsigned long long timeStamp; // microseconds of the real-time clock
	nvmlValue_t sampleValue;
} nvmlSample_t;
static_assert(sizeof(nvmlSample_t) == 16, "nvmlSample_t");

typedef struct nvmlFieldValue_st {
	unsigned int fieldId;
	unsigned int scopeId;
	long long timestamp;   // microseconds of the real-time clock
	long long latencyUsec; // how long it took to get the value
	nvmlValueType_t valueType;
	nvmlReturn_t nvmlReturn;
	nvmlValue_t value;
} nvmlFieldValue_t;
static_assert(sizeof(nvmlFieldValue_t) == 40, "nvmlFieldValue_t");
static_assert(offsetof(nvmlFieldValue_t, value) == 32, "nvmlFieldValue_t");

typedef struct nvmlGpuDynamicPstatesInfo_st {
	unsigned int flags;
	struct {
		unsigned int bIsPresent;
		unsigned int percentage;
		unsigned int incThreshold;
		unsigned int decThreshold;
	} utilization[8]; // GPU, frame buffer, video, bus
} nvmlGpuDynamicPstatesInfo_t;
static_assert(sizeof(nvmlGpuDynamicPstatesInfo_t) == 132, "nvmlGpuDynamicPstatesInfo_t");

typedef struct nvmlFBCStats_st {
	unsigned int sessionsCount;
	unsigned int averageFPS;
	unsigned int averageLatency;
} nvmlFBCStats_t;
static_assert(sizeof(nvmlFBCStats_t) == 12, "nvmlFBCStats_t");

typedef struct nvmlViolationTime_st {
	unsigned long long referenceTime;
	unsigned long long violationTime;
} nvmlViolationTime_t;
static_assert(sizeof(nvmlViolationTime_t) == 16, "nvmlViolationTime_t");

// ---- health

typedef struct nvmlTemperature_st {
	unsigned int version; // 1
	nvmlTemperatureSensors_t sensorType;
	int temperature; // degrees Celsius
} nvmlTemperature_t;
static_assert(sizeof(nvmlTemperature_t) == 12, "nvmlTemperature_t");

typedef struct nvmlEccErrorCounts_st {
	unsigned long long l1Cache;
	unsigned long long l2Cache;
	unsigned long long deviceMemory;
	unsigned long long registerFile;
} nvmlEccErrorCounts_t;
static_assert(sizeof(nvmlEccErrorCounts_t) == 32, "nvmlEccErrorCounts_t");

typedef struct nvmlRemappedRowsInfo_v2_st {
	unsigned int corrActiveRemaps;
	unsigned int corrInactiveRemaps;
	unsigned int uncActiveRemaps;
	unsigned int uncInactiveRemaps;
	unsigned int bPending;
	unsigned int bFailureOccurred;
} nvmlRemappedRowsInfo_v2_t;
static_assert(sizeof(nvmlRemappedRowsInfo_v2_t) == 24, "nvmlRemappedRowsInfo_v2_t");

typedef struct nvmlAccountingStats_st {
	unsigned int gpuUtilization;
	unsigned int memoryUtilization;
	unsigned long long maxMemoryUsage;
	unsigned long long time;
	unsigned long long startTime;
	unsigned int isRunning;
	unsigned int reserved[5];
} nvmlAccountingStats_t;
static_assert(sizeof(nvmlAccountingStats_t) == 56, "nvmlAccountingStats_t");

// ---- events

typedef struct nvmlEventData_st {
	nvmlDevice_t device;
	unsigned long long eventType;
	unsigned long long eventData;
	unsigned int gpuInstanceId; // not there before version 2
	unsigned int computeInstanceId;
} nvmlEventData_t;
static_assert(sizeof(nvmlEventData_t) == 32, "nvmlEventData_t");

// ---- links, fabric, confidential computing, modes

typedef struct nvmlGpuFabricInfo_st {
	unsigned char clusterUuid[16];
	nvmlReturn_t status;
	unsigned int cliqueId;
	unsigned char state; // enum nvml_fabric_state
} nvmlGpuFabricInfo_t;
static_assert(sizeof(nvmlGpuFabricInfo_t) == 28, "nvmlGpuFabricInfo_t");

typedef struct nvmlGpuFabricInfo_v2_st {
	unsigned int version; // 2
	unsigned char clusterUuid[16];
	nvmlReturn_t status;
	unsigned int cliqueId;
	unsigned char state;
	unsigned int healthMask;
} nvmlGpuFabricInfo_v2_t;
static_assert(sizeof(nvmlGpuFabricInfo_v2_t) == 36, "nvmlGpuFabricInfo_v2_t");

typedef struct nvmlGpuFabricInfo_v3_st {
	unsigned int version; // 3
	unsigned char clusterUuid[16];
	nvmlReturn_t status;
	unsigned int cliqueId;
	unsigned char state;
	unsigned int healthMask;
	unsigned char healthSummary;
} nvmlGpuFabricInfoV_t;
static_assert(sizeof(nvmlGpuFabricInfoV_t) == 40, "nvmlGpuFabricInfoV_t");

typedef struct nvmlConfComputeSystemCaps_st {
	unsigned int cpuCaps;
	unsigned int gpusCaps;
} nvmlConfComputeSystemCaps_t;
static_assert(sizeof(nvmlConfComputeSystemCaps_t) == 8, "nvmlConfComputeSystemCaps_t");

typedef struct nvmlConfComputeSystemState_st {
	unsigned int environment;
	unsigned int ccFeature;
	unsigned int devToolsMode;
} nvmlConfComputeSystemState_t;
static_assert(sizeof(nvmlConfComputeSystemState_t) == 12, "nvmlConfComputeSystemState_t");

typedef struct nvmlSystemConfComputeSettings_st {
	unsigned int version; // 1
	unsigned int environment;
	unsigned int ccFeature;
	unsigned int devToolsMode;
	unsigned int multiGpuMode;
} nvmlSystemConfComputeSettings_t;
static_assert(sizeof(nvmlSystemConfComputeSettings_t) == 20, "nvmlSystemConfComputeSettings_t");

typedef struct nvmlC2cModeInfo_st {
	unsigned int isC2cEnabled;
} nvmlC2cModeInfo_v1_t;
static_assert(sizeof(nvmlC2cModeInfo_v1_t) == 4, "nvmlC2cModeInfo_v1_t");

typedef struct nvmlDeviceAddressingMode_st {
	unsigned int version; // 1
	unsigned int value;   // 0 none, 1 HMM, 2 ATS
} nvmlDeviceAddressingMode_t;
static_assert(sizeof(nvmlDeviceAddressingMode_t) == 8, "nvmlDeviceAddressingMode_t");

typedef struct nvmlDeviceCapabilities_st {
	unsigned int version; // 1
	unsigned int capMask;
} nvmlDeviceCapabilities_t;
static_assert(sizeof(nvmlDeviceCapabilities_t) == 8, "nvmlDeviceCapabilities_t");

typedef struct nvmlGpmSupport_st {
	unsigned int version; // 1, plain
	unsigned int isSupportedDevice;
} nvmlGpmSupport_t;
static_assert(sizeof(nvmlGpmSupport_t) == 8, "nvmlGpmSupport_t");

typedef struct nvmlGridLicensableFeatures_st {
	int isGridLicenseSupported;
	unsigned int licensableFeaturesCount;
	struct {
		unsigned int featureCode;
		unsigned int featureState;
		char licenseInfo[128];
		char productName[128];
		unsigned int featureEnabled;
		struct {
			unsigned int year;
			unsigned short month, day, hour, min, sec;
			unsigned char status;
		} licenseExpiry;
	} gridLicensableFeatures[3];
} nvmlGridLicensableFeatures_t;
static_assert(sizeof(nvmlGridLicensableFeatures_t) == 860, "nvmlGridLicensableFeatures_t");

#endif
