// SPDX-License-Identifier: Apache-2.0
// What a command may say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/host/link.h"
#include "stub/command.h"

static struct vgpu_command open_command(void)
{
	return (struct vgpu_command){
		.code = VGPU_COMMAND_OPEN,
		.sequence = 1,
		.open = { .channel = 63,
			  .name = "program",
			  .channel_bytes = VGPU_VM_CHANNEL_BYTES,
			  .arena_bytes = VGPU_MIB(8),
			  .list = 4096,
			  .channel_extents = 1,
			  .arena_extents = 1 },
	};
}

static struct vgpu_command map_command(void)
{
	return (struct vgpu_command){
		.code = VGPU_COMMAND_MAP,
		.sequence = 1,
		.map = { .channel = 1, .address = 0x7f0000000000, .bytes = 8192, .list = 4096, .extents = 2 },
	};
}

#define REFUSED(make, change, result)                                \
	do {                                                         \
		struct vgpu_command c = make();                      \
                                                                     \
		assert_int_equal(command_check(&c), VGPU_RESULT_OK); \
		change;                                              \
		assert_int_equal(command_check(&c), result);         \
	} while (0)

static void open_is_checked(void **state)
{
	(void)state;
	REFUSED(open_command, c.open.channel = VGPU_MAX_VM_CHANNELS, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.channel = UINT32_MAX, VGPU_RESULT_INVALID);
	REFUSED(open_command, memset(c.open.name, 'a', sizeof(c.open.name)), VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.channel_bytes += 4096, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.library = VGPU_LIBRARY_MOST, VGPU_RESULT_OK);
	REFUSED(open_command, c.open.library = VGPU_LIBRARY_MOST + 1, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.reserved = 1, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.arena_bytes = 0, VGPU_RESULT_LIMIT);
	REFUSED(open_command, c.open.arena_bytes = VGPU_ARENA_BYTES + 4096, VGPU_RESULT_LIMIT);
	REFUSED(open_command, c.open.arena_bytes = UINT64_MAX - 4095, VGPU_RESULT_LIMIT);
	REFUSED(open_command, c.open.arena_bytes += 1, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.list += 4, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.list = UINT64_MAX - 7, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.channel_extents = 0, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.arena_extents = 0, VGPU_RESULT_INVALID);
	REFUSED(open_command, c.open.arena_extents = VGPU_MAX_EXTENTS, VGPU_RESULT_LIMIT);
	REFUSED(open_command, c.open.channel_extents = c.open.arena_extents = UINT32_MAX, VGPU_RESULT_LIMIT);
}

static void map_is_checked(void **state)
{
	(void)state;
	REFUSED(map_command, c.map.channel = 64, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.reserved = 1, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.reserved2 = 1, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.bytes = 0, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.bytes = 100, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.address += 1, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.address = UINT64_MAX - 4095, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.bytes = VGPU_MAX_VM_MAP_BYTES + 4096, VGPU_RESULT_LIMIT);
	REFUSED(map_command, c.map.extents = 0, VGPU_RESULT_INVALID);
	REFUSED(map_command, c.map.extents = VGPU_MAX_EXTENTS + 1, VGPU_RESULT_LIMIT);
}

static void others_are_checked(void **state)
{
	struct vgpu_command c = { .code = VGPU_COMMAND_CLOSE, .close = { .channel = 63 } };

	(void)state;
	assert_int_equal(command_check(&c), VGPU_RESULT_OK);
	c.close.reserved = 1;
	assert_int_equal(command_check(&c), VGPU_RESULT_INVALID);
	c = (struct vgpu_command){ .code = VGPU_COMMAND_UNMAP, .unmap = { .address = 4096 } };
	assert_int_equal(command_check(&c), VGPU_RESULT_OK);
	c.unmap.address++;
	assert_int_equal(command_check(&c), VGPU_RESULT_INVALID);
	c = (struct vgpu_command){ .code = VGPU_COMMAND_DEVICE,
				   .device = { .buffer = 4096,
					       .buffer_bytes = 65536,
					       .request_bytes = sizeof(struct link_device) } };
	assert_int_equal(command_check(&c), VGPU_RESULT_OK);
	c.device.buffer_bytes += 4096;
	assert_int_equal(command_check(&c), VGPU_RESULT_LIMIT);
	c.device.buffer_bytes = 4096;
	c.device.buffer = UINT64_MAX - 4095;
	assert_int_equal(command_check(&c), VGPU_RESULT_INVALID);
	for (uint32_t code = 6; code < 200; code++) {
		c = (struct vgpu_command){ .code = code };
		assert_int_equal(command_check(&c), VGPU_RESULT_INVALID);
	}
	c = (struct vgpu_command){ 0 };
	assert_int_equal(command_check(&c), VGPU_RESULT_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_is_checked),
		cmocka_unit_test(map_is_checked),
		cmocka_unit_test(others_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
