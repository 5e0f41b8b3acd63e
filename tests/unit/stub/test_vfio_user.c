// SPDX-License-Identifier: Apache-2.0
// The decoder of vfio-user messages, with what monitors send and what they do not.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "stub/vfio_user.h"

static int decode(uint16_t command, const void *payload, size_t bytes, unsigned n_fds,
		  struct vfio_user_request *r)
{
	struct vfio_user_header h = { .id = 7, .command = command, .size = (uint32_t)(sizeof(h) + bytes) };

	return vfio_user_decode(&h, payload, n_fds, r);
}

static void headers(void **state)
{
	struct vfio_user_header h = { .size = sizeof(h) };

	(void)state;
	assert_int_equal(vfio_user_check_header(&h), 0);
	h.size = sizeof(h) - 1;
	assert_int_equal(vfio_user_check_header(&h), -EPROTO);
	h.size = VFIO_USER_MAX_BYTES;
	assert_int_equal(vfio_user_check_header(&h), 0);
	h.size = VFIO_USER_MAX_BYTES + 1;
	assert_int_equal(vfio_user_check_header(&h), -EPROTO);
	h.size = sizeof(h);
	h.flags = VFIO_USER_REPLY;
	assert_int_equal(vfio_user_check_header(&h), -EPROTO);
	h.flags = VFIO_USER_NO_REPLY;
	assert_int_equal(vfio_user_check_header(&h), 0);
}

static void unknown_commands(void **state)
{
	static const uint16_t commands[] = { 0, 6, 11, 12, 14, 15, 16, 17, 0xffff };
	struct vfio_user_request r;

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		assert_int_equal(decode(commands[i], NULL, 0, 0, &r), ENOTSUP);
		assert_int_equal(r.id, 7);
	}
}

static void version(void **state)
{
	struct vfio_user_request r;

	(void)state;
	assert_int_equal(decode(VFIO_USER_VERSION, "\0\0\1\0{}", 7, 0, &r), 0);
	assert_int_equal(r.u.version.minor, 1);
	assert_int_equal(decode(VFIO_USER_VERSION, "\0\0\0\0", 4, 0, &r), 0);
	assert_int_equal(decode(VFIO_USER_VERSION, "\0\0\0\0{}", 6, 0, &r), EINVAL); // no end
	assert_int_equal(decode(VFIO_USER_VERSION, "\0\0\0", 3, 0, &r), EINVAL);
	assert_int_equal(decode(VFIO_USER_VERSION, "\0\0\0\0", 4, 1, &r), EINVAL);
}

static void dma_map(void **state)
{
	struct vfio_user_dma_map m = { .flags = 3, .offset = 4096, .address = 8192, .bytes = 4096 };
	struct vfio_user_request r;

	(void)state;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 1, &r), 0);
	assert_true(r.u.map.writable);
	assert_int_equal(r.u.map.offset, 4096);
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 2, &r), EINVAL);
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m) - 1, 1, &r), EINVAL);
	m.flags = 1;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 0, &r), 0);
	assert_false(r.u.map.writable);
	m.bytes = 0;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 1, &r), EINVAL);
	m.bytes = 4097;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 1, &r), EINVAL);
	m.bytes = 4096;
	m.address = UINT64_MAX - 4095;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 1, &r), EINVAL);
	m.address = 0;
	m.offset = UINT64_MAX - 4095;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 1, &r), EINVAL);
	m.offset = INT64_MAX - 4095;
	assert_int_equal(decode(VFIO_USER_DMA_MAP, &m, sizeof(m), 1, &r), EINVAL);
}

static void dma_unmap(void **state)
{
	struct vfio_user_dma_unmap m = { .address = 4096, .bytes = 4096 };
	struct vfio_user_request r;

	(void)state;
	assert_int_equal(decode(VFIO_USER_DMA_UNMAP, &m, sizeof(m), 0, &r), 0);
	assert_false(r.u.unmap.all);
	m.bytes = 1;
	assert_int_equal(decode(VFIO_USER_DMA_UNMAP, &m, sizeof(m), 0, &r), EINVAL);
	m = (struct vfio_user_dma_unmap){ .flags = VFIO_USER_UNMAP_ALL };
	assert_int_equal(decode(VFIO_USER_DMA_UNMAP, &m, sizeof(m), 0, &r), 0);
	assert_true(r.u.unmap.all);
	m.flags = 1; // a bitmap of what was written: never offered
	assert_int_equal(decode(VFIO_USER_DMA_UNMAP, &m, sizeof(m), 0, &r), EINVAL);
}

static void indices(void **state)
{
	struct vfio_user_region_info region = { .index = 8 };
	struct vfio_user_irq_info irq = { .index = 4 };
	struct vfio_user_set_irqs set = { .index = 5 };
	struct vfio_user_request r;

	(void)state;
	assert_int_equal(decode(VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), 0, &r), 0);
	assert_int_equal(r.u.index, 8);
	region.index = 9;
	assert_int_equal(decode(VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), 0, &r), EINVAL);
	assert_int_equal(decode(VFIO_USER_DEVICE_GET_REGION_INFO, &region, 11, 0, &r), EINVAL);
	assert_int_equal(decode(VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq), 0, &r), 0);
	irq.index = UINT32_MAX;
	assert_int_equal(decode(VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq), 0, &r), EINVAL);
	assert_int_equal(decode(VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), 0, &r), EINVAL);
	assert_int_equal(decode(VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set) - 1, 0, &r), EINVAL);
}

static void accesses(void **state)
{
	struct {
		struct vfio_user_access a;
		uint8_t data[8];
	} m = { .a = { .offset = 64, .region = 0, .count = 8 } };
	struct vfio_user_request r;

	(void)state;
	assert_int_equal(decode(VFIO_USER_REGION_WRITE, &m, sizeof(m), 0, &r), 0);
	assert_ptr_equal(r.u.access.data, m.data);
	assert_int_equal(decode(VFIO_USER_REGION_WRITE, &m, sizeof(m) - 1, 0, &r),
			 EINVAL); // says more than it has
	assert_int_equal(decode(VFIO_USER_REGION_READ, &m, sizeof(m.a), 0, &r), 0);
	assert_null(r.u.access.data);
	m.a.count = 0;
	assert_int_equal(decode(VFIO_USER_REGION_READ, &m, sizeof(m.a), 0, &r), EINVAL);
	m.a.count = VFIO_USER_MAX_DATA + 1;
	assert_int_equal(decode(VFIO_USER_REGION_READ, &m, sizeof(m.a), 0, &r), EINVAL);
	m.a.count = UINT32_MAX;
	assert_int_equal(decode(VFIO_USER_REGION_WRITE, &m, sizeof(m), 0, &r), EINVAL);
	m.a.count = 8;
	m.a.offset = UINT64_MAX - 7;
	assert_int_equal(decode(VFIO_USER_REGION_READ, &m, sizeof(m.a), 0, &r), EINVAL);
	m.a.offset = 0;
	m.a.region = VFIO_USER_REGIONS;
	assert_int_equal(decode(VFIO_USER_REGION_READ, &m, sizeof(m.a), 0, &r), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),  cmocka_unit_test(unknown_commands), cmocka_unit_test(version),
		cmocka_unit_test(dma_map),  cmocka_unit_test(dma_unmap),	cmocka_unit_test(indices),
		cmocka_unit_test(accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
