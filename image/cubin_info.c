// SPDX-License-Identifier: Apache-2.0
// Reads attributes of machine code; see the header.
#include "image/cubin_info.h"

#include <errno.h>

#include "common/limits.h"
#include "image/bytes.h"

#define FORMAT_NONE  1
#define FORMAT_SIZED 4

#define ATTR_MAX_THREADS 0x05
#define ATTR_REQ_NTID	 0x10
#define ATTR_FRAME	 0x11
#define ATTR_STACK	 0x12
#define ATTR_KPARAM	 0x17
#define ATTR_PARAM_BYTES 0x19
#define ATTR_REGISTERS	 0x2f
#define ATTR_KPARAM2	 0x45 // where parameters need more than 12 bits
#define ATTR_BARRIERS	 0x4c
#define COMPAT_ARCH	 0x09

#define KPARAM_BYTES 12
#define MAX_THREADS  1024

bool info_next(const unsigned char **at, const unsigned char *end, struct info_record *ret)
{
	const unsigned char *p = *at;

	if (end - p < 4 || p[0] < FORMAT_NONE || p[0] > FORMAT_SIZED)
		return false;
	*ret = (struct info_record){ .attribute = p[1],
				     .sized = p[0] == FORMAT_SIZED,
				     .value = (uint16_t)read_le(p + 2, 2),
				     .bytes = p + 4 };
	if (ret->sized && end - p - 4 < ret->value)
		return false;
	*at = p + 4 + (ret->sized ? ret->value : 0);
	return true;
}

static bool is_param(const struct info_record *r)
{
	return r->sized && r->value >= KPARAM_BYTES &&
	       (r->attribute == ATTR_KPARAM || r->attribute == ATTR_KPARAM2);
}

size_t info_count_params(const unsigned char *begin, size_t bytes)
{
	const unsigned char *end = begin + bytes;
	struct info_record r;
	size_t n = 0;

	while (info_next(&begin, end, &r))
		n += is_param(&r);
	return n;
}

static int take_param(struct cubin_kernel *k, const struct info_record *r, struct cubin_param *params)
{
	uint32_t ordinal = (uint32_t)read_le(r->bytes + 4, 2), offset = (uint32_t)read_le(r->bytes + 6, 2);
	uint32_t size = r->attribute == ATTR_KPARAM ? (uint32_t)read_le(r->bytes + 8, 4) >> 18
						    : (uint32_t)read_le(r->bytes + 8, 2);

	if (ordinal >= k->n_params || params[ordinal].size || !size || !inside(k->param_bytes, offset, size))
		return -EINVAL;
	params[ordinal] = (struct cubin_param){ offset, size };
	return 0;
}

static uint32_t product(const uint32_t sides[3])
{
	uint64_t n = 1;

	for (int i = 0; i < 3; i++)
		n *= sides[i] > MAX_THREADS ? MAX_THREADS + 1 : sides[i];
	return n > MAX_THREADS ? 0 : (uint32_t)n;
}

static void take_shape(struct cubin_kernel *k, const struct info_record *r)
{
	uint32_t sides[3];

	for (int i = 0; i < 3; i++)
		sides[i] = (uint32_t)read_le(r->bytes + 4 * i, 4);
	k->max_threads = product(sides);
	for (int i = 0; i < 3 && r->attribute == ATTR_REQ_NTID && k->max_threads; i++)
		k->req_ntid[i] = sides[i];
}

static void take_record(struct cubin_kernel *k, const struct info_record *r)
{
	if (r->attribute == ATTR_PARAM_BYTES && !r->sized)
		k->param_bytes = r->value;
	else if (r->attribute == ATTR_BARRIERS && !r->sized)
		k->barriers = r->value & 0xff;
	else if ((r->attribute == ATTR_MAX_THREADS || r->attribute == ATTR_REQ_NTID) && r->sized &&
		 r->value >= 12)
		take_shape(k, r);
}

int info_of_kernel(struct cubin_kernel *k, const unsigned char *begin, size_t bytes,
		   struct cubin_param *params, size_t room)
{
	const unsigned char *p = begin, *end = begin + bytes;
	struct info_record r;
	int result = 0;

	while (info_next(&p, end, &r)) {
		take_record(k, &r);
		k->n_params += is_param(&r);
	}
	if (k->param_bytes > VGPU_MAX_PARAM_BYTES || k->n_params > room)
		return -EINVAL;
	for (p = begin; info_next(&p, end, &r) && !result;) {
		if (is_param(&r))
			result = take_param(k, &r, params);
	}
	k->params = params;
	return result;
}

bool info_names_kernel(const struct info_record *r, uint32_t *ret_symbol)
{
	if (!r->sized || r->value < 8 ||
	    (r->attribute != ATTR_REGISTERS && r->attribute != ATTR_FRAME && r->attribute != ATTR_STACK))
		return false;
	*ret_symbol = (uint32_t)read_le(r->bytes, 4);
	return true;
}

void info_of_file(struct cubin_kernel *k, const struct info_record *r)
{
	uint32_t value = (uint32_t)read_le(r->bytes + 4, 4);

	if (r->attribute == ATTR_REGISTERS)
		k->registers = value;
	else if (r->attribute == ATTR_FRAME)
		k->frame_bytes = value;
	else
		k->stack_bytes = value;
}

bool info_is_arch(const unsigned char *begin, size_t bytes)
{
	const unsigned char *end = begin + bytes;
	struct info_record r;

	while (info_next(&begin, end, &r)) {
		if (r.attribute == COMPAT_ARCH && !r.sized)
			return r.value & 0xff;
	}
	return false;
}
