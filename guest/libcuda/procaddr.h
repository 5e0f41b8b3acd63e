// SPDX-License-Identifier: Apache-2.0
// The table behind cuGetProcAddress, generated from symbols.yaml: base names in ascending order (strcmp),
// each with its versions, highest first. Read by procaddr.c and the unit test.
#ifndef VGPU_LIBCUDA_PROCADDR_H
#define VGPU_LIBCUDA_PROCADDR_H

#include <stddef.h>

struct proc_version {
	int since; // CUDA version from which on this symbol answers
	void *symbol;
	void *per_thread;     // the _ptsz or _ptds form, NULL if there is none
	int per_thread_since; // 0 if there is none
};

struct proc_entry {
	const char *name;
	const struct proc_version *versions;
	size_t count;
};

extern const struct proc_entry proc_table[];
extern const size_t proc_table_count;

// The symbol of a base name at a version; the per-thread form if that is asked for and the name has one,
// never the plain one then (seen on driver 580). *status is one of enum cuda_proc_address_result; NULL unless
// that is SUCCESS.
void *proc_lookup(const char *name, int version, int per_thread, int *status);

#endif
