// SPDX-License-Identifier: Apache-2.0
// What every test of libnvml includes.
#ifndef VGPU_TEST_LIBNVML_TEST_H
#define VGPU_TEST_LIBNVML_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/libnvml/libnvml.h"
#include "tests/unit/libnvml/fake_device.h"

#define OTHER_HANDLE ((nvmlDevice_t)(uintptr_t)0x1234)

// Around each test: a fresh fake device, the library initialised, and its end looked at.
static inline int begin(void **state)
{
	nvmlDevice_t device;

	fake_reset();
	if (nvmlInit_v2() || nvmlDeviceGetHandleByIndex_v2(0, &device))
		return -1;
	*state = device;
	return 0;
}

static inline int end(void **state)
{
	(void)state;
	if (nvmlShutdown() || fake.opens != fake.closes)
		return -1;
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

#endif
