// SPDX-License-Identifier: Apache-2.0
//
// Structures of the CUDA driver's C ABI with their sizes and offsets checked (x86-64, CUDA 13.0). Included
// by cuda_abi.h only, which owns the types used here. These lie in a program's memory: guest/libcuda reads
// and fills them, and the executor's cuda backend builds them for the real driver; none crosses the wire.
#ifndef VGPU_PROTOCOL_CUDA_CUDA_STRUCTS_H
#define VGPU_PROTOCOL_CUDA_CUDA_STRUCTS_H

typedef struct CUuuid_st {
	char bytes[16];
} CUuuid;
static_assert(sizeof(CUuuid) == 16, "CUuuid");

// Filled by the old cuDeviceGetProperties.
typedef struct CUdevprop_st {
	int maxThreadsPerBlock;
	int maxThreadsDim[3];
	int maxGridSize[3];
	int sharedMemPerBlock;
	int totalConstantMemory;
	int SIMDWidth;
	int memPitch;
	int regsPerBlock;
	int clockRate;
	int textureAlign;
} CUdevprop;
static_assert(sizeof(CUdevprop) == 56, "CUdevprop");

typedef struct CUDA_MEMCPY2D_st {
	size_t srcXInBytes;
	size_t srcY;
	int srcMemoryType;
	const void *srcHost;
	CUdeviceptr srcDevice;
	CUarray srcArray;
	size_t srcPitch;
	size_t dstXInBytes;
	size_t dstY;
	int dstMemoryType;
	void *dstHost;
	CUdeviceptr dstDevice;
	CUarray dstArray;
	size_t dstPitch;
	size_t WidthInBytes;
	size_t Height;
} CUDA_MEMCPY2D;
static_assert(sizeof(CUDA_MEMCPY2D) == 128, "CUDA_MEMCPY2D");
static_assert(offsetof(CUDA_MEMCPY2D, srcHost) == 24, "CUDA_MEMCPY2D");
static_assert(offsetof(CUDA_MEMCPY2D, dstXInBytes) == 56, "CUDA_MEMCPY2D");
static_assert(offsetof(CUDA_MEMCPY2D, dstHost) == 80, "CUDA_MEMCPY2D");
static_assert(offsetof(CUDA_MEMCPY2D, Height) == 120, "CUDA_MEMCPY2D");

typedef struct CUDA_MEMCPY3D_st {
	size_t srcXInBytes;
	size_t srcY;
	size_t srcZ;
	size_t srcLOD;
	int srcMemoryType;
	const void *srcHost;
	CUdeviceptr srcDevice;
	CUarray srcArray;
	void *reserved0;
	size_t srcPitch;
	size_t srcHeight;
	size_t dstXInBytes;
	size_t dstY;
	size_t dstZ;
	size_t dstLOD;
	int dstMemoryType;
	void *dstHost;
	CUdeviceptr dstDevice;
	CUarray dstArray;
	void *reserved1;
	size_t dstPitch;
	size_t dstHeight;
	size_t WidthInBytes;
	size_t Height;
	size_t Depth;
} CUDA_MEMCPY3D;
static_assert(sizeof(CUDA_MEMCPY3D) == 200, "CUDA_MEMCPY3D");
static_assert(offsetof(CUDA_MEMCPY3D, srcHost) == 40, "CUDA_MEMCPY3D");
static_assert(offsetof(CUDA_MEMCPY3D, dstXInBytes) == 88, "CUDA_MEMCPY3D");
static_assert(offsetof(CUDA_MEMCPY3D, dstHost) == 128, "CUDA_MEMCPY3D");
static_assert(offsetof(CUDA_MEMCPY3D, WidthInBytes) == 176, "CUDA_MEMCPY3D");

typedef struct CUDA_MEMCPY3D_PEER_st {
	size_t srcXInBytes;
	size_t srcY;
	size_t srcZ;
	size_t srcLOD;
	int srcMemoryType;
	const void *srcHost;
	CUdeviceptr srcDevice;
	CUarray srcArray;
	CUcontext srcContext;
	size_t srcPitch;
	size_t srcHeight;
	size_t dstXInBytes;
	size_t dstY;
	size_t dstZ;
	size_t dstLOD;
	int dstMemoryType;
	void *dstHost;
	CUdeviceptr dstDevice;
	CUarray dstArray;
	CUcontext dstContext;
	size_t dstPitch;
	size_t dstHeight;
	size_t WidthInBytes;
	size_t Height;
	size_t Depth;
} CUDA_MEMCPY3D_PEER;
static_assert(sizeof(CUDA_MEMCPY3D_PEER) == 200, "CUDA_MEMCPY3D_PEER");
static_assert(offsetof(CUDA_MEMCPY3D_PEER, srcContext) == 64, "CUDA_MEMCPY3D_PEER");
static_assert(offsetof(CUDA_MEMCPY3D_PEER, dstContext) == 152, "CUDA_MEMCPY3D_PEER");

// One launch attribute: an id and a 64-byte value whose meaning the id gives.
typedef union CUlaunchAttributeValue_union {
	char pad[64];
	int cooperative;
	int priority;
	int programmaticStreamSerializationAllowed;
	int clusterSchedulingPolicyPreference;
	unsigned int sharedMemCarveout;
	struct {
		unsigned int x, y, z;
	} clusterDim;
	uint64_t words[8];
} CUlaunchAttributeValue;

typedef struct CUlaunchAttribute_st {
	int id;
	char pad[4];
	CUlaunchAttributeValue value;
} CUlaunchAttribute;
static_assert(sizeof(CUlaunchAttribute) == 72, "CUlaunchAttribute");
static_assert(offsetof(CUlaunchAttribute, value) == 8, "CUlaunchAttribute");

typedef struct CUlaunchConfig_st {
	unsigned int gridDimX;
	unsigned int gridDimY;
	unsigned int gridDimZ;
	unsigned int blockDimX;
	unsigned int blockDimY;
	unsigned int blockDimZ;
	unsigned int sharedMemBytes;
	CUstream hStream;
	CUlaunchAttribute *attrs;
	unsigned int numAttrs;
} CUlaunchConfig;
static_assert(sizeof(CUlaunchConfig) == 56, "CUlaunchConfig");
static_assert(offsetof(CUlaunchConfig, hStream) == 32, "CUlaunchConfig");
static_assert(offsetof(CUlaunchConfig, numAttrs) == 48, "CUlaunchConfig");

typedef union CUstreamBatchMemOpParams_union {
	int operation;
	struct {
		int operation;
		CUdeviceptr address;
		union {
			uint32_t value;
			uint64_t value64;
		};
		unsigned int flags;
		CUdeviceptr alias;
	} waitValue, writeValue;
	struct {
		int operation;
		unsigned int flags;
	} flushRemoteWrites, memoryBarrier;
	uint64_t pad[6];
} CUstreamBatchMemOpParams;
static_assert(sizeof(CUstreamBatchMemOpParams) == 48, "CUstreamBatchMemOpParams");
static_assert(offsetof(CUstreamBatchMemOpParams, waitValue.value64) == 16, "CUstreamBatchMemOpParams");
static_assert(offsetof(CUstreamBatchMemOpParams, waitValue.flags) == 24, "CUstreamBatchMemOpParams");

typedef struct CUexecAffinityParam_st {
	int type;
	union {
		struct {
			unsigned int val;
		} smCount;
	} param;
} CUexecAffinityParam;
static_assert(sizeof(CUexecAffinityParam) == 8, "CUexecAffinityParam");

typedef struct CUctxCreateParams_st {
	CUexecAffinityParam *execAffinityParams;
	int numExecAffinityParams;
	void *cigParams;
} CUctxCreateParams;
static_assert(sizeof(CUctxCreateParams) == 24, "CUctxCreateParams");

typedef struct CUmemLocation_st {
	int type;
	int id;
} CUmemLocation;
static_assert(sizeof(CUmemLocation) == 8, "CUmemLocation");

typedef struct CUmemAllocationProp_st {
	int type;
	int requestedHandleTypes;
	CUmemLocation location;
	void *win32HandleMetaData;
	struct {
		unsigned char compressionType;
		unsigned char gpuDirectRDMACapable;
		unsigned short usage;
		unsigned char reserved[4];
	} allocFlags;
} CUmemAllocationProp;
static_assert(sizeof(CUmemAllocationProp) == 32, "CUmemAllocationProp");
static_assert(offsetof(CUmemAllocationProp, allocFlags) == 24, "CUmemAllocationProp");

typedef struct CUmemAccessDesc_st {
	CUmemLocation location;
	int flags;
} CUmemAccessDesc;
static_assert(sizeof(CUmemAccessDesc) == 12, "CUmemAccessDesc");

// One for a run of a batch's copies.
typedef struct CUmemcpyAttributes_st {
	int srcAccessOrder;
	CUmemLocation srcLocHint, dstLocHint;
	unsigned int flags;
} CUmemcpyAttributes;
static_assert(sizeof(CUmemcpyAttributes) == 24, "CUmemcpyAttributes");

typedef struct CUmemcpy3DOperand_st {
	int type;
	union {
		struct {
			CUdeviceptr ptr;
			size_t rowLength, layerHeight; // elements and rows; 0: as the copy
			CUmemLocation locHint;
		} ptr;
		struct {
			void *array;
			size_t x, y, z;
		} array;
	} op;
} CUmemcpy3DOperand;

typedef struct CUDA_MEMCPY3D_BATCH_OP_st {
	CUmemcpy3DOperand src, dst;
	size_t width, height, depth;
	int srcAccessOrder;
	unsigned int flags;
} CUDA_MEMCPY3D_BATCH_OP;
static_assert(sizeof(CUDA_MEMCPY3D_BATCH_OP) == 112, "CUDA_MEMCPY3D_BATCH_OP");

typedef struct CUmemPoolProps_st {
	int allocType;
	int handleTypes;
	CUmemLocation location;
	void *win32SecurityAttributes;
	size_t maxSize;
	unsigned short usage;
	unsigned char reserved[54];
} CUmemPoolProps;
static_assert(sizeof(CUmemPoolProps) == 88, "CUmemPoolProps");

typedef struct CUipcMemHandle_st {
	char reserved[64];
} CUipcMemHandle;
static_assert(sizeof(CUipcMemHandle) == 64, "CUipcMemHandle");

typedef struct CUipcEventHandle_st {
	char reserved[64];
} CUipcEventHandle;
static_assert(sizeof(CUipcEventHandle) == 64, "CUipcEventHandle");

typedef struct CUmemPoolPtrExportData_st {
	unsigned char reserved[64];
} CUmemPoolPtrExportData;
static_assert(sizeof(CUmemPoolPtrExportData) == 64, "CUmemPoolPtrExportData");

// Programs may hand in one that is aligned to 64 bytes only, so the type asks for no more.
#define CU_TENSOR_MAP_NUM_QWORDS 16
#define CU_TENSOR_MAP_ALIGN	 64
typedef struct CUtensorMap_st {
	uint64_t opaque[CU_TENSOR_MAP_NUM_QWORDS];
} __attribute__((aligned(CU_TENSOR_MAP_ALIGN))) CUtensorMap;
static_assert(sizeof(CUtensorMap) == 128, "CUtensorMap");

#endif
