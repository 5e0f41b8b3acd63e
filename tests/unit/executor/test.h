// SPDX-License-Identifier: Apache-2.0
// cmocka with what it wants included before it.
#ifndef VGPU_TESTS_UNIT_EXECUTOR_TEST_H
#define VGPU_TESTS_UNIT_EXECUTOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
