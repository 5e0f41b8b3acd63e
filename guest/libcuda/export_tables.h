// SPDX-License-Identifier: Apache-2.0
// The tables behind cuGetExportTable: arrays of words that CUDA's runtime and libraries call through.
// Generated from export_tables.yaml; the functions in them are in export_tables.c and context_storage.c. A
// table's address never changes: the runtime's integrity check hashes two of them.
#ifndef VGPU_LIBCUDA_EXPORT_TABLES_H
#define VGPU_LIBCUDA_EXPORT_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/cuda/cuda_abi.h"

typedef void (*export_slot)(void); // cast to what the slot takes; word 0 is the size in bytes

struct export_table {
	uint8_t uuid[16];
	const export_slot *words;
};
extern const struct export_table export_tables[];
extern const size_t export_table_count;
extern const export_slot export_runtime_words[], export_integrity_words[];

// CUDART_INTERFACE. The jit forms are the 10.x and 11.x runtimes'; what they pass in a, b and c is not known
// to matter.
CUresult export_load_wrapper(CUmodule *module, const void *wrapper);
CUresult export_primary_context(CUcontext *ctx, CUdevice device); // neither retained nor activated
CUresult export_load_wrapper_jit(CUmodule *module, const void *wrapper, void *a, void *b, uint32_t c);
void export_nothing(size_t a);
CUresult export_load_fatbin_jit(const void *fatbin, CUmodule *module, void *a, void *b, uint32_t c);
CUresult export_load_compilers(void);

// TOOLS_RUNTIME_CALLBACK_HOOKS: bytes that a profiler would set; static, zero.
void export_hooks_buffer(void **ret, size_t *bytes);
void export_hooks_flags(void **ret, size_t *bytes);

// TOOLS_TLS
CUresult export_current_context(CUcontext *ctx);

// CONTEXT_LOCAL_STORAGE: a value for each context and key. ctx NULL or -1: the current one (201 if none). A
// key that is missing, or there already, is 400. The destructor runs when the context ends, not at delete.
typedef void (*export_storage_end)(CUcontext ctx, void *key, void *value);
CUresult export_storage_put(CUcontext ctx, void *key, void *value, export_storage_end end);
CUresult export_storage_delete(CUcontext ctx, void *key);
CUresult export_storage_get(void **value, CUcontext ctx, void *key);

// CONTEXT_CHECKS
CUresult export_context_check(CUcontext ctx, uint32_t *flag, const void **p);
uint32_t export_check_flags(void);

// INTEGRITY_CHECK
CUresult export_integrity_digest(uint32_t version, uint64_t unix_seconds, uint64_t out[2]);
CUresult export_integrity_enable(int enable);

// ToolsContext
CUresult export_tools_device(CUcontext ctx, int *device);
CUresult export_tools_context_id(CUcontext ctx, uint64_t *id);
CUresult export_tools_stream_id(CUcontext ctx, void *object, uint64_t *id);
CUresult export_tools_stream(CUcontext ctx, CUstream stream, void **object);

// ToolsModule: calls back for each function and returns how many there were.
int export_tools_functions(CUcontext ctx, CUmodule module,
			   void (*callback)(void *user, CUfunction function, const char *name), void *user);

// What the integrity digest is made of; both as they are hashed.
struct export_integrity {
	uint32_t driver_version, version, pid, thread;
	uint64_t runtime_table, integrity_table, digest_slot, unix_seconds;
};
struct export_integrity_device {
	uint8_t uuid[16];
	int32_t pci_domain, pci_bus, pci_device;
};
_Static_assert(sizeof(struct export_integrity) == 48, "hashed as it is");
_Static_assert(sizeof(struct export_integrity_device) == 28, "hashed as it is");
void export_digest(const struct export_integrity *head, const struct export_integrity_device *device,
		   uint8_t ret[16]);

// compile_cache.c
CUresult export_cache_open(void **ret, uint32_t kind, const void *code, uint32_t code_bytes,
			   const char *options, const char *tag);
CUresult export_cache_close(void *handle);
CUresult export_cache_lookup(void *handle, uint64_t zero, void **data, uint32_t *bytes);
CUresult export_cache_store(void *handle, uint64_t zero, const void *data, uint32_t bytes);
CUresult export_cache_free(void *data);
// Empties what the process holds; the files stay. For tests.
void compile_cache_forget(void);

#endif
