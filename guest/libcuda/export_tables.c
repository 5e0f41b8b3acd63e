// SPDX-License-Identifier: Apache-2.0
// cuGetExportTable and the functions in its tables, as far as CUDA's runtime and libraries need them. All are
// undocumented; what is known of them was measured. Runs in the guest program, any thread, before cuInit as
// well; nothing here travels to the executor but module loads.
#include "guest/libcuda/export_tables.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/md2.h"
#include "guest/libcuda/trace.h"

#define REFUSALS 32 // tables whose refusal is remembered, to log each once

static void log_refusal(const uint8_t *b)
{
	static _Atomic uint64_t seen[REFUSALS];
	uint64_t id;

	memcpy(&id, b, sizeof(id));
	for (size_t i = 0; i < REFUSALS; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&seen[i], &none, id))
			break;
		if (none == id)
			return;
	}
	vc_log("cuGetExportTable: no table "
	       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	       b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
	       b[15]);
}

// Unknown tables are refused as the driver refuses them: never a wrong or an empty one.
CUresult cuGetExportTable(const void **table, const CUuuid *id)
{
	if (!table)
		return CUDA_ERROR_INVALID_VALUE;
	*table = NULL;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < export_table_count; i++)
		if (memcmp(export_tables[i].uuid, id->bytes, sizeof(export_tables[i].uuid)) == 0) {
			*table = export_tables[i].words;
			return CUDA_SUCCESS;
		}
	log_refusal((const uint8_t *)id->bytes);
	return CUDA_ERROR_INVALID_VALUE;
}

// ---- CUDART_INTERFACE

CUresult export_load_wrapper(CUmodule *module, const void *wrapper)
{
	return vc_trace("CUDART_INTERFACE module load", cuModuleLoadFatBinary(module, wrapper));
}

CUresult export_load_wrapper_jit(CUmodule *module, const void *wrapper, void *a, void *b, uint32_t c)
{
	(void)a;
	(void)b;
	(void)c;
	return vc_trace("CUDART_INTERFACE module load", cuModuleLoadFatBinary(module, wrapper));
}

CUresult export_load_fatbin_jit(const void *fatbin, CUmodule *module, void *a, void *b, uint32_t c)
{
	(void)a;
	(void)b;
	(void)c;
	return vc_trace("CUDART_INTERFACE module load", cuModuleLoadFatBinary(module, fatbin));
}

CUresult export_primary_context(CUcontext *ctx, CUdevice device)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!ctx)
		return CUDA_ERROR_INVALID_VALUE;
	if (device != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*ctx = vc_primary_context();
	return CUDA_SUCCESS;
}

void export_nothing(size_t a)
{
	(void)a;
}

// They are the executor's and there from its start.
CUresult export_load_compilers(void)
{
	return vc_ready();
}

// ---- TOOLS_RUNTIME_CALLBACK_HOOKS, TOOLS_TLS, CONTEXT_CHECKS

void export_hooks_buffer(void **ret, size_t *bytes)
{
	static uint64_t buffer[128];

	*ret = buffer;
	*bytes = sizeof(buffer);
}

void export_hooks_flags(void **ret, size_t *bytes)
{
	static uint8_t flags[14];

	*ret = flags;
	*bytes = sizeof(flags);
}

CUresult export_current_context(CUcontext *ctx)
{
	return cuCtxGetCurrent(ctx);
}

CUresult export_context_check(CUcontext ctx, uint32_t *flag, const void **p)
{
	(void)ctx;
	(void)p;
	if (!flag)
		return CUDA_ERROR_INVALID_VALUE;
	*flag = 0;
	return CUDA_SUCCESS;
}

uint32_t export_check_flags(void)
{
	return 0;
}

// ---- INTEGRITY_CHECK

void export_digest(const struct export_integrity *head, const struct export_integrity_device *device,
		   uint8_t ret[16])
{
	static const uint8_t key[MD2_BYTES] = { 0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
						0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f };
	struct md2_hmac h;

	md2_hmac_init(&h, key);
	md2_hmac_add(&h, head, sizeof(*head));
	md2_hmac_add(&h, device, sizeof(*device));
	md2_hmac_end(&h, ret);
}

// The runtime asks three times at its start, and computes what the third answer must be from what the public
// calls told it.
CUresult export_integrity_digest(uint32_t version, uint64_t unix_seconds, uint64_t out[2])
{
	const int32_t *a = vc_device.attributes;
	struct export_integrity head = {
		.driver_version = VC_DRIVER_VERSION,
		.version = version,
		.pid = (uint32_t)getpid(),
		.thread = (uint32_t)(uintptr_t)pthread_self(),
		.runtime_table = (uintptr_t)export_runtime_words,
		.integrity_table = (uintptr_t)export_integrity_words,
		.digest_slot = (uintptr_t)export_integrity_words[1],
		.unix_seconds = unix_seconds,
	};
	struct export_integrity_device device = {
		.pci_domain = a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
		.pci_bus = a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
		.pci_device = a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID],
	};
	CUresult result = vc_ready();
	uint8_t digest[MD2_BYTES];

	if (result)
		return result;
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (version % 10 < 2) {
		out[0] = version % 10 ? 0x1841181c03cb675c : 0x3341181c03cb675c;
		out[1] = 0x8ed383aa1f4cd1e8;
		return CUDA_SUCCESS;
	}
	memcpy(device.uuid, vc_device.uuid, sizeof(device.uuid));
	export_digest(&head, &device, digest);
	memcpy(out, digest, sizeof(digest));
	return CUDA_SUCCESS;
}

CUresult export_integrity_enable(int enable)
{
	(void)enable;
	return CUDA_SUCCESS;
}

// ---- ToolsContext, ToolsModule

CUresult export_tools_device(CUcontext ctx, int *device)
{
	return cuCtxGetDevice_v2(device, ctx);
}

CUresult export_tools_context_id(CUcontext ctx, uint64_t *id)
{
	unsigned long long wide;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = 0;
	if (!ctx)
		return CUDA_SUCCESS;
	result = cuCtxGetId(ctx, &wide);
	if (!result)
		*id = wide;
	return result;
}

// The object that stands for a stream is opaque to those who ask: its handle, 1 for the legacy stream's.
CUresult export_tools_stream(CUcontext ctx, CUstream stream, void **object)
{
	struct vc_stream *s;
	CUresult result = vc_ready();

	(void)ctx;
	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (!object)
		return CUDA_ERROR_INVALID_VALUE;
	*object = s == &vc_legacy_stream ? (void *)1 : (void *)(uintptr_t)s->handle;
	return CUDA_SUCCESS;
}

CUresult export_tools_stream_id(CUcontext ctx, void *object, uint64_t *id)
{
	unsigned long long wide;
	CUresult result = cuStreamGetId((CUstream)object, &wide);

	(void)ctx;
	if (result)
		return result;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = wide;
	return CUDA_SUCCESS;
}

// Tells the callback of each kernel of a module: the function and its name (driver 580 on an H100: the third
// argument points into the image's table of symbols). The answer is how many there are; cuFFT takes 0 for a
// failure.
struct tell {
	void (*callback)(void *user, CUfunction function, const char *name);
	void *user;
};

static CUresult tell_function(struct vc_function *f, unsigned int i, void *arg)
{
	const struct tell *tell = arg;

	(void)i;
	tell->callback(tell->user, (CUfunction)(uintptr_t)vc_object_handle(VC_FUNCTION, f), f->name);
	return CUDA_SUCCESS;
}

int export_tools_functions(CUcontext ctx, CUmodule module,
			   void (*callback)(void *user, CUfunction function, const char *name), void *user)
{
	struct tell tell = { callback, user };
	struct vc_module *m = vc_object_find(VC_MODULE, (uint64_t)(uintptr_t)module);
	unsigned int count;

	if (!callback || !m || (ctx && !vc_context_find(ctx)) || vc_module_count(m, &count) ||
	    vc_module_each(m, count, tell_function, &tell))
		return 0;
	return (int)count;
}
