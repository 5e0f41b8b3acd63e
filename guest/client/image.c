// SPDX-License-Identifier: Apache-2.0
// Program images: how long one is, for callers may pass no length, and how it gets into a blob of the
// executor. The size is read from what the image's own headers lead to, as the driver does. Called by
// libcuda and libvgpu; runs in the guest program.
#include "guest/client/image.h"

#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "image/elf64.h"
#include "image/fatbin.h"
#include "image/image.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/link_image.h"

#define PIECE VGPU_KIB(512)

// What libcuda's linker made of several inputs. 0: it is none.
static size_t linked_size(const char *p)
{
	struct link_image_header h = { .magic = LINK_IMAGE_MAGIC };

	// Byte by byte: a text may be shorter than a magic number.
	for (size_t i = 0; i < sizeof(h.magic); i++) {
		if (p[i] != ((const char *)&h.magic)[i])
			return 0;
	}
	memcpy(&h, p, sizeof(h));
	return h.bytes;
}

size_t vgpu_image_size(const void **image)
{
	enum image_kind kind = *image ? image_kind(*image, SIZE_MAX) : IMAGE_NONE;
	struct image_wrapper wrapper;

	if (kind == IMAGE_WRAPPER) {
		memcpy(&wrapper, *image, sizeof(wrapper));
		if (!wrapper.data)
			return 0;
		*image = wrapper.data;
		kind = image_kind(*image, SIZE_MAX);
	}
	switch (kind) {
	case IMAGE_FATBIN: return fatbin_extent(*image);
	case IMAGE_ELF: return elf64_extent(*image);
	case IMAGE_PTX: return strlen(*image) + 1;
	case IMAGE_NONE: return *image ? linked_size(*image) : 0;
	default: return 0;
	}
}

// ---- sending

// Fills a part of the arena and has it copied, in pieces: while the executor copies one the next is filled.
static int send_part(struct vgpu_client *c, uint64_t blob, uint64_t offset, const char *from, size_t bytes,
		     char *arena)
{
	uint64_t begin = vgpu_client_gpu_address(c, arena) - vgpu_client_window_base(c);
	int result = 0;

	for (size_t at = 0; !result && at < bytes; at += PIECE) {
		struct record_blob_write record = {
			.blob = blob,
			.offset = offset + at,
			.arena_offset = begin + at,
			.length = bytes - at < PIECE ? bytes - at : PIECE,
		};

		memcpy(arena + at, from + at, record.length);
		result = vgpu_push_blob_write(c, &record);
	}
	return result;
}

// Parts of the arena are free again when a reply has come: a ping after each.
static int send_image(struct vgpu_client *c, uint64_t blob, const char *image, size_t bytes)
{
	int result = 0;

	for (size_t at = 0; !result && at < bytes;) {
		size_t part = bytes - at < VGPU_CHUNK_MAX ? bytes - at : VGPU_CHUNK_MAX;
		struct record_ping ping = { .value = 0 };
		struct reply_ping pong;
		struct vgpu_chunk chunk;

		result = vgpu_arena_get(c, part, &chunk);
		if (result)
			return result < 0 ? CUDA_ERROR_OUT_OF_MEMORY : result;
		result = send_part(c, blob, at, image + at, part, chunk.address);
		if (!result)
			result = vgpu_call_ping(c, &ping, &pong);
		vgpu_arena_put(c, &chunk, UINT32_MAX, 0);
		at += part;
	}
	return result;
}

int vgpu_blob_fill(struct vgpu_client *c, uint64_t blob, const void *data, size_t bytes)
{
	struct record_blob_create create = { .blob = blob, .size = bytes };
	struct record_blob_destroy destroy = { .blob = blob };
	int result = vgpu_call_blob_create(c, &create);

	if (result)
		return result;
	result = send_image(c, blob, data, bytes);
	if (result)
		vgpu_push_blob_destroy(c, &destroy);
	return result;
}
