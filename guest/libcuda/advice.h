// SPDX-License-Identifier: Apache-2.0
// What programs advised about managed memory, kept so that cuMemRangeGetAttribute can tell it. Runs in the
// guest program; thread-safe.
#ifndef VGPU_LIBCUDA_ADVICE_H
#define VGPU_LIBCUDA_ADVICE_H

#include "protocol/cuda/cuda_abi.h"

#define CU_DEVICE_CPU_ID     (-1)
#define CU_DEVICE_INVALID_ID (-2)

// Of every byte of a range; CU_MEM_LOCATION_TYPE 0 (and id -2): none.
struct vc_advice {
	int read_mostly, by_device, by_host;
	CUmemLocation preferred, prefetched;
};

struct vc_advice vc_advice_none(void);

// change for every part of [base, base + bytes) that has advice of its own, or none yet.
// CUDA_ERROR_OUT_OF_MEMORY.
CUresult vc_advice_change(uint64_t base, uint64_t bytes, void (*change)(struct vc_advice *, const void *arg),
			  const void *arg);
// What holds for all of the range: where its parts differ, nothing.
struct vc_advice vc_advice_common(uint64_t base, uint64_t bytes);
// The memory is gone.
void vc_advice_forget(uint64_t base, uint64_t bytes);

#endif
