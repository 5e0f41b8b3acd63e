// SPDX-License-Identifier: Apache-2.0
// The driver's linker, as far as one input needs none: a single PTX text or cubin is handed back as the
// linked image, which cuModuleLoadData takes as it is. More than one input is not supported. Runs in the
// guest.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "guest/libcuda/libcuda.h"

CUresult cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
	struct vc_link *link;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!state || (count && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	link = vc_object_new(VC_LINK);
	if (!link)
		return CUDA_ERROR_OUT_OF_MEMORY;
	link->image = NULL;
	link->image_bytes = 0;
	vc_object_publish(VC_LINK, link);
	*state = (CUlinkState)(uintptr_t)vc_object_handle(VC_LINK, link);
	// Nothing is written to the logs: their lengths are zero.
	for (unsigned int i = 0; i < count; i++)
		if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES ||
		    options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
			values[i] = NULL;
	return CUDA_SUCCESS;
}

static CUresult enter_link(CUlinkState state, struct vc_link **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	*ret = vc_object_find(VC_LINK, (uint64_t)(uintptr_t)state);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t bytes, const char *name,
			  unsigned int count, CUjit_option *options, void **values)
{
	struct vc_link *link;
	char *copy;
	CUresult result = enter_link(state, &link);

	(void)name;
	(void)options;
	(void)values;
	if (result)
		return result;
	if (!data || !bytes || type < 0 || type >= CU_JIT_INPUT_COUNT || (count && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	if (link->image || (type != CU_JIT_INPUT_PTX && type != CU_JIT_INPUT_CUBIN)) {
		vc_log("linking several inputs or other kinds than PTX and cubin is not supported yet");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	if (bytes > VGPU_MAX_IMAGE_BYTES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	copy = malloc(bytes + 1);
	if (!copy)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(copy, data, bytes);
	copy[bytes] = '\0'; // a text may come without its end
	link->image = copy;
	link->image_bytes = type == CU_JIT_INPUT_PTX ? strlen(copy) + 1 : bytes;
	return CUDA_SUCCESS;
}

CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned int count,
			  CUjit_option *options, void **values)
{
	struct vc_link *link;
	struct stat st;
	CUresult result = enter_link(state, &link);
	cleanup_fd int fd = -1;
	cleanup_free char *data = NULL;
	size_t have = 0;

	if (result)
		return result;
	if (!path)
		return CUDA_ERROR_INVALID_VALUE;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return CUDA_ERROR_FILE_NOT_FOUND;
	if (st.st_size <= 0 || (uint64_t)st.st_size > VGPU_MAX_IMAGE_BYTES)
		return CUDA_ERROR_INVALID_IMAGE;
	data = malloc((size_t)st.st_size);
	if (!data)
		return CUDA_ERROR_OUT_OF_MEMORY;
	while (have < (size_t)st.st_size) {
		ssize_t n = read(fd, data + have, (size_t)st.st_size - have);

		if (n <= 0)
			return CUDA_ERROR_FILE_NOT_FOUND;
		have += (size_t)n;
	}
	return cuLinkAddData_v2(state, type, data, have, path, count, options, values);
}

CUresult cuLinkComplete(CUlinkState state, void **cubin, size_t *bytes)
{
	struct vc_link *link;
	CUresult result = enter_link(state, &link);

	if (result)
		return result;
	if (!cubin || !link->image)
		return CUDA_ERROR_INVALID_VALUE;
	*cubin = link->image;
	if (bytes)
		*bytes = link->image_bytes;
	return CUDA_SUCCESS;
}

CUresult cuLinkDestroy(CUlinkState state)
{
	struct vc_link *link;
	CUresult result = enter_link(state, &link);

	if (result)
		return result;
	if (!vc_object_claim(link, (uint64_t)(uintptr_t)state))
		return CUDA_ERROR_INVALID_HANDLE;
	free(link->image);
	link->image = NULL;
	vc_object_free(VC_LINK, link);
	return CUDA_SUCCESS;
}
