// SPDX-License-Identifier: Apache-2.0
// What happens to channels when something happens to the device: reset, suspend, unbinding, unplugging, and
// at last a host's process that dies.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/vm/guest/guest.h"

#define SECOND	      1000000000ull
#define REASON_DEVICE 9

static char folder[256];

static bool node_is_there(void)
{
	return access(VGPU_DEVICE_NODE, F_OK) == 0;
}

static bool node_is_gone(void)
{
	return !node_is_there();
}

// Opens a channel with a map; what must be true of it once the device has gone or was reset.
static int with_map(struct guest *g, void **p)
{
	struct vgpu_ioc_map map = { .bytes = 65536 };

	CHECK(open_mapped("ok", g) == 0);
	*p = mmap(NULL, map.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map.address = (uintptr_t)*p;
	for (uint64_t at = 0; at < map.bytes; at += 4096)
		*(uint64_t *)((char *)*p + at) = map.address + at;
	CHECK(ask(g->fd, VGPU_IOC_MAP, &map) == 0);
	return 0;
}

static int is_lost(struct guest *g, long pinned)
{
	struct vgpu_ioc_map map = { .address = 0x10000000, .bytes = 4096 };
	uint32_t reason = 0;

	CHECK(wait_word(g, wake_word(g), 20 * SECOND, &reason) == ENOLINK && reason == REASON_DEVICE);
	CHECK(ask(g->fd, VGPU_IOC_MAP, &map) == ENOLINK);
	CHECK(pinned < 0 || pinned_comes_to(pinned));
	*g->doorbell = 1; // hurts nobody
	memset(g->channel, 3, g->ok.channel_bytes);
	memset(g->arena, 3, g->ok.arena_bytes);
	close_guest(g);
	return 0;
}

static int works(void)
{
	struct guest g;
	uint32_t seen;

	CHECK(open_mapped("ok", &g) == 0);
	seen = wake_word(&g);
	*g.doorbell = 1;
	CHECK(wait_word(&g, seen, 20 * SECOND, NULL) == 0);
	close_guest(&g);
	return 0;
}

static int unload_refused(void)
{
	struct guest g;

	CHECK(open_as("ok", &g) == 0);
	CHECK(syscall(SYS_delete_module, "vgpu", O_NONBLOCK) < 0 && errno == EAGAIN);
	close(g.fd);
	return 0;
}

static int reset(void)
{
	char path[300];
	long pinned = pinned_pages();
	struct guest g;
	void *p;

	CHECK(with_map(&g, &p) == 0);
	snprintf(path, sizeof(path), "%s/reset", folder);
	CHECK(write_text(path, "1") == 0);
	CHECK(is_lost(&g, pinned) == 0);
	return works();
}

// A line that is still on its way when the machine falls asleep comes after it woke up, so the host says that
// it heard it.
static bool host_has_heard(void)
{
	return access("/run/host-has-heard", F_OK) == 0;
}

static int suspended(void)
{
	long pinned = pinned_pages();
	struct guest g;
	void *p;

	CHECK(with_map(&g, &p) == 0);
	ask_host("wake");
	CHECK(comes_true(host_has_heard));
	CHECK(write_text("/sys/power/state", "mem") == 0);
	CHECK(is_lost(&g, pinned) == 0);
	return works();
}

static int unbound(void)
{
	char path[300];
	long pinned = pinned_pages();
	struct vgpu_ioc_info info;
	struct guest g;
	void *p;

	CHECK(with_map(&g, &p) == 0);
	snprintf(path, sizeof(path), "%s/driver/unbind", folder);
	CHECK(write_text(path, strrchr(folder, '/') + 1) == 0);
	CHECK(node_is_gone());
	CHECK(ask(g.fd, VGPU_IOC_INFO, &info) == ENODEV);
	CHECK(is_lost(&g, pinned) == 0);
	CHECK(write_text("/sys/bus/pci/drivers/vgpu/bind", strrchr(folder, '/') + 1) == 0);
	CHECK(comes_true(node_is_there));
	return works();
}

static int unplugged(void)
{
	long pinned = pinned_pages();
	struct guest g;
	void *p;

	CHECK(with_map(&g, &p) == 0);
	ask_host("unplug");
	CHECK(comes_true(node_is_gone));
	CHECK(is_lost(&g, pinned) == 0);
	ask_host("plug");
	CHECK(comes_true(node_is_there));
	return works();
}

static int host_died(void)
{
	long pinned = pinned_pages();
	struct vgpu_ioc_info info;
	struct guest g, other;
	void *p;

	CHECK(with_map(&g, &p) == 0);
	ask_host("die");
	for (int i = 0; i < 20 && wait_word(&g, wake_word(&g), SECOND, NULL) == ETIMEDOUT; i++)
		;
	CHECK(ask(g.fd, VGPU_IOC_INFO, &info) == ENODEV);
	CHECK(open_as("ok", &other) == ENODEV);
	close(other.fd);
	CHECK(is_lost(&g, -1) == 0);
	// Nobody knows whether the host still uses it.
	CHECK(pinned_pages() - pinned == 16);
	return 0;
}

static int no_device(void)
{
	return say_failed("no device is bound", __FILE__, __LINE__);
}

void device_cases(void)
{
	if (device_folder(folder, sizeof(folder))) {
		run_case("the driver has a device", no_device);
		return;
	}
	run_case("the module is not unloaded while it is in use", unload_refused);
	run_case("a reset ends channels and gives their memory back", reset);
	run_case("unbinding ends channels; open files go on without", unbound);
	run_case("the device is unplugged and plugged in again", unplugged);
	run_case("the host's process dies: channels are lost, their memory is kept", host_died);
}

void suspend_cases(void)
{
	run_case("channels end with a suspend to memory, and the device comes back", suspended);
}
