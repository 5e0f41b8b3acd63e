// SPDX-License-Identifier: Apache-2.0
// Which code a device takes; see the header. Called by vgpu-admin.
#include "image/device.h"

#include "image/fatbin.h"

bool image_target_parse(const char *text, size_t n, struct image_target *ret)
{
	struct image_target t = { 0 };
	size_t i = 0;

	for (; i < n && i < 4 && text[i] >= '0' && text[i] <= '9'; i++)
		t.sm = 10 * t.sm + (unsigned)(text[i] - '0');
	if (i < n && (text[i] == 'a' || text[i] == 'f'))
		t.reach = text[i++] == 'a' ? REACH_ARCH : REACH_FAMILY;
	if (i != n || t.sm < 10)
		return false;
	*ret = t;
	return true;
}

struct image_target image_target_of(unsigned sm, uint64_t fatbin_flags)
{
	return (struct image_target){ sm, fatbin_flags & FATBIN_ARCH	 ? REACH_ARCH
					  : fatbin_flags & FATBIN_FAMILY ? REACH_FAMILY
									 : REACH_ALL };
}

char image_target_letter(const struct image_target *t)
{
	return t->reach == REACH_ARCH ? 'a' : t->reach == REACH_FAMILY ? 'f' : 0;
}

unsigned image_ptx_of_cuda(unsigned cuda)
{
	unsigned major = cuda / 1000, minor = cuda % 1000 / 10;

	if (major == 11 || major >= 13)
		return 10 * (major - 4) + minor;
	if (major != 12)
		return 0;
	// 12.5 and 12.6 brought the same PTX.
	return 80 + (minor < 6 ? minor : minor - 1);
}

// The systems on a chip share no machine code with cards of the same major number.
static bool is_embedded(unsigned sm)
{
	return sm == 53 || sm == 62 || sm == 72 || sm == 87;
}

static enum image_fit fit_family(const struct image_device *d, const struct image_target *t)
{
	if (t->reach == REACH_ARCH && d->sm != t->sm)
		return FIT_ARCH;
	if (d->sm / 10 != t->sm / 10)
		return FIT_ARCH;
	return d->sm < t->sm ? FIT_NEWER : FIT_RUNS;
}

enum image_fit image_code_fit(const struct image_device *d, const struct image_target *t)
{
	if (!d->code)
		return FIT_NO_CODE;
	if (d->sm != t->sm && (is_embedded(d->sm) || is_embedded(t->sm)))
		return FIT_ARCH;
	return fit_family(d, t);
}

enum image_fit image_ptx_fit(const struct image_device *d, const struct image_target *t, unsigned version)
{
	enum image_fit fit = FIT_RUNS;

	if (t->reach != REACH_ALL && d->code)
		fit = fit_family(d, t);
	else if (d->sm < t->sm)
		fit = FIT_NEWER;
	if (fit == FIT_RUNS && d->ptx && version > d->ptx)
		fit = FIT_PTX;
	return fit;
}
