// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 that is not vgpu's, as a toolkit's or a driver's that comes first in the loader's path.
int cuInit(unsigned int flags);

int cuInit(unsigned int flags)
{
	(void)flags;
	return 100; // no device
}
