// SPDX-License-Identifier: Apache-2.0
// What libcuda.so.1 tells about itself: lines on stderr when VGPU_LOG=debug or trace, silence otherwise, for
// it lives in strangers' processes. Self-contained: the generated stubs include it alone.
#ifndef VGPU_LIBCUDA_LOG_H
#define VGPU_LIBCUDA_LOG_H

#include <stdatomic.h>
#include <stdint.h>

// One for each known call that is not there yet.
struct vc_unsupported {
	const char *name;
	_Atomic uint32_t count;
};

// VGPU_LOG, looked up once. debug: what is missing, and each error that a call returned, once; trace: every
// call that went through cuGetProcAddress with its result.
enum vc_log_level { VC_LOG_OFF, VC_LOG_DEBUG, VC_LOG_TRACE };
int vc_log_level(void);

// Writes one line to stderr unless the log is off; keeps errno.
void vc_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The answer of a call that is not there: logged once by name, counted always. Returns
// CUDA_ERROR_NOT_SUPPORTED, or what the library's state demands (not initialised, shut down).
int vc_not_supported(struct vc_unsupported *call);

// How many calls were answered with vc_not_supported so far, all names together.
uint64_t vc_unsupported_calls(void);

#endif
