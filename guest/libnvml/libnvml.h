// SPDX-License-Identifier: Apache-2.0
// libnvidia-ml.so.1: NVML for a tenant with one device, from what the mediator tells
// (guest/client/device_state.h). No channel, no executor, no context; libc and guest/client only. What is
// shared between its files, and the prototypes of what it exports.
//
// Every call looks first whether the library is initialised (UNINITIALIZED), then at its arguments
// (INVALID_ARGUMENT; a versioned structure: ARGUMENT_VERSION_MISMATCH), then asks the host: a value that it
// does not tell is NOT_SUPPORTED; a lost card or mediator is GPU_IS_LOST, one that does not answer TIMEOUT.
// Results are written on success only, but for sizes that INSUFFICIENT_SIZE tells. Any thread may call
// anything.
#ifndef VGPU_LIBNVML_LIBNVML_H
#define VGPU_LIBNVML_LIBNVML_H

#include <stdatomic.h>

#include "guest/client/device_state.h"
#include "protocol/nvml/nvml_abi.h"

#define NV_EXPORT __attribute__((visibility("default")))

#define NVML_CALL(name, params) NV_EXPORT nvmlReturn_t name params;
#include "protocol/nvml/nvml_calls.def"
#undef NVML_CALL
NV_EXPORT const char *nvmlErrorString(nvmlReturn_t result);

// ---- state of the library (init.c)

// The library's only lock: not held while the host is asked (but by nvmlInit), free in a forked child.
void nv_lock(void);
void nv_unlock(void);

// SUCCESS between nvmlInit and the last nvmlShutdown, else UNINITIALIZED. The first thing that every call
// does.
nvmlReturn_t nv_ready(void);

// The one handle, the same for the life of the process.
nvmlDevice_t nv_device(void);
// nv_ready, and the handle is the device's.
nvmlReturn_t nv_ready_device(nvmlDevice_t device);
// nv_ready_device, and there is a place for the answer.
nvmlReturn_t nv_ready_answer(nvmlDevice_t device, const void *answer);

// One look at the device, at most NV_AGE_NS old. GPU_IS_LOST when the card or the mediator is gone; never
// waits longer than VGPU_DEVICE_WAIT_NS.
#define NV_AGE_NS 100000000ull
nvmlReturn_t nv_look(struct device_state *ret);
// nv_ready_answer and nv_look.
nvmlReturn_t nv_look_answer(nvmlDevice_t device, const void *answer, struct device_state *ret);

// The programs of this tenant that can be named, one row a pid, rows of one pid added up, in order of pid.
// Room for VGPU_MAX_CHANNELS_PER_TENANT rows.
nvmlReturn_t nv_look_processes(struct device_process *rows, unsigned int *ret_n);

// Microseconds since 1970, as NVML stamps what it tells.
unsigned long long nv_now_us(void);

// ---- answers (answer.c); for what generate.py makes as well

// Copies a text with its terminator: INVALID_ARGUMENT, INSUFFICIENT_SIZE, or NOT_SUPPORTED for an empty one.
nvmlReturn_t nv_text(const char *text, char *ret, unsigned int length);
// A text of struct device_texts, by its offset there.
nvmlReturn_t nv_device_text(nvmlDevice_t device, size_t offset, char *ret, unsigned int length);

nvmlReturn_t nv_known(const struct device_state *s, enum device_value which, unsigned int *ret);
nvmlReturn_t nv_value(nvmlDevice_t device, enum device_value which, unsigned int *ret);
nvmlReturn_t nv_wide_value(nvmlDevice_t device, enum device_value which, unsigned long long *ret);
// n of them into n places; all or none.
nvmlReturn_t nv_values(nvmlDevice_t device, const enum device_value *which, unsigned int *const *ret,
		       unsigned int n);
// A number that this library knows itself.
nvmlReturn_t nv_constant(nvmlDevice_t device, unsigned int value, unsigned int *ret);

// Whether a list of `needed` fits: SUCCESS with the count set, or INSUFFICIENT_SIZE with it set;
// INVALID_ARGUMENT where there is no count, or no list for a count that is not 0.
nvmlReturn_t nv_room(unsigned int needed, unsigned int *count, const void *list);

nvmlReturn_t nv_refuse(nvmlReturn_t result);
nvmlReturn_t nv_refuse_device(nvmlDevice_t device, nvmlReturn_t result);

// A call that is not there: logged once by name, answers NOT_SUPPORTED.
struct nv_missing {
	const char *name;
	_Atomic unsigned int count;
};
nvmlReturn_t nv_missing(struct nv_missing *call);
nvmlReturn_t nv_missing_device(nvmlDevice_t device, struct nv_missing *call);

// One line on stderr unless the log is off (guest/client/log.h).
void nv_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The name of a program: its first argument as /proc tells it. NOT_FOUND.
nvmlReturn_t nv_program_name(unsigned int pid, char *ret, unsigned int length);

#endif
