// SPDX-License-Identifier: Apache-2.0
// Feeds bytes to all readers of program images as they come: the kind, fat binaries with what is packed in
// them, machine code, PTX's declarations, host files; and to the cpu backend's choice among them.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "executor/backends/cpu/cpu_cubin.h"
#include "executor/backends/cpu/cpu_image.h"
#include "image/host.h"
#include "image/image.h"
#include "image/ptx_head.h"
#include "image/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Unpacked sizes are the input's word and cost only memory; a fuzzer should not spend its time there.
#define PLAIN_LIMIT (1u << 20)

static void read_code(const void *code, size_t bytes)
{
	struct cpu_cubin *c;

	if (cpu_cubin_read(code, bytes, &c))
		return;
	for (size_t i = 0; i < cpu_cubin_count(c); i++) {
		if (!cpu_cubin_kernel(c, cpu_cubin_kernel_at(c, i)->name))
			abort();
	}
	cpu_cubin_free(c);
}

static void read_ptx(const char *text, size_t bytes)
{
	struct ptx_object o;
	struct ptx_head h;
	struct ptx_item item;
	size_t n = 0;

	if (ptx_head_read(text, bytes, &h))
		return;
	while (ptx_head_next(&h, &item) > 0) {
		while (item.params && ptx_next_param(&h, &item.params, &o))
			n++;
		if (++n > 2 * bytes)
			abort(); // does not get on
	}
}

static void read_entry(const struct fatbin_entry *e)
{
	void *plain = NULL;
	const void *at = e->payload;
	size_t bytes = e->stored;

	if (fatbin_is_packed(e)) {
		if (e->plain > PLAIN_LIMIT || unpack_entry(e, &plain))
			return;
		at = plain;
		bytes = e->plain;
	}
	read_code(at, bytes);
	read_ptx(at, bytes);
	free(plain);
}

static bool read_part(void *opaque, const struct image_part *part)
{
	struct fatbin_entry e;
	struct fatbin f;

	(void)opaque;
	if (fatbin_open(part->image, part->bytes, &f))
		abort();
	while (fatbin_next(&f, &e) > 0)
		read_entry(&e);
	return true;
}

static void choose(const uint8_t *data, size_t size)
{
	struct fatbin_entry piece;
	struct cpu_image image;
	char error[200];

	if (!cpu_image_ptx(data, size, 80, &image, error, sizeof(error)))
		free(image.owned);
	if (cpu_image_code(data, size, 80, &piece) && piece.plain <= PLAIN_LIMIT &&
	    !cpu_piece_unpack(&piece, &image, error, sizeof(error)))
		free(image.owned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_part all = { .image = data, .bytes = size };
	struct fatbin f;

	if (image_kind(data, size) == IMAGE_FATBIN && !fatbin_open(data, size, &f))
		read_part(NULL, &all);
	host_parts(data, size, read_part, NULL);
	read_code(data, size);
	read_ptx((const char *)data, size);
	choose(data, size);
	return 0;
}
