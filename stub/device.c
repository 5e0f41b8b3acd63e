// SPDX-License-Identifier: Apache-2.0
// The device as a whole; see the header. Resets and losses of memory end channels; what must wait until their
// executors are gone (a reply of the server, the admin area) is looked at again each time one is.
#include "stub/device.h"

#include <string.h>

#include "common/log.h"
#include "protocol/guest/vgpu_pci.h"
#include "protocol/host/link.h"

void device_init(struct stub *s)
{
	memset(&s->config, 0, sizeof(s->config));
	s->personality->reset(&s->config);
	if (s->pci_vendor)
		config_space_identify(&s->config, s->pci_vendor, s->pci_device);
	registers_reset(&s->registers);
}

uint64_t device_busy(const struct stub *s, uint64_t channels)
{
	uint64_t busy = 0;

	for (unsigned i = 0; i < VGPU_MAX_VM_CHANNELS; i++)
		if (channels >> i & 1 && channel_is_busy(&s->channels[i]))
			busy |= 1ull << i;
	return busy;
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
	if (s->disabling && !device_busy(s, ALL_CHANNELS)) {
		s->disabling = false;
		commands_disable(s);
		set_status(s, VGPU_STATUS_ENABLED, false);
	}
	server_go_on(s);
}

void device_reset(struct stub *s)
{
	commands_forget(s);
	commands_disable(s);
	s->disabling = false;
	forget_channels(s);
	device_init(s);
}

void device_detach(struct stub *s)
{
	device_reset(s);
	irq_done(&s->irq);
	dma_done(&s->dma);
}

uint64_t device_lose_memory(struct stub *s, uint64_t address, uint64_t bytes)
{
	uint64_t users = device_busy(s, dma_users(&s->dma, address, bytes));

	if (commands_meet(s, address, bytes)) {
		// Without its area no channel can tell the guest anything.
		users = device_busy(s, ALL_CHANNELS);
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
	if (!s->disabling && !(s->registers.status & VGPU_STATUS_ENABLED) && !device_busy(s, ALL_CHANNELS))
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

void device_read(struct stub *s, uint32_t region, uint64_t offset, void *to, uint32_t count)
{
	memset(to, 0, count);
	if (region == VFIO_USER_REGION_CONFIG)
		config_space_read(&s->config, offset, to, count);
	if (region != VFIO_USER_REGION_BAR0)
		return;
	// Memory may come and go: looked at when it is asked for.
	s->registers.status &= ~(uint32_t)VGPU_STATUS_NO_SHARED;
	if (!s->dma.n_shared)
		s->registers.status |= VGPU_STATUS_NO_SHARED;
	registers_read(&s->registers, offset, to, count);
}

void device_write(struct stub *s, uint32_t region, uint64_t offset, const void *from, uint32_t count)
{
	uint32_t arg;

	if (region == VFIO_USER_REGION_CONFIG)
		config_space_write(&s->config, offset, from, count);
	if (region != VFIO_USER_REGION_BAR0)
		return;
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
