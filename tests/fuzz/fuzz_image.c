// SPDX-License-Identifier: Apache-2.0
// Feeds module images to what the cpu backend reads of them: the search for PTX, the choice and unpacking of
// machine code, and the list of its kernels.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "executor/backends/cpu/cpu_cubin.h"
#include "executor/backends/cpu/cpu_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Unpacked sizes are the input's word and cost only memory; a fuzzer should not spend its time there.
#define PLAIN_LIMIT (1u << 20)

static void read_code(const struct cpu_piece *piece)
{
	struct cpu_image image;
	struct cpu_cubin *c;
	char error[200];

	if (piece->plain > PLAIN_LIMIT || cpu_piece_unpack(piece, &image, error, sizeof(error)))
		return;
	if (!cpu_cubin_read(image.text, image.bytes, &c)) {
		for (size_t i = 0; i < cpu_cubin_count(c); i++)
			if (!cpu_cubin_kernel(c, cpu_cubin_kernel_at(c, i)->name))
				abort();
		cpu_cubin_free(c);
	}
	free(image.owned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cpu_image image;
	struct cpu_piece piece;
	char error[200];

	if (!cpu_image_ptx(data, size, 80, &image, error, sizeof(error)))
		free(image.owned);
	if (cpu_image_code(data, size, 80, &piece))
		read_code(&piece);
	return 0;
}
