// SPDX-License-Identifier: Apache-2.0
// The device as a whole; see the header. Resets and losses of memory end channels; what must wait until their
// executors are gone (a reply of the server, the admin area) is looked at again each time one is.
#include "stub/device.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "protocol/guest/vgpu_pci.h"
#include "protocol/host/link.h"
#include "stub/personality/custom.h"
#include "stub/vfio_user.h"

void device_init(struct stub *s)
{
	memset(&s->config, 0, sizeof(s->config));
	custom_config(&s->config);
	if (s->pci_vendor)
		config_space_identify(&s->config, s->pci_vendor, s->pci_device);
	registers_reset(&s->registers);
}

// Which of the channels have executors (or may).
static uint64_t busy(const struct stub *s, uint64_t channels)
{
	uint64_t some = 0;

	for (unsigned i = 0; i < VGPU_MAX_VM_CHANNELS; i++)
		if (channels >> i & 1 && channel_is_busy(&s->channels[i]))
			some |= 1ull << i;
	return some;
}

static void forget_channels(struct stub *s)
{
	for (unsigned i = 0; i < VGPU_MAX_VM_CHANNELS; i++)
		channel_forget(&s->channels[i]);
}

static void set_status(struct stub *s, uint32_t bits, bool on)
{
	uint32_t before = s->registers.status;

	s->registers.status = on ? before | bits : before & ~bits;
	if (s->registers.status != before)
		device_interrupt(s, VGPU_CAUSE_STATUS);
}

static void disable(struct stub *s)
{
	s->disabling = true;
	commands_forget(s);
	forget_channels(s);
	device_channel_gone(s);
}

void device_channel_gone(struct stub *s)
{
	if (s->disabling && !busy(s, SERVER_ALL_USERS)) {
		s->disabling = false;
		commands_disable(s);
		set_status(s, VGPU_STATUS_ENABLED, false);
	}
	server_go_on(&s->server);
}

static void reset(struct stub *s)
{
	commands_forget(s);
	commands_disable(s);
	s->disabling = false;
	forget_channels(s);
	device_init(s);
}

// Channels that have some of the memory are ended at once. Returns who they are; they may use the memory
// until they are not busy.
static uint64_t lose_memory(struct stub *s, uint64_t address, uint64_t bytes)
{
	uint64_t users = busy(s, dma_users(&s->dma, address, bytes));

	if (commands_meet(s, address, bytes)) {
		// Without its area no channel can tell the guest anything.
		users = busy(s, SERVER_ALL_USERS);
		commands_forget(s);
		commands_disable(s);
		forget_channels(s);
		s->disabling = false;
		set_status(s, VGPU_STATUS_ENABLED, false);
	}
	for (unsigned i = 0; i < VGPU_MAX_VM_CHANNELS; i++)
		if (users >> i & 1)
			channel_end(&s->channels[i], LINK_E_SHUTDOWN);
	return users;
}

static void enable(struct stub *s)
{
	enum vgpu_command_result r = VGPU_RESULT_INVALID;

	// Channels of before a reset may be ending still; the monitor's reset waits for them.
	if (!s->disabling && !(s->registers.status & VGPU_STATUS_ENABLED) && !busy(s, SERVER_ALL_USERS))
		r = commands_enable(s);
	s->registers.error = r;
	if (!r)
		set_status(s, VGPU_STATUS_ENABLED, true);
}

void device_host_answers(struct stub *s, bool answers)
{
	set_status(s, VGPU_STATUS_READY, answers);
}

void device_interrupt(struct stub *s, uint32_t cause)
{
	s->registers.cause |= cause;
	irq_raise(&s->irq);
}

// ---- what the server asks for ----

static bool on_accept(struct server *v)
{
	(void)v;
	return true;
}

static void on_idle(struct server *v)
{
	struct stub *s = v->opaque;

	if (s->stopping || s->once)
		sd_event_exit(s->event, 0);
}

static uint64_t on_busy(const struct server *v, uint64_t users)
{
	return busy(v->opaque, users);
}

static void on_reset(struct server *v)
{
	reset(v->opaque);
}

static void on_attach(struct server *v)
{
	host_monitor(v->opaque);
}

static void on_detach(struct server *v)
{
	struct stub *s = v->opaque;

	host_monitor(s);
	reset(s);
	irq_done(&s->irq);
	dma_done(&s->dma);
	s->warned = false;
}

// Whoever has memory in the range loses it; the reply to the monitor waits for that.
static int on_unmap(struct server *v, uint64_t address, uint64_t bytes, uint64_t *users)
{
	struct stub *s = v->opaque;

	*users |= lose_memory(s, address, bytes);
	return -dma_remove(&s->dma, address, bytes);
}

// Maps are not refused: a monitor can do nothing about that, and QEMU says one line of it to nobody. What
// comes over a map that is there replaces it. What there is no room for is memory that is not shared: guests
// that name it are told so.
static int on_map(struct server *v, const struct vfio_user_request *r, int fd, uint64_t *users)
{
	struct stub *s = v->opaque;
	uint64_t address = r->u.map.address, bytes = r->u.map.bytes;
	int error = dma_overlaps(&s->dma, address, bytes) ? on_unmap(v, address, bytes, users) : 0;

	if (error) {
		close_fd(&fd);
		return error;
	}
	error = dma_add(&s->dma, address, bytes, fd, r->u.map.offset, r->u.map.writable);
	if (error < 0)
		log_error("memory at 0x%llx will not be shared with programs of the VM: %s",
			  (unsigned long long)address, strerror(-error));
	return 0;
}

static uint64_t on_region_bytes(const struct server *v, uint32_t region)
{
	(void)v;
	return region == VFIO_USER_REGION_BAR0	   ? VGPU_BAR0_BYTES
	       : region == VFIO_USER_REGION_CONFIG ? CONFIG_SPACE_BYTES
						   : 0;
}

static void warn_not_shared(struct stub *s)
{
	if (s->warned || s->dma.n_shared)
		return;
	s->warned = true;
	log_error(
	    "the VM's memory is not shared with this process (share=on of its memory backend, or ordinary "
	    "pages, are missing): its programs cannot use the GPU");
}

static void on_read(struct server *v, uint32_t region, uint64_t offset, void *to, uint32_t count)
{
	struct stub *s = v->opaque;

	if (region == VFIO_USER_REGION_CONFIG) {
		config_space_read(&s->config, offset, to, count);
		return;
	}
	warn_not_shared(s);
	// Memory may come and go: looked at when it is asked for.
	s->registers.status &= ~(uint32_t)VGPU_STATUS_NO_SHARED;
	if (!s->dma.n_shared)
		s->registers.status |= VGPU_STATUS_NO_SHARED;
	registers_read(&s->registers, offset, to, count);
}

static void on_write(struct server *v, uint32_t region, uint64_t offset, const void *from, uint32_t count)
{
	struct stub *s = v->opaque;
	uint32_t arg;

	if (region == VFIO_USER_REGION_CONFIG) {
		config_space_write(&s->config, offset, from, count);
		return;
	}
	warn_not_shared(s);
	switch (registers_write(&s->registers, offset, from, count, &arg)) {
	case REGISTER_NOTHING: break;
	case REGISTER_DOORBELL: channel_doorbell(&s->channels[arg]); break;
	case REGISTER_COMMAND: command_submit(s, arg); break;
	case REGISTER_ENABLE:
		if (arg)
			enable(s);
		else if (s->registers.status & VGPU_STATUS_ENABLED && !s->disabling)
			disable(s);
		break;
	}
}

const struct server_device device_server = {
	.name = "vgpu",
	.accepts = on_accept,
	.region_bytes = on_region_bytes,
	.read = on_read,
	.write = on_write,
	.reset = on_reset,
	.attach = on_attach,
	.detach = on_detach,
	.map = on_map,
	.unmap = on_unmap,
	.busy = on_busy,
	.idle = on_idle,
};
