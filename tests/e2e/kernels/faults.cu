// SPDX-License-Identifier: Apache-2.0
//
// Kernels that go wrong, each in one way. faults.ptx beside this file is made by (no SDK needed):
// clang-19 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 --cuda-feature=+ptx70 -nocudainc -nocudalib
//	-O1 -I. -S -o tests/e2e/kernels/faults.ptx tests/e2e/kernels/faults.cu
#include "demo/device.h"

KERNEL write_at(u32 *p, u32 value)
{
	*(volatile u32 *)p = value;
}

KERNEL read_at(const u32 *p, u32 *out)
{
	*out = *(const volatile u32 *)p;
}

KERNEL do_trap(u32 when)
{
	if (when)
		__builtin_trap();
}

extern "C" __device__ void __assertfail(const char *what, const char *file, u32 line, const char *function,
					unsigned long char_size);

KERNEL do_assert(u32 holds)
{
	if (!holds)
		__assertfail("holds", "faults.cu", 1, "do_assert", 1);
}

// Runs until the host opens the gate, which it never does.
KERNEL forever(volatile u32 *gate)
{
	while (!*gate)
		;
}
