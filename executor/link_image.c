// SPDX-License-Identifier: Apache-2.0
// Checks of an image of several inputs; see the header. Called by module_load's handler and by tests.
#include "executor/link_image.h"

#include <string.h>

#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/link_image.h"

static bool read_header(const void *image, size_t bytes, struct link_image_header *ret)
{
	if (bytes < sizeof(*ret))
		return false;
	memcpy(ret, image, sizeof(*ret));
	return ret->magic == LINK_IMAGE_MAGIC;
}

bool link_image_is(const void *image, size_t bytes)
{
	struct link_image_header h;

	return read_header(image, bytes, &h);
}

static bool is_valid(const struct link_image_input *input, size_t head, const uint8_t *image, size_t bytes)
{
	return input->type < CU_JIT_INPUT_COUNT && !input->reserved && input->offset % 8 == 0 &&
	       input->offset >= head && input->offset < bytes && input->bytes &&
	       input->bytes < bytes - input->offset && !image[input->offset + input->bytes];
}

int32_t link_image_read(const void *image, size_t bytes, struct backend_input *ret, uint32_t *ret_n)
{
	struct link_image_header h;
	size_t head;

	if (!read_header(image, bytes, &h) || h.bytes != bytes || !h.n_inputs ||
	    h.n_inputs > VGPU_MAX_LINK_INPUTS)
		return CUDA_ERROR_INVALID_IMAGE;
	head = sizeof(h) + h.n_inputs * sizeof(struct link_image_input);
	if (head > bytes)
		return CUDA_ERROR_INVALID_IMAGE;
	for (uint32_t i = 0; i < h.n_inputs; i++) {
		struct link_image_input input;

		memcpy(&input, (const uint8_t *)image + sizeof(h) + i * sizeof(input), sizeof(input));
		if (!is_valid(&input, head, image, bytes))
			return CUDA_ERROR_INVALID_IMAGE;
		ret[i] = (struct backend_input){ .type = input.type,
						 .data = (const uint8_t *)image + input.offset,
						 .bytes = input.bytes };
	}
	*ret_n = h.n_inputs;
	return CUDA_SUCCESS;
}
