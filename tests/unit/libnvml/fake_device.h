// SPDX-License-Identifier: Apache-2.0
// A stand-in for guest/client/device_state.h: tests of libnvml say what the host tells.
#ifndef VGPU_TEST_FAKE_DEVICE_H
#define VGPU_TEST_FAKE_DEVICE_H

#include "guest/client/device_state.h"

#define FAKE_PROCESSES 80 // more than a tenant can have

struct fake_device {
	int open_error, look_error; // -errno that the calls answer
	int opens, closes, looks;
	struct device_state state;
	struct device_process rows[FAKE_PROCESSES];
	uint32_t row_count;
};
extern struct fake_device fake;

// A device with an identity, and nothing else known.
void fake_reset(void);
// Every value is known: its index + 1.
void fake_know_all(void);

#endif
