// SPDX-License-Identifier: Apache-2.0
// The identity device: its configuration space, and what accesses to its regions do. Called by
// stub/identity.c, unit tests and the fuzzer. The ids and capabilities are those that an H100 was seen with
// (passed through into a VM), but for what would promise something: no MSI-X (QEMU 11.1 aborts when such a
// device is unplugged), no SR-IOV, no resizable BARs, no interrupt pin, one MSI vector.
#include "stub/personality/nvidia.h"

#include <string.h>

#include "protocol/vmm/vfio_user.h"

#define VENDOR	  0x10deu
#define REVISION  0xa1u
#define CLASS	  0x030200u // 3D controller
#define CAP_PM	  0x40u
#define CAP_MSI	  0x48u
#define CAP_PCIE  0x60u
#define EXT_FIRST 0x100u
#define EXT_DSN	  0x2f0u
// Linux sets bit 25 of this word of every display device of the vendor, for a sound function that is not
// here.
#define AUDIO	  0x488u
#define AUDIO_BIT 0x02000000u

static const struct nvidia_model models[] = {
	{ "h100-sxm", 0x2330, 0x16c1, 81559 },
	{ "h100-pcie", 0x2331, 0x1626, 81559 },
};

const struct nvidia_model *nvidia_model_find(const char *name)
{
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		if (strcmp(models[i].name, name) == 0)
			return &models[i];
	return NULL;
}

const struct nvidia_model *nvidia_model_default(void)
{
	return &models[0];
}

// ---- configuration space ----

// 64 bits, prefetchable.
static void bar(struct config_space *c, uint32_t at, uint64_t bytes)
{
	config_space_put(c, at, 4, 0xc, (uint32_t)~(bytes - 1) & ~0xfu);
	config_space_put(c, at + 4, 4, 0, (uint32_t)(~(bytes - 1) >> 32));
}

static void header(struct config_space *c, const struct nvidia_setup *setup)
{
	config_space_put(c, 0x00, 2, VENDOR, 0);
	config_space_put(c, 0x02, 2, setup->model->device, 0);
	// Memory, bus master, parity, SERR, interrupt disable.
	config_space_put(c, 0x04, 2, 0, 0x0002 | 0x0004 | 0x0040 | 0x0100 | 0x0400);
	config_space_put(c, 0x06, 2, 0x0010, 0); // has capabilities
	config_space_put(c, 0x08, 4, CLASS << 8 | REVISION, 0);
	config_space_put(c, 0x0c, 1, 0, 0xff); // cache line size
	bar(c, 0x10, NVIDIA_BAR0_BYTES);
	bar(c, 0x18, setup->bar1_bytes);
	bar(c, 0x20, NVIDIA_BAR2_BYTES);
	config_space_put(c, 0x2c, 2, VENDOR, 0);
	config_space_put(c, 0x2e, 2, setup->model->subsystem, 0);
	config_space_put(c, 0x34, 1, CAP_PM, 0);
	config_space_put(c, 0x3c, 1, 0, 0xff); // interrupt line
}

static void capabilities(struct config_space *c)
{
	config_space_put(c, CAP_PM, 2, CAP_MSI << 8 | 0x01, 0);
	config_space_put(c, CAP_PM + 2, 2, 0x0013, 0);	    // version 3, ready at once, no PME
	config_space_put(c, CAP_PM + 4, 2, 0x0008, 0x0003); // state; coming back from D3 does not reset

	config_space_put(c, CAP_MSI, 2, CAP_PCIE << 8 | 0x05, 0);
	config_space_put(c, CAP_MSI + 2, 2, 0x0180, 0x0001); // one vector, 64-bit address, mask; enable
	config_space_put(c, CAP_MSI + 4, 4, 0, 0xfffffffcu);
	config_space_put(c, CAP_MSI + 8, 4, 0, 0xffffffffu);
	config_space_put(c, CAP_MSI + 12, 2, 0, 0xffff);
	config_space_put(c, CAP_MSI + 16, 4, 0, 0x00000001);

	config_space_put(c, CAP_PCIE, 2, 0x10, 0);
	config_space_put(c, CAP_PCIE + 2, 2, 0x0002, 0); // version 2, endpoint
	config_space_put(c, CAP_PCIE + 4, 4, 0x10008021, 0);
	config_space_put(c, CAP_PCIE + 8, 2, 0x513e, 0x7fff);
	config_space_put(c, CAP_PCIE + 12, 4, 0x00457905, 0); // link: 32 GT/s, 16 lanes
	config_space_put(c, CAP_PCIE + 16, 2, 0, 0x00c3);
	config_space_put(c, CAP_PCIE + 18, 2, 0x1105, 0);
	config_space_put(c, CAP_PCIE + 36, 4, 0x00070813, 0);
	config_space_put(c, CAP_PCIE + 40, 2, 0x1046, 0x001f); // device control 2: completion time-out
	config_space_put(c, CAP_PCIE + 44, 4, 0x0180003e, 0);
	config_space_put(c, CAP_PCIE + 48, 2, 0x0005, 0x000f);
	config_space_put(c, CAP_PCIE + 50, 2, 0x005e, 0);
}

void nvidia_config(struct config_space *c, const struct nvidia_setup *setup)
{
	header(c, setup);
	capabilities(c);
	config_space_put(c, AUDIO, 4, 0, AUDIO_BIT);
	if (!setup->serial)
		return;
	config_space_put(c, EXT_FIRST, 4, EXT_DSN << 20, 0); // a capability that is none, to begin with
	config_space_put(c, EXT_DSN, 4, 0x00010003, 0);
	config_space_put(c, EXT_DSN + 4, 4, (uint32_t)setup->serial, 0);
	config_space_put(c, EXT_DSN + 8, 4, (uint32_t)(setup->serial >> 32), 0);
}

void nvidia_reset(struct nvidia *d, uint64_t now_ns)
{
	memset(&d->config, 0, sizeof(d->config));
	nvidia_config(&d->config, &d->setup);
	memset(d->flush_page, 0, sizeof(d->flush_page));
	d->started_ns = now_ns;
}

// ---- regions ----

uint64_t nvidia_region_bytes(const struct nvidia *d, uint32_t region)
{
	switch (region) {
	case VFIO_USER_REGION_BAR0: return NVIDIA_BAR0_BYTES;
	case VFIO_USER_REGION_BAR2: return d->setup.bar1_bytes;
	case VFIO_USER_REGION_BAR4: return NVIDIA_BAR2_BYTES;
	case VFIO_USER_REGION_CONFIG: return CONFIG_SPACE_BYTES;
	default: return 0;
	}
}

// Of a guest's processor accesses have up to eight bytes.
static bool is_odd(struct nvidia *d, uint64_t offset, uint32_t count)
{
	bool odd = count > 8 || offset > NVIDIA_BAR0_BYTES - count;

	d->touched.odd += odd;
	return odd;
}

void nvidia_read(struct nvidia *d, uint64_t now_ns, uint32_t region, uint64_t offset, void *to,
		 uint32_t count)
{
	uint8_t *p = to;

	memset(to, 0, count);
	if (region == VFIO_USER_REGION_CONFIG) {
		config_space_read(&d->config, offset, to, count);
		return;
	}
	if (region != VFIO_USER_REGION_BAR0) {
		d->touched.aperture_reads++;
		return;
	}
	if (is_odd(d, offset, count))
		return;
	while (count) {
		uint32_t in = (uint32_t)offset % 4, n = 4 - in < count ? 4 - in : count;
		uint32_t at = (uint32_t)offset - in, word = nvidia_register(d, now_ns, at);

		touched_read(&d->touched, at, word);
		memcpy(p, (uint8_t *)&word + in, n);
		p += n;
		offset += n;
		count -= n;
	}
}

// The function level reset that the capability promises: a bit of device control that reads 0 always.
static bool asks_for_reset(uint64_t offset, const uint8_t *p, uint32_t count)
{
	uint64_t at = CAP_PCIE + 9;

	return offset <= at && at - offset < count && p[at - offset] & 0x80;
}

void nvidia_write(struct nvidia *d, uint64_t now_ns, uint32_t region, uint64_t offset, const void *from,
		  uint32_t count)
{
	const uint8_t *p = from;

	if (region == VFIO_USER_REGION_CONFIG) {
		config_space_write(&d->config, offset, from, count);
		if (asks_for_reset(offset, from, count))
			nvidia_reset(d, now_ns);
		return;
	}
	if (region != VFIO_USER_REGION_BAR0) {
		d->touched.aperture_writes++;
		return;
	}
	if (is_odd(d, offset, count))
		return;
	while (count) {
		uint32_t in = (uint32_t)offset % 4, n = 4 - in < count ? 4 - in : count;
		uint32_t at = (uint32_t)offset - in, word = 0;

		memcpy((uint8_t *)&word + in, p, n);
		touched_write(&d->touched, at, word);
		if (n == sizeof(word))
			nvidia_set_register(d, at, word);
		p += n;
		offset += n;
		count -= n;
	}
}
