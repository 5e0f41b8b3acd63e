// SPDX-License-Identifier: Apache-2.0
// Which code a device takes, by the rules that the driver has for it. Pure.
#ifndef VGPU_IMAGE_DEVICE_H
#define VGPU_IMAGE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_reach {
	REACH_ALL,    // sm_90: this architecture; PTX: and later ones
	REACH_ARCH,   // sm_90a: this very architecture
	REACH_FAMILY, // sm_100f: later ones of its family too
};

struct image_target {
	unsigned sm; // 90 for sm_90; 0: not known
	enum image_reach reach;
};

// As it is written behind "sm_" or "compute_": digits, perhaps a letter. False: it is no such thing.
bool image_target_parse(const char *text, size_t n, struct image_target *ret);
// Of a fat binary's entry.
struct image_target image_target_of(unsigned sm, uint64_t fatbin_flags);
char image_target_letter(const struct image_target *t); // 'a', 'f', or 0

struct image_device {
	unsigned sm;  // 90: compute capability 9.0
	unsigned ptx; // the newest PTX version that it takes, 90 for 9.0; 0: any
	bool code;    // runs machine code
};

// 10 * major + minor of the PTX that a driver of this CUDA version (13000 for 13.0) takes. 0: not known.
unsigned image_ptx_of_cuda(unsigned cuda);

enum image_fit {
	FIT_RUNS,
	FIT_ARCH,    // for another architecture
	FIT_NEWER,   // for a later architecture
	FIT_PTX,     // of a PTX version that is too new
	FIT_NO_CODE, // machine code, and the device runs PTX only
};

enum image_fit image_code_fit(const struct image_device *d, const struct image_target *t);
enum image_fit image_ptx_fit(const struct image_device *d, const struct image_target *t, unsigned version);

#endif
