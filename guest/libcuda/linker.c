// SPDX-License-Identifier: Apache-2.0
// The driver's linker. A single PTX text, cubin or fat binary needs none and is handed back as the linked
// image; several inputs are handed back as one image of our own (protocol/guest/link_image.h), which the
// backend links when it loads it. cuModuleLoadData takes either. Runs in the guest.
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
#include "protocol/guest/link_image.h"

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
	link->inputs = NULL;
	link->n_inputs = 0;
	link->input_bytes = 0;
	link->image = NULL;
	link->image_bytes = 0;
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

static CUresult add_input(struct vc_link *link, CUjitInputType type, const void *data, size_t bytes)
{
	struct vc_link_input *grown;
	char *copy;

	if (link->n_inputs == VGPU_MAX_LINK_INPUTS || bytes > VGPU_MAX_IMAGE_BYTES - link->input_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	grown = reallocarray(link->inputs, link->n_inputs + 1, sizeof(*grown));
	if (!grown)
		return CUDA_ERROR_OUT_OF_MEMORY;
	link->inputs = grown;
	copy = malloc(bytes + 1);
	if (!copy)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(copy, data, bytes);
	copy[bytes] = '\0'; // a text may come without its end
	grown[link->n_inputs++] = (struct vc_link_input){ type, copy, bytes };
	link->input_bytes += bytes;
	return CUDA_SUCCESS;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t bytes, const char *name,
			  unsigned int count, CUjit_option *options, void **values)
{
	struct vc_link *link;
	CUresult result = enter_link(state, &link);

	(void)name;
	(void)options;
	(void)values;
	if (result)
		return result;
	if (!data || !bytes || type < 0 || type >= CU_JIT_INPUT_COUNT || link->image ||
	    (count && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	if (type == CU_JIT_INPUT_NVVM) {
		vc_log("linking NVVM code is not supported");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	return add_input(link, type, data, bytes);
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

static size_t aligned(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

// All inputs in one image.
static CUresult join(const struct vc_link *link, char **ret, size_t *ret_bytes)
{
	size_t at = sizeof(struct link_image_header) + link->n_inputs * sizeof(struct link_image_input);
	struct link_image_header head = { .magic = LINK_IMAGE_MAGIC, .n_inputs = link->n_inputs };
	struct link_image_input *input;
	char *image;

	head.bytes = at;
	for (unsigned int i = 0; i < link->n_inputs; i++)
		head.bytes += aligned(link->inputs[i].bytes + 1);
	image = calloc(1, head.bytes);
	if (!image)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(image, &head, sizeof(head));
	input = (struct link_image_input *)(image + sizeof(head));
	for (unsigned int i = 0; i < link->n_inputs; i++) {
		const struct vc_link_input *from = &link->inputs[i];

		input[i] = (struct link_image_input){ .type = (uint32_t)from->type,
						      .offset = at,
						      .bytes = from->bytes };
		memcpy(image + at, from->data, from->bytes);
		at += aligned(from->bytes + 1);
	}
	*ret = image;
	*ret_bytes = head.bytes;
	return CUDA_SUCCESS;
}

// What the program gets: the one input that needs no linker, or all of them.
static CUresult make_image(const struct vc_link *link, char **ret, size_t *ret_bytes)
{
	const struct vc_link_input *one = link->inputs;

	if (link->n_inputs > 1 || one->type == CU_JIT_INPUT_OBJECT || one->type == CU_JIT_INPUT_LIBRARY)
		return join(link, ret, ret_bytes);
	*ret_bytes = one->type == CU_JIT_INPUT_PTX ? strlen(one->data) + 1 : one->bytes;
	*ret = malloc(one->bytes + 1);
	if (!*ret)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(*ret, one->data, one->bytes + 1);
	return CUDA_SUCCESS;
}

static CUresult complete(struct vc_link *link)
{
	struct vc_jit jit = { link->count, link->options, link->values };
	struct vc_module *m;
	size_t bytes;
	char *image;
	CUresult result = make_image(link, &image, &bytes);

	if (result)
		return result;
	result = vc_module_load(vc_thread.current, image, &jit, &m);
	for (unsigned int i = 0; i < link->count; i++)
		if (link->options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES ||
		    link->options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
			link->ret_values[i] = link->values[i];
	if (result) {
		free(image);
		return result;
	}
	linked_keep(m, image, bytes);
	link->image = image;
	link->image_bytes = bytes;
	return CUDA_SUCCESS;
}

CUresult cuLinkComplete(CUlinkState state, void **cubin, size_t *bytes)
{
	struct vc_link *link;
	CUresult result = enter_link(state, &link);

	if (result)
		return result;
	if (!cubin || !link->n_inputs)
		return CUDA_ERROR_INVALID_VALUE;
	if (!link->image)
		result = complete(link);
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
	for (unsigned int i = 0; i < link->n_inputs; i++)
		free(link->inputs[i].data);
	free(link->inputs);
	free(link->image);
	link->inputs = NULL;
	link->n_inputs = 0;
	link->image = NULL;
	vc_object_free(VC_LINK, link);
	return CUDA_SUCCESS;
}
