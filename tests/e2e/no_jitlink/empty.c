// SPDX-License-Identifier: Apache-2.0
//
// An empty libnvJitLink.so.13: put in front on LD_LIBRARY_PATH it hides a real one of the host, and Numba
// then links its PTX through the driver (cuLink*), which every backend can do. Without it Numba makes machine
// code of its own, which only a GPU can run. Loaded by the Python process of test_numba.py only.
extern const int vgpu_e2e_no_jitlink;
const int vgpu_e2e_no_jitlink = 1;
