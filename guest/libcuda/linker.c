// SPDX-License-Identifier: Apache-2.0
// The driver's linker, as far as one input needs none: a single PTX text or cubin is handed back as the
// linked image, which cuModuleLoadData takes as it is. More than one input is not supported. Runs in the
// guest.
//
// A program expects the compiler's errors and logs at cuLinkComplete, so the image is loaded there. Most
// programs load what they linked at once, some of them a copy of it; the module waits for that (the last one
// only), and no image is compiled twice.
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "guest/libcuda/libcuda.h"

// The module of the last completed link, until it is loaded, unloaded or another link completes.
static struct {
	pthread_mutex_t lock;
	struct vc_module *module; // NULL: none
	void *image;
	size_t bytes;
} linked = { PTHREAD_MUTEX_INITIALIZER, NULL, NULL, 0 };

struct vc_module *vc_linked_take(const void *image, size_t bytes)
{
	struct vc_module *m = NULL;
	void *done = NULL;

	pthread_mutex_lock(&linked.lock);
	if (linked.module && linked.bytes == bytes && memcmp(linked.image, image, bytes) == 0) {
		m = linked.module;
		done = linked.image;
		linked.module = NULL;
		linked.image = NULL;
	}
	pthread_mutex_unlock(&linked.lock);
	free(done);
	return m;
}

void vc_linked_forget(const struct vc_module *m)
{
	void *done = NULL;

	pthread_mutex_lock(&linked.lock);
	if (linked.module == m) {
		done = linked.image;
		linked.module = NULL;
		linked.image = NULL;
	}
	pthread_mutex_unlock(&linked.lock);
	free(done);
}

// Without memory for the copy the module just goes: it will be compiled again.
static void linked_keep(struct vc_module *m, const void *image, size_t bytes)
{
	struct vc_module *before;
	void *copy = malloc(bytes), *done;

	if (!copy) {
		vc_module_unload(m);
		return;
	}
	memcpy(copy, image, bytes);
	pthread_mutex_lock(&linked.lock);
	before = linked.module;
	done = linked.image;
	linked.module = m;
	linked.image = copy;
	linked.bytes = bytes;
	pthread_mutex_unlock(&linked.lock);
	free(done);
	if (before)
		vc_module_unload(before);
}

CUresult cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
	struct vc_link *link;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!state || count > VC_LINK_OPTIONS || (count && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	link = vc_object_new(VC_LINK);
	if (!link)
		return CUDA_ERROR_OUT_OF_MEMORY;
	link->image = NULL;
	link->image_bytes = 0;
	link->complete = 0;
	link->count = count;
	link->ret_values = values;
	for (unsigned int i = 0; i < count; i++) {
		link->options[i] = options[i];
		link->values[i] = values[i];
	}
	vc_object_publish(VC_LINK, link);
	*state = (CUlinkState)(uintptr_t)vc_object_handle(VC_LINK, link);
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

static CUresult compile(struct vc_link *link)
{
	struct vc_jit jit = { link->count, link->options, link->values };
	struct vc_module *m;
	CUresult result = vc_module_load(vc_thread.current, link->image, &jit, &m);

	for (unsigned int i = 0; i < link->count; i++)
		if (link->options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES ||
		    link->options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
			link->ret_values[i] = link->values[i];
	if (result)
		return result;
	linked_keep(m, link->image, link->image_bytes);
	link->complete = 1;
	return CUDA_SUCCESS;
}

CUresult cuLinkComplete(CUlinkState state, void **cubin, size_t *bytes)
{
	struct vc_link *link;
	CUresult result = enter_link(state, &link);

	if (result)
		return result;
	if (!cubin || !link->image)
		return CUDA_ERROR_INVALID_VALUE;
	if (!link->complete)
		result = compile(link);
	if (result)
		return result;
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
