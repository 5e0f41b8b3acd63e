// SPDX-License-Identifier: Apache-2.0
// The functions of the host's CUDA driver that the cuda backend calls, found at run time: nothing of CUDA is
// needed to build. Executor process. One table says which functions and whether the backend can do without.
#ifndef VGPU_EXECUTOR_BACKENDS_CUDA_DRIVER_H
#define VGPU_EXECUTOR_BACKENDS_CUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/cuda/cuda_abi.h"

// A pointer type for each driver function that the project knows: cuInit_fn and so on.
#define CUDA_CALL(symbol, params) typedef CUresult(*symbol##_fn) params;
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL

// member, exported symbol, pointer type, true when the backend refuses to open without it. What is optional
// has a substitute (no VMM calls -> mem_alloc, no stream memory operations -> host functions) or answers
// CUDA_ERROR_NOT_SUPPORTED.
#define CUDA_DRIVER_TABLE(ENTRY)                                                                          \
	ENTRY(init, "cuInit", cuInit_fn, true)                                                            \
	ENTRY(driver_get_version, "cuDriverGetVersion", cuDriverGetVersion_fn, true)                      \
	ENTRY(get_error_string, "cuGetErrorString", cuGetErrorString_fn, true)                            \
	ENTRY(device_get, "cuDeviceGet", cuDeviceGet_fn, true)                                            \
	ENTRY(device_get_count, "cuDeviceGetCount", cuDeviceGetCount_fn, true)                            \
	ENTRY(device_get_name, "cuDeviceGetName", cuDeviceGetName_fn, true)                               \
	ENTRY(device_get_uuid, "cuDeviceGetUuid_v2", cuDeviceGetUuid_v2_fn, true)                         \
	ENTRY(device_total_mem, "cuDeviceTotalMem_v2", cuDeviceTotalMem_v2_fn, true)                      \
	ENTRY(device_get_attribute, "cuDeviceGetAttribute", cuDeviceGetAttribute_fn, true)                \
	ENTRY(primary_retain, "cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain_fn, true)              \
	ENTRY(primary_release, "cuDevicePrimaryCtxRelease_v2", cuDevicePrimaryCtxRelease_v2_fn, true)     \
	ENTRY(primary_set_flags, "cuDevicePrimaryCtxSetFlags_v2", cuDevicePrimaryCtxSetFlags_v2_fn, true) \
	ENTRY(ctx_set_current, "cuCtxSetCurrent", cuCtxSetCurrent_fn, true)                               \
	ENTRY(ctx_get_api_version, "cuCtxGetApiVersion", cuCtxGetApiVersion_fn, true)                     \
	ENTRY(ctx_synchronize, "cuCtxSynchronize", cuCtxSynchronize_fn, true)                             \
	ENTRY(ctx_get_limit, "cuCtxGetLimit", cuCtxGetLimit_fn, true)                                     \
	ENTRY(ctx_set_limit, "cuCtxSetLimit", cuCtxSetLimit_fn, true)                                     \
	ENTRY(ctx_priority_range, "cuCtxGetStreamPriorityRange", cuCtxGetStreamPriorityRange_fn, true)    \
	ENTRY(module_load_data_ex, "cuModuleLoadDataEx", cuModuleLoadDataEx_fn, true)                     \
	ENTRY(link_create, "cuLinkCreate_v2", cuLinkCreate_v2_fn, false)                                  \
	ENTRY(link_add_data, "cuLinkAddData_v2", cuLinkAddData_v2_fn, false)                              \
	ENTRY(link_complete, "cuLinkComplete", cuLinkComplete_fn, false)                                  \
	ENTRY(link_destroy, "cuLinkDestroy", cuLinkDestroy_fn, false)                                     \
	ENTRY(module_unload, "cuModuleUnload", cuModuleUnload_fn, true)                                   \
	ENTRY(module_function_count, "cuModuleGetFunctionCount", cuModuleGetFunctionCount_fn, false)      \
	ENTRY(module_enumerate, "cuModuleEnumerateFunctions", cuModuleEnumerateFunctions_fn, false)       \
	ENTRY(func_get_name, "cuFuncGetName", cuFuncGetName_fn, false)                                    \
	ENTRY(module_get_function, "cuModuleGetFunction", cuModuleGetFunction_fn, true)                   \
	ENTRY(module_get_global, "cuModuleGetGlobal_v2", cuModuleGetGlobal_v2_fn, true)                   \
	ENTRY(func_get_attribute, "cuFuncGetAttribute", cuFuncGetAttribute_fn, true)                      \
	ENTRY(func_set_attribute, "cuFuncSetAttribute", cuFuncSetAttribute_fn, true)                      \
	ENTRY(func_set_cache_config, "cuFuncSetCacheConfig", cuFuncSetCacheConfig_fn, true)               \
	ENTRY(func_get_param_info, "cuFuncGetParamInfo", cuFuncGetParamInfo_fn, true)                     \
	ENTRY(occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",                          \
	      cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_fn, true)                              \
	ENTRY(active_clusters, "cuOccupancyMaxActiveClusters", cuOccupancyMaxActiveClusters_fn, false)    \
	ENTRY(cluster_size, "cuOccupancyMaxPotentialClusterSize", cuOccupancyMaxPotentialClusterSize_fn,  \
	      false)                                                                                      \
	ENTRY(tensor_map_tiled, "cuTensorMapEncodeTiled", cuTensorMapEncodeTiled_fn, false)               \
	ENTRY(tensor_map_im2col, "cuTensorMapEncodeIm2col", cuTensorMapEncodeIm2col_fn, false)            \
	ENTRY(tensor_map_replace, "cuTensorMapReplaceAddress", cuTensorMapReplaceAddress_fn, false)       \
	ENTRY(launch_kernel, "cuLaunchKernel", cuLaunchKernel_fn, true)                                   \
	ENTRY(launch_kernel_ex, "cuLaunchKernelEx", cuLaunchKernelEx_fn, false)                           \
	ENTRY(launch_cooperative, "cuLaunchCooperativeKernel", cuLaunchCooperativeKernel_fn, false)       \
	ENTRY(launch_host_func, "cuLaunchHostFunc", cuLaunchHostFunc_fn, true)                            \
	ENTRY(begin_capture, "cuStreamBeginCapture_v2", cuStreamBeginCapture_v2_fn, false)                \
	ENTRY(end_capture, "cuStreamEndCapture", cuStreamEndCapture_fn, false)                            \
	ENTRY(capture_info, "cuStreamGetCaptureInfo_v2", cuStreamGetCaptureInfo_v2_fn, false)             \
	ENTRY(capture_depend, "cuStreamUpdateCaptureDependencies", cuStreamUpdateCaptureDependencies_fn,  \
	      false)                                                                                      \
	ENTRY(capture_info_edges, "cuStreamGetCaptureInfo_v3", cuStreamGetCaptureInfo_v3_fn, false)       \
	ENTRY(capture_depend_edges, "cuStreamUpdateCaptureDependencies_v2",                               \
	      cuStreamUpdateCaptureDependencies_v2_fn, false)                                             \
	ENTRY(graph_instantiate, "cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags_fn, false)    \
	ENTRY(graph_update, "cuGraphExecUpdate_v2", cuGraphExecUpdate_v2_fn, false)                       \
	ENTRY(graph_launch, "cuGraphLaunch", cuGraphLaunch_fn, false)                                     \
	ENTRY(graph_enable, "cuGraphNodeSetEnabled", cuGraphNodeSetEnabled_fn, false)                     \
	ENTRY(graph_upload, "cuGraphUpload", cuGraphUpload_fn, false)                                     \
	ENTRY(graph_exec_destroy, "cuGraphExecDestroy", cuGraphExecDestroy_fn, false)                     \
	ENTRY(graph_destroy, "cuGraphDestroy", cuGraphDestroy_fn, false)                                  \
	ENTRY(capture_to_graph, "cuStreamBeginCaptureToGraph", cuStreamBeginCaptureToGraph_fn, false)     \
	ENTRY(graph_create, "cuGraphCreate", cuGraphCreate_fn, false)                                     \
	ENTRY(graph_add_node, "cuGraphAddNode_v2", cuGraphAddNode_v2_fn, false)                           \
	ENTRY(graph_nodes, "cuGraphGetNodes", cuGraphGetNodes_fn, false)                                  \
	ENTRY(graph_destroy_node, "cuGraphDestroyNode", cuGraphDestroyNode_fn, false)                     \
	ENTRY(new_condition, "cuGraphConditionalHandleCreate", cuGraphConditionalHandleCreate_fn, false)  \
	ENTRY(graph_add_empty, "cuGraphAddEmptyNode", cuGraphAddEmptyNode_fn, false)                      \
	ENTRY(mem_get_info, "cuMemGetInfo_v2", cuMemGetInfo_v2_fn, true)                                  \
	ENTRY(mem_alloc, "cuMemAlloc_v2", cuMemAlloc_v2_fn, true)                                         \
	ENTRY(mem_free, "cuMemFree_v2", cuMemFree_v2_fn, true)                                            \
	ENTRY(host_register, "cuMemHostRegister_v2", cuMemHostRegister_v2_fn, true)                       \
	ENTRY(host_unregister, "cuMemHostUnregister", cuMemHostUnregister_fn, true)                       \
	ENTRY(host_device_pointer, "cuMemHostGetDevicePointer_v2", cuMemHostGetDevicePointer_v2_fn, true) \
	ENTRY(host_alloc, "cuMemHostAlloc", cuMemHostAlloc_fn, true)                                      \
	ENTRY(host_free, "cuMemFreeHost", cuMemFreeHost_fn, true)                                         \
	ENTRY(address_reserve, "cuMemAddressReserve", cuMemAddressReserve_fn, false)                      \
	ENTRY(address_free, "cuMemAddressFree", cuMemAddressFree_fn, false)                               \
	ENTRY(mem_create, "cuMemCreate", cuMemCreate_fn, false)                                           \
	ENTRY(mem_release, "cuMemRelease", cuMemRelease_fn, false)                                        \
	ENTRY(mem_map, "cuMemMap", cuMemMap_fn, false)                                                    \
	ENTRY(mem_unmap, "cuMemUnmap", cuMemUnmap_fn, false)                                              \
	ENTRY(mem_set_access, "cuMemSetAccess", cuMemSetAccess_fn, false)                                 \
	ENTRY(mem_granularity, "cuMemGetAllocationGranularity", cuMemGetAllocationGranularity_fn, false)  \
	ENTRY(mem_export, "cuMemExportToShareableHandle", cuMemExportToShareableHandle_fn, false)         \
	ENTRY(mem_import, "cuMemImportFromShareableHandle", cuMemImportFromShareableHandle_fn, false)     \
	ENTRY(copy_h2d, "cuMemcpyHtoDAsync_v2", cuMemcpyHtoDAsync_v2_fn, true)                            \
	ENTRY(copy_d2h, "cuMemcpyDtoHAsync_v2", cuMemcpyDtoHAsync_v2_fn, true)                            \
	ENTRY(copy_d2d, "cuMemcpyDtoDAsync_v2", cuMemcpyDtoDAsync_v2_fn, true)                            \
	ENTRY(copy_2d, "cuMemcpy2DAsync_v2", cuMemcpy2DAsync_v2_fn, true)                                 \
	ENTRY(copy_3d, "cuMemcpy3DAsync_v2", cuMemcpy3DAsync_v2_fn, true)                                 \
	ENTRY(array_3d_create, "cuArray3DCreate_v2", cuArray3DCreate_v2_fn, false)                        \
	ENTRY(array_3d_descriptor, "cuArray3DGetDescriptor_v2", cuArray3DGetDescriptor_v2_fn, false)      \
	ENTRY(array_destroy, "cuArrayDestroy", cuArrayDestroy_fn, false)                                  \
	ENTRY(array_plane, "cuArrayGetPlane", cuArrayGetPlane_fn, false)                                  \
	ENTRY(array_requirements, "cuArrayGetMemoryRequirements", cuArrayGetMemoryRequirements_fn, false) \
	ENTRY(mipmap_create, "cuMipmappedArrayCreate", cuMipmappedArrayCreate_fn, false)                  \
	ENTRY(mipmap_destroy, "cuMipmappedArrayDestroy", cuMipmappedArrayDestroy_fn, false)               \
	ENTRY(mipmap_level, "cuMipmappedArrayGetLevel", cuMipmappedArrayGetLevel_fn, false)               \
	ENTRY(mipmap_requirements, "cuMipmappedArrayGetMemoryRequirements",                               \
	      cuMipmappedArrayGetMemoryRequirements_fn, false)                                            \
	ENTRY(texture_create, "cuTexObjectCreate", cuTexObjectCreate_fn, false)                           \
	ENTRY(texture_destroy, "cuTexObjectDestroy", cuTexObjectDestroy_fn, false)                        \
	ENTRY(surface_create, "cuSurfObjectCreate", cuSurfObjectCreate_fn, false)                         \
	ENTRY(surface_destroy, "cuSurfObjectDestroy", cuSurfObjectDestroy_fn, false)                      \
	ENTRY(texture_linear_max, "cuDeviceGetTexture1DLinearMaxWidth",                                   \
	      cuDeviceGetTexture1DLinearMaxWidth_fn, false)                                               \
	ENTRY(set_8, "cuMemsetD8Async", cuMemsetD8Async_fn, true)                                         \
	ENTRY(set_16, "cuMemsetD16Async", cuMemsetD16Async_fn, true)                                      \
	ENTRY(set_32, "cuMemsetD32Async", cuMemsetD32Async_fn, true)                                      \
	ENTRY(set_2d_8, "cuMemsetD2D8Async", cuMemsetD2D8Async_fn, true)                                  \
	ENTRY(set_2d_16, "cuMemsetD2D16Async", cuMemsetD2D16Async_fn, true)                               \
	ENTRY(set_2d_32, "cuMemsetD2D32Async", cuMemsetD2D32Async_fn, true)                               \
	ENTRY(stream_create, "cuStreamCreateWithPriority", cuStreamCreateWithPriority_fn, true)           \
	ENTRY(stream_destroy, "cuStreamDestroy_v2", cuStreamDestroy_v2_fn, true)                          \
	ENTRY(stream_query, "cuStreamQuery", cuStreamQuery_fn, true)                                      \
	ENTRY(stream_synchronize, "cuStreamSynchronize", cuStreamSynchronize_fn, true)                    \
	ENTRY(stream_wait_event, "cuStreamWaitEvent", cuStreamWaitEvent_fn, true)                         \
	ENTRY(stream_write_64, "cuStreamWriteValue64_v2", cuStreamWriteValue64_v2_fn, false)              \
	ENTRY(stream_wait_64, "cuStreamWaitValue64_v2", cuStreamWaitValue64_v2_fn, false)                 \
	ENTRY(stream_set, "cuStreamSetAttribute", cuStreamSetAttribute_fn, false)                         \
	ENTRY(stream_words, "cuStreamBatchMemOp_v2", cuStreamBatchMemOp_v2_fn, false)                     \
	ENTRY(event_create, "cuEventCreate", cuEventCreate_fn, true)                                      \
	ENTRY(event_destroy, "cuEventDestroy_v2", cuEventDestroy_v2_fn, true)                             \
	ENTRY(event_record, "cuEventRecord", cuEventRecord_fn, true)                                      \
	ENTRY(event_record_flags, "cuEventRecordWithFlags", cuEventRecordWithFlags_fn, false)             \
	ENTRY(event_query, "cuEventQuery", cuEventQuery_fn, true)                                         \
	ENTRY(event_elapsed, "cuEventElapsedTime", cuEventElapsedTime_fn, true)

struct cuda_driver {
	void *library;
	bool compiler; // the driver's PTX compiler is in the process already
#define CUDA_DRIVER_MEMBER(member, symbol, type, required) type member;
	CUDA_DRIVER_TABLE(CUDA_DRIVER_MEMBER)
#undef CUDA_DRIVER_MEMBER
};

// Loads the driver named by VGPU_HOST_LIBCUDA, libcuda.so.1 if that is unset. 0, or a CUresult with the
// reason in error. The library stays loaded for the life of the process: the driver cannot be unloaded.
int cuda_driver_open(struct cuda_driver *ret, char *error, size_t error_bytes);

#endif
