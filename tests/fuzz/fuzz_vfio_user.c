// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: arbitrary bytes as messages of a monitor, and as a guest's commands. Whatever the decoder
// accepts must lie in range; registers and configuration space, of
// both devices, take any access. The input is {u8 number of
// fds, header, payload}, and the same bytes are looked at as a command.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "protocol/guest/vgpu_pci.h"
#include "stub/command.h"
#include "stub/personality/custom.h"
#include "stub/personality/nvidia.h"
#include "stub/registers.h"
#include "stub/vfio_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void access(const struct vfio_user_request *r)
{
	static uint8_t out[VFIO_USER_MAX_DATA];
	static struct registers registers;
	static struct config_space config;
	uint64_t offset = r->u.access.offset;
	uint32_t count = r->u.access.count, arg = 0;

	must(count && count <= sizeof(out) && offset + count > offset &&
	     r->u.access.region < VFIO_USER_REGIONS);
	if (!config.bytes[0])
		custom_config(&config);
	if (r->u.access.data) {
		if (registers_write(&registers, offset, r->u.access.data, count, &arg) == REGISTER_DOORBELL)
			must(arg < VGPU_MAX_VM_CHANNELS);
		config_space_write(&config, offset, r->u.access.data, count);
		must(config.bytes[0] == (VGPU_PCI_VENDOR & 0xff));
	}
	registers_read(&registers, offset, out, count);
	config_space_read(&config, offset, out, count);
}

// The identity device: the same accesses; whatever came before, it is what it is, and counts in bounds.
static void identity_access(const struct vfio_user_request *r)
{
	static uint8_t out[VFIO_USER_MAX_DATA];
	static struct nvidia d = { .setup = { .bar1_bytes = NVIDIA_BAR1_DEFAULT_BYTES, .serial = 7 } };
	uint32_t boot;

	if (!d.setup.model) {
		d.setup.model = nvidia_model_default();
		nvidia_reset(&d, 0);
	}
	if (r->u.access.data)
		nvidia_write(&d, 0, r->u.access.region, r->u.access.offset, r->u.access.data,
			     r->u.access.count);
	nvidia_read(&d, r->u.access.offset, r->u.access.region, r->u.access.offset, out, r->u.access.count);
	must(d.touched.n <= TOUCHED_ROWS);
	must(d.config.bytes[0] == 0xde && d.config.bytes[1] == 0x10);
	nvidia_read(&d, 0, VFIO_USER_REGION_BAR0, 0, &boot, sizeof(boot));
	must(boot == 0x180000a1);
}

static void message(const uint8_t *data, size_t bytes)
{
	struct vfio_user_header h;
	struct vfio_user_request r;
	uint8_t *payload;

	memcpy(&h, data + 1, sizeof(h));
	if (vfio_user_check_header(&h) < 0 || h.size > bytes - 1)
		return;
	payload = malloc(h.size - sizeof(h) + 1); // of its exact size, for the address sanitizer
	must(payload != NULL);
	memcpy(payload, data + 1 + sizeof(h), h.size - sizeof(h));
	if (!vfio_user_decode(&h, payload, data[0], &r)) {
		if (r.command == VFIO_USER_DMA_MAP)
			must(r.u.map.bytes && r.u.map.address + r.u.map.bytes > r.u.map.address &&
			     data[0] <= 1);
		if (r.command == VFIO_USER_DEVICE_SET_IRQS)
			must(r.u.irqs.index < VFIO_USER_IRQS);
		if (r.command == VFIO_USER_REGION_READ || r.command == VFIO_USER_REGION_WRITE) {
			access(&r);
			identity_access(&r);
		}
	}
	free(payload);
}

static void command(const uint8_t *data)
{
	struct vgpu_command c;

	memcpy(&c, data, sizeof(c));
	if (command_check(&c))
		return;
	must(c.code == VGPU_COMMAND_DEVICE || c.open.channel < VGPU_MAX_VM_CHANNELS);
	if (c.code == VGPU_COMMAND_OPEN)
		must(c.open.arena_bytes <= VGPU_ARENA_BYTES &&
		     c.open.channel_extents + c.open.arena_extents <= VGPU_MAX_EXTENTS);
	if (c.code == VGPU_COMMAND_MAP)
		must(c.map.extents <= VGPU_MAX_EXTENTS && c.map.address + c.map.bytes > c.map.address);
	if (c.code == VGPU_COMMAND_DEVICE)
		must(c.device.buffer_bytes <= VGPU_KIB(64));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (bytes > sizeof(struct vfio_user_header))
		message(data, bytes);
	if (bytes >= sizeof(struct vgpu_command))
		command(data);
	return 0;
}
