// SPDX-License-Identifier: Apache-2.0
// vgpu.ko as a process sees it, without a kernel: the system calls of this program about /dev/vgpu0 come here
// (the linker's
// --wrap), and a fake host serves the channel.
#ifndef VGPU_TESTS_CLIENT_FAKE_DEVICE_H
#define VGPU_TESTS_CLIENT_FAKE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/client/fake_host.h"

#define FAKE_MAPS 16

struct fake_device {
	struct fake_host host;
	int open_error;		// errno of open(), 0: there is a device
	int info_error;		// of VGPU_IOC_INFO
	int channel_error;	// of VGPU_IOC_CHANNEL
	uint32_t refusal;	// with EIO
	bool knows_no_library;	// a driver of before
	uint32_t library;	// as VGPU_IOC_CHANNEL said
	int map_error;		// of VGPU_IOC_MAP
	_Atomic uint32_t ended; // 1 + reason: the channel is lost
	int fd, channel_fd, window_fd, doorbell_fd;
	_Atomic uint32_t *doorbell; // what the program stores into its page
	struct {
		uint64_t address, bytes;
	} map[FAKE_MAPS];
	unsigned int n_maps;
	const void *answer; // to VGPU_IOC_DEVICE
	uint32_t answer_bytes, question_bytes;
};

// One at a time. Starts the fake host; the device is there from then on.
void fake_device_start(struct fake_device *d);
void fake_device_stop(struct fake_device *d);

#endif
