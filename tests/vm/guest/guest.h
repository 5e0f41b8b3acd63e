// SPDX-License-Identifier: Apache-2.0
// What the guest's test files share. A case is a function that returns 0, or the line of what failed; the
// host's part of the test (tests/vm/fake_stub.py) behaves as the name of the process says, which opening a
// channel sets.
#ifndef VGPU_TESTS_VM_GUEST_H
#define VGPU_TESTS_VM_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/guest/vgpu_ioctl.h"

#define CHECK(x)                                                   \
	do {                                                       \
		if (!(x))                                          \
			return say_failed(#x, __FILE__, __LINE__); \
	} while (0)

struct guest {
	int fd;
	struct vgpu_ioc_channel ok;
	uint8_t *channel, *arena;
	volatile uint32_t *doorbell;
};

int say_failed(const char *what, const char *file, int line);
// The errno of an ioctl, 0 if it went well.
int ask(int fd, unsigned long request, void *arg);
// Opens the device as a process of that name; errno of VGPU_IOC_CHANNEL.
int open_as(const char *name, struct guest *ret);
// The same, with everything mapped: 0 or a line.
int open_mapped(const char *name, struct guest *ret);
void close_guest(struct guest *g);
uint32_t wake_word(const struct guest *g);
int wait_word(const struct guest *g, uint32_t seen, uint64_t timeout_ns, uint32_t *reason);
// Pages that are pinned for long, of the whole system.
long pinned_pages(void);
// The device's folder below /sys/bus/pci/devices, without a slash behind it.
int device_folder(char *ret, unsigned long room);
int write_text(const char *path, const char *text);
bool comes_true(bool (*what)(void)); // within 20 s
bool pinned_comes_to(long pages);
// Asks the host's side to do something and goes on.
void ask_host(const char *what);

// Numbers are on stdout as TAP.
void run_case(const char *name, int (*how)(void));

void channel_cases(void);
void memory_cases(void);
void device_cases(void);
void suspend_cases(void);

#endif
