// SPDX-License-Identifier: Apache-2.0
// What libcuda.so.1 tells about itself (guest/client/log.h), and the answer of calls that are not there.
// Self-contained: the generated stubs include it alone.
#ifndef VGPU_LIBCUDA_LOG_H
#define VGPU_LIBCUDA_LOG_H

#include <stdatomic.h>
#include <stdint.h>

// One for each known call that is not there yet.
struct vc_unsupported {
	const char *name;
	_Atomic uint32_t count;
};

// Says why something is refused: the program can fetch the line (logs.c), and it goes to stderr unless the
// log is off. Keeps errno.
void vc_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A call's result, to stderr alone.
void vc_log_result(const char *name, int result, const char *text);

// The answer of a call that is not there: logged once by name, counted always. Returns
// CUDA_ERROR_NOT_SUPPORTED, or what the library's state demands (not initialised, shut down).
int vc_not_supported(struct vc_unsupported *call);

// How many calls were answered with vc_not_supported so far, all names together.
uint64_t vc_unsupported_calls(void);

#endif
