// SPDX-License-Identifier: Apache-2.0
// Registers; see the header. Called by device.c, unit tests and the fuzzer.
#include "stub/registers.h"

#include <stdbool.h>
#include <string.h>

#include "protocol/guest/vgpu_pci.h"

static bool read_word(const struct registers *r, uint64_t offset, uint32_t *ret)
{
	switch (offset) {
	case VGPU_REG_MAGIC: *ret = VGPU_DEVICE_MAGIC; break;
	case VGPU_REG_VERSION: *ret = VGPU_DEVICE_VERSION; break;
	case VGPU_REG_FEATURES: *ret = VGPU_FEATURE_LIBRARY; break;
	case VGPU_REG_FEATURES + 4: *ret = 0; break;
	case VGPU_REG_VM_ID: *ret = r->tenant_id; break;
	case VGPU_REG_POOL:
	case VGPU_REG_PROFILE: *ret = 0; break;
	case VGPU_REG_WEIGHT: *ret = r->weight; break;
	case VGPU_REG_MEMORY: *ret = (uint32_t)r->memory_quota; break;
	case VGPU_REG_MEMORY + 4: *ret = (uint32_t)(r->memory_quota >> 32); break;
	case VGPU_REG_CHANNELS: *ret = VGPU_MAX_VM_CHANNELS; break;
	case VGPU_REG_STATUS: *ret = r->status; break;
	case VGPU_REG_ERROR: *ret = r->error; break;
	case VGPU_REG_CAUSE: *ret = r->cause; break;
	case VGPU_REG_GENERATION: *ret = r->generation; break;
	case VGPU_REG_ADMIN: *ret = (uint32_t)r->admin; break;
	case VGPU_REG_ADMIN + 4: *ret = (uint32_t)(r->admin >> 32); break;
	case VGPU_REG_ADMIN_BYTES: *ret = r->admin_bytes; break;
	case VGPU_REG_ADMIN_ENABLE: *ret = r->status & VGPU_STATUS_ENABLED ? 1 : 0; break;
	case VGPU_REG_COMMAND: *ret = 0; break;
	default: *ret = 0; return false;
	}
	return true;
}

void registers_read(struct registers *r, uint64_t offset, void *to, uint32_t count)
{
	uint8_t *p = to;
	bool strange = false;

	while (count) {
		uint32_t in = (uint32_t)offset % 4, n = 4 - in < count ? 4 - in : count, word;

		strange |= !read_word(r, offset - in, &word);
		memcpy(p, (uint8_t *)&word + in, n);
		p += n;
		offset += n;
		count -= n;
	}
	r->strange_reads += strange;
}

static enum register_action write_word(struct registers *r, uint64_t offset, uint32_t value,
				       uint32_t *ret_arg)
{
	*ret_arg = value;
	switch (offset) {
	case VGPU_REG_CAUSE: r->cause &= ~value; return REGISTER_NOTHING;
	case VGPU_REG_ADMIN: r->admin = (r->admin & ~0xffffffffull) | value; return REGISTER_NOTHING;
	case VGPU_REG_ADMIN + 4:
		r->admin = (r->admin & 0xffffffffull) | (uint64_t)value << 32;
		return REGISTER_NOTHING;
	case VGPU_REG_ADMIN_BYTES: r->admin_bytes = value; return REGISTER_NOTHING;
	case VGPU_REG_ADMIN_ENABLE:
		if (value <= 1)
			return REGISTER_ENABLE;
		break;
	case VGPU_REG_COMMAND: return REGISTER_COMMAND;
	}
	r->strange_writes++;
	return REGISTER_NOTHING;
}

enum register_action registers_write(struct registers *r, uint64_t offset, const void *from, uint32_t count,
				     uint32_t *ret_arg)
{
	enum register_action action = REGISTER_NOTHING;
	uint32_t value, arg;

	*ret_arg = 0;
	if (offset >= VGPU_BAR0_CHANNEL(0) && offset < VGPU_BAR0_CHANNEL(VGPU_MAX_VM_CHANNELS)) {
		*ret_arg = (uint32_t)((offset - VGPU_BAR0_CHANNEL(0)) / 0x1000);
		return REGISTER_DOORBELL;
	}
	if (offset % 4 || (count != 4 && count != 8)) {
		r->strange_writes++;
		return REGISTER_NOTHING;
	}
	for (; count; count -= 4, offset += 4, from = (const uint8_t *)from + 4) {
		enum register_action one;

		memcpy(&value, from, sizeof(value));
		one = write_word(r, offset, value, &arg);
		if (one != REGISTER_NOTHING) {
			action = one;
			*ret_arg = arg;
		}
	}
	return action;
}

void registers_reset(struct registers *r)
{
	r->status &= VGPU_STATUS_READY;
	r->error = r->cause = 0;
	r->admin = 0;
	r->admin_bytes = 0;
	r->generation++;
}
