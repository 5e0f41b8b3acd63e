// SPDX-License-Identifier: Apache-2.0
// The parts that need no executor: the cuGetProcAddress table, handles, address ranges, image sizes, error
// texts.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/procaddr.h"
#include "guest/libcuda/ranges.h"

static void table_is_sorted_and_complete(void **state)
{
	(void)state;
	assert_int_equal(proc_table_count, 477);
	for (size_t i = 0; i < proc_table_count; i++) {
		const struct proc_entry *e = &proc_table[i];

		if (i)
			assert_true(strcmp(proc_table[i - 1].name, e->name) < 0);
		assert_true(e->count > 0);
		for (size_t v = 0; v < e->count; v++) {
			assert_non_null(e->versions[v].symbol);
			if (v)
				assert_true(e->versions[v - 1].since > e->versions[v].since);
			assert_int_equal(e->versions[v].per_thread != NULL,
					 e->versions[v].per_thread_since != 0);
		}
	}
}

#define EXPECT(name, version, flags, symbol)                                                          \
	do {                                                                                          \
		extern char symbol##_address[] __asm__(#symbol);                                      \
		void *p_ = NULL;                                                                      \
		int st_ = 7;                                                                          \
		assert_int_equal(cuGetProcAddress_v2(name, &p_, version, flags, &st_), CUDA_SUCCESS); \
		assert_int_equal(st_, CU_GET_PROC_ADDRESS_SUCCESS);                                   \
		assert_ptr_equal(p_, symbol##_address);                                               \
		assert_int_equal(cuGetProcAddress(name, &p_, version, flags), CUDA_SUCCESS);          \
		assert_ptr_equal(p_, symbol##_address);                                               \
	} while (0)

static void versions_resolve_as_the_driver_does(void **state)
{
	void *none = &none;
	int st = 7;

	(void)state;
	EXPECT("cuMemAlloc", 3020, 0, cuMemAlloc_v2);
	EXPECT("cuMemAlloc", 3019, 0, cuMemAlloc);
	EXPECT("cuMemAlloc", 13000, 0, cuMemAlloc_v2);
	EXPECT("cuCtxGetDevice", 12090, 0, cuCtxGetDevice);
	EXPECT("cuCtxGetDevice", 13000, 0, cuCtxGetDevice_v2);
	EXPECT("cuCtxCreate", 3020, 0, cuCtxCreate_v2);
	EXPECT("cuCtxCreate", 12040, 0, cuCtxCreate_v3);
	EXPECT("cuCtxCreate", 12050, 0, cuCtxCreate_v4);
	EXPECT("cuGetProcAddress", 11080, 0, cuGetProcAddress);
	EXPECT("cuGetProcAddress", 12000, 0, cuGetProcAddress_v2);
	EXPECT("cuLaunchKernel", 4000, 0, cuLaunchKernel);
	EXPECT("cuLaunchKernel", 7000, 1, cuLaunchKernel);
	EXPECT("cuLaunchKernel", 7000, 2, cuLaunchKernel_ptsz);
	// The plain form is there, but the per-thread one that is asked for is newer.
	assert_int_equal(cuGetProcAddress_v2("cuLaunchKernel", &none, 6050, 2, &st), CUDA_SUCCESS);
	assert_int_equal(st, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
	assert_null(none);
	EXPECT("cuMemcpyHtoD", 7000, 3, cuMemcpyHtoD_v2_ptds);
	EXPECT("cuStreamGetCaptureInfo", 10010, 2, cuStreamGetCaptureInfo_ptsz);
	EXPECT("cuStreamGetCaptureInfo", 12030, 2, cuStreamGetCaptureInfo_v3_ptsz);
	EXPECT("cuInit", 7000, 2, cuInit);
	EXPECT("cuGraphInstantiate", 13000, 0, cuGraphInstantiate_v2);
	EXPECT("cuEventElapsedTime", 12080, 0, cuEventElapsedTime_v2);
}

static void bad_look_ups_answer_as_the_driver_does(void **state)
{
	static const char *const unknown[] = { "", "cuNothing", "cuMemAlloc_v2" };
	void *p;
	int st;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		p = &p;
		st = 7;
		assert_int_equal(cuGetProcAddress_v2(unknown[i], &p, 13000, 0, &st), CUDA_SUCCESS);
		assert_int_equal(st, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
		assert_null(p);
		assert_int_equal(cuGetProcAddress(unknown[i], &p, 13000, 0), CUDA_ERROR_NOT_FOUND);
	}
	assert_int_equal(cuGetProcAddress_v2("cuLibraryLoadData", &p, 11080, 0, &st), CUDA_SUCCESS);
	assert_int_equal(st, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
	assert_null(p);
	assert_int_equal(cuGetProcAddress("cuLibraryLoadData", &p, 11080, 0), CUDA_ERROR_NOT_FOUND);
	p = &p;
	st = 7;
	assert_int_equal(cuGetProcAddress_v2("cuInit", &p, 99999, 0, &st), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuGetProcAddress_v2("cuInit", &p, 13000, 8, &st), CUDA_ERROR_INVALID_VALUE);
	assert_ptr_equal(p, &p);
	assert_int_equal(st, 7);
	assert_int_equal(cuGetProcAddress_v2("cuInit", &p, 13000, 0, NULL), CUDA_SUCCESS);
}

static void error_texts(void **state)
{
	const char *text;

	(void)state;
	assert_int_equal(cuGetErrorName(CUDA_ERROR_INVALID_VALUE, &text), 0);
	assert_string_equal(text, "CUDA_ERROR_INVALID_VALUE");
	assert_int_equal(cuGetErrorString(CUDA_ERROR_ILLEGAL_ADDRESS, &text), 0);
	assert_string_equal(text, "an illegal memory access was encountered");
	assert_int_equal(cuGetErrorString(CUDA_SUCCESS, &text), 0);
	assert_string_equal(text, "no error");
	assert_int_equal(cuGetErrorString((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
	assert_null(text);
	assert_int_equal(cuGetErrorName(CUDA_SUCCESS, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void handles_go_stale(void **state)
{
	uint64_t old[300], handle;
	struct vgpu_object *o;

	(void)state;
	for (int i = 0; i < 300; i++) {
		o = vc_object_new(VC_LINK);
		if (i >= 256) { // the kind's limit
			assert_null(o);
			break;
		}
		handle = old[i] = vc_object_handle(VC_LINK, o);
		assert_null(vc_object_find(VC_LINK, handle));
		vc_object_publish(VC_LINK, o);
		assert_ptr_equal(vc_object_find(VC_LINK, handle), o);
		assert_null(vc_object_find(VC_EVENT, handle));
	}
	for (int i = 0; i < 256; i++) {
		o = vc_object_find(VC_LINK, old[i]);
		assert_int_equal(vc_object_claim(o, old[i]), 1);
		assert_int_equal(vc_object_claim(o, old[i]), 0);
		assert_null(vc_object_find(VC_LINK, old[i]));
		vc_object_free(VC_LINK, o);
	}
	for (int i = 0; i < 256; i++) {
		o = vc_object_new(VC_LINK);
		assert_non_null(o);
		vc_object_publish(VC_LINK, o);
		assert_int_not_equal(vc_object_handle(VC_LINK, o), old[o->index]);
		assert_null(vc_object_find(VC_LINK, old[o->index]));
	}
	for (uint64_t i = 0; i < 24; i++) { // whatever a program passes: no such generation
		assert_null(vc_object_find(VC_LINK, 1ull << i));
		assert_null(vc_object_find(VC_LINK, (uint64_t)VC_LINK << 56 | 1ull << i));
	}
	assert_null(vc_object_find(VC_LINK, UINT64_MAX));
}

static void add(uint64_t base, uint64_t bytes, void *owner, int expect)
{
	struct vc_range r = { .base = base, .bytes = bytes, .kind = VC_RANGE_DEVICE, .owner = owner };

	assert_int_equal(vc_range_add(&r), expect);
}

// Against a plain array that does the same slowly.
static void ranges_agree_with_a_slow_list(void **state)
{
	enum { N = 400 };
	static struct vc_range slow[N];
	struct vc_range r;
	int owner;

	(void)state;
	srand(1);
	for (int step = 0; step < 20000; step++) {
		int i = rand() % N, clash = 0;
		uint64_t base = (uint64_t)(1 + rand() % 5000) * 16, bytes = (uint64_t)(1 + rand() % 200);
		uint64_t probe = (uint64_t)(rand() % 90000);
		const struct vc_range *holder = NULL;

		for (int j = 0; j < N; j++) {
			if (slow[j].bytes && slow[j].base < base + bytes &&
			    base < slow[j].base + slow[j].bytes)
				clash = 1;
			if (slow[j].bytes && probe - slow[j].base < slow[j].bytes)
				holder = &slow[j];
		}
		assert_int_equal(vc_range_overlaps(base, bytes), clash);
		assert_int_equal(vc_range_find(probe, &r), holder ? 0 : -ENOENT);
		if (holder)
			assert_int_equal(r.base, holder->base);
		if (slow[i].bytes) {
			assert_int_equal(vc_range_remove(slow[i].base + 1, ~0u, &r), -ENOENT);
			assert_int_equal(vc_range_remove(slow[i].base, 1u << VC_RANGE_PINNED, &r), -ENOENT);
			assert_int_equal(vc_range_remove(slow[i].base, 1u << VC_RANGE_DEVICE, &r), 0);
			assert_int_equal(r.bytes, slow[i].bytes);
			slow[i].bytes = 0;
		} else {
			add(base, bytes, &owner, clash ? -EEXIST : 0);
			if (!clash)
				slow[i] = (struct vc_range){ .base = base, .bytes = bytes };
		}
	}
	for (int j = 0; j < N; j++)
		if (slow[j].bytes)
			assert_int_equal(vc_range_remove_owned(&owner, &r), 0);
	assert_int_equal(vc_range_remove_owned(&owner, &r), -ENOENT);
	assert_int_equal(vc_range_overlaps(0, UINT64_MAX), 0);
}

static void image_sizes(void **state)
{
	struct {
		uint32_t magic;
		uint16_t version, header;
		uint64_t bytes;
		char data[32];
	} fatbin = { 0xba55ed50u, 1, 16, 32, "" };
	struct {
		uint32_t magic, version;
		const void *data, *more;
	} wrapper = { 0x466243b1u, 1, &fatbin, NULL };
	struct {
		Elf64_Ehdr h;
		Elf64_Shdr s[2];
	} elf;
	const void *image = ".version 7.0\n";

	(void)state;
	assert_int_equal(vgpu_image_size(&image), 14);
	image = ".v";
	assert_int_equal(vgpu_image_size(&image), 0);
	image = "// why\n /* and\n how */\t.version 7.0";
	assert_int_equal(vgpu_image_size(&image), 36);
	image = "this is no image";
	assert_int_equal(vgpu_image_size(&image), 0);
	image = "/* no end";
	assert_int_equal(vgpu_image_size(&image), 0);
	image = "";
	assert_int_equal(vgpu_image_size(&image), 0);
	image = NULL;
	assert_int_equal(vgpu_image_size(&image), 0);
	image = &fatbin;
	assert_int_equal(vgpu_image_size(&image), 48);
	image = &wrapper;
	assert_int_equal(vgpu_image_size(&image), 48);
	assert_ptr_equal(image, &fatbin);

	memset(&elf, 0, sizeof(elf));
	memcpy(elf.h.e_ident, ELFMAG, SELFMAG);
	elf.h.e_ident[EI_CLASS] = ELFCLASS64;
	elf.h.e_shoff = sizeof(elf.h);
	elf.h.e_shnum = 2;
	elf.h.e_shentsize = sizeof(Elf64_Shdr);
	elf.s[0] = (Elf64_Shdr){ .sh_type = SHT_PROGBITS, .sh_offset = 1000, .sh_size = 234 };
	elf.s[1] = (Elf64_Shdr){ .sh_type = SHT_NOBITS, .sh_offset = 5000, .sh_size = 999 };
	image = &elf;
	assert_int_equal(vgpu_image_size(&image), 1234);
	elf.s[0].sh_size = 0;
	elf.s[0].sh_offset = 0;
	assert_int_equal(vgpu_image_size(&image), sizeof(elf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_sorted_and_complete),
		cmocka_unit_test(versions_resolve_as_the_driver_does),
		cmocka_unit_test(bad_look_ups_answer_as_the_driver_does),
		cmocka_unit_test(error_texts),
		cmocka_unit_test(handles_go_stale),
		cmocka_unit_test(ranges_agree_with_a_slow_list),
		cmocka_unit_test(image_sizes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
