// SPDX-License-Identifier: Apache-2.0
/*
 * libFuzzer entry of the PTX engine: parses, checks and generates code for hostile text, verifies the result,
 * runs nothing. A second entry of the same bytes: the text behind a valid head, so that the fuzzer need not
 * find that first.
 */
#include "executor/backends/cpu/ptx/ptx.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] =
	    ".version 8.0\n.target sm_80\n.address_size 64\n.entry k(.param .u64 p) {\n"
	    ".reg .b32 %r<9>; .reg .b64 %d<9>; .reg .f32 %f<9>; .reg .pred %p<9>; .reg .b16 %h<9>;\n"
	    ".shared .b32 s[9]; .local .b32 l[9]; .param .b64 q;\n";
	struct ptx_error err;
	char *text;

	if (size > 1 << 16)
		return 0;
	text = malloc(sizeof(head) + size);
	if (!text)
		return 0;
	ptx_check((const char *)data, size, &err);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + sizeof(head) - 1, data, size);
	ptx_check(text, sizeof(head) - 1 + size, &err);
	free(text);
	return 0;
}
