// SPDX-License-Identifier: Apache-2.0
// The registers of the identity device: one table, by offset in BAR0, of what they are called and what a read
// answers. Called by nvidia.c. Offsets, names and fields are facts that open drivers of the chip state (the
// vendor's open kernel modules, Linux's nouveau and nova-core); the values are those of a production H100
// after its own boot, by the definition of the fields. What is not in the table reads 0 and ignores writes,
// which probes take better than the ones that a real chip answers for what it does not decode.
#include <stddef.h>

#include "stub/personality/nvidia.h"

enum answer {
	VALUE,
	TIME_LOW, // nanoseconds since power-on
	TIME_HIGH,
	MEMORY_RANGE, // 80 GB is 40 << 11 MiB: mantissa in bits 9:4, exponent in 3:0
	MEMORY_MIB,
	FLUSH_LOW,
	FLUSH_HIGH,
	CONFIG, // the configuration space: drivers read it here as well, so both must agree
};

struct known {
	uint32_t first, last; // words
	enum answer answer;
	uint32_t value;
	const char *name; // up to LINK_REGISTER_NAME_BYTES - 1
};

// clang-format off
static const struct known table[] = {
	// Who the chip is: the three that a driver reads before anything else.
	{ 0x000000, 0x000000, VALUE, 0x180000a1, "PMC_BOOT_0" }, // Hopper, GH100, revision a1
	{ 0x000004, 0x000004, VALUE, 0, "PMC_BOOT_1" },	 // a whole chip: not a virtual function, not paravirtual
	{ 0x000a00, 0x000a00, VALUE, 0x180a1000, "PMC_BOOT_42" }, // the same in the newer form
	{ 0x001400, 0x0014ff, VALUE, 0, "PBUS scratch" },
	{ 0x009400, 0x009400, TIME_LOW, 0, "PTIMER_TIME_0" },
	{ 0x009410, 0x009410, TIME_HIGH, 0, "PTIMER_TIME_1" },
	// The card's own boot has ended, which is waited for four seconds and more.
	{ 0x0200bc, 0x0200bc, VALUE, 0xff, "THERM boot state" },
	{ 0x088000, 0x088fff, CONFIG, 0, "config space (old)" },
	{ 0x092000, 0x092fff, CONFIG, 0, "config space" },
	{ 0x100a34, 0x100a34, FLUSH_LOW, 0, "PFB flush page low" },
	{ 0x100a38, 0x100a38, FLUSH_HIGH, 0, "PFB flush page high" },
	{ 0x100ce0, 0x100ce0, MEMORY_RANGE, 0, "PFB memory range" },
	{ 0x10f000, 0x10ffff, VALUE, 0, "XAL" },
	{ 0x110000, 0x110fff, VALUE, 0, "GSP falcon" },
	{ 0x111000, 0x111fff, VALUE, 0, "GSP RISC-V" },
	{ 0x1182cc, 0x1182cc, VALUE, 0, "CC mode" }, // no confidential computing
	{ 0x1183a4, 0x1183a4, MEMORY_MIB, 0, "usable memory" },
	{ 0x118df4, 0x118df8, VALUE, 0, "SCI timer offset" },
	{ 0x118f54, 0x118f54, TIME_LOW, 0, "SCI timer low" },
	{ 0x118f58, 0x118f58, TIME_HIGH, 0, "SCI timer high" },
	{ 0x1fa81c, 0x1fa828, VALUE, 0, "WPR bounds" }, // none is set up
	{ 0x610000, 0x6fffff, VALUE, 0, "display" }, // there is none
	{ 0x700000, 0x7fffff, VALUE, 0, "PRAMIN" },
	{ 0x82074c, 0x82074c, VALUE, 1, "fuse: GSP debug off" },
	{ 0x820c04, 0x820c04, VALUE, 1, "fuse: display off" },
	{ 0x8f0000, 0x8f0fff, VALUE, 0, "FSP" },
	{ 0x8f2000, 0x8f2fff, VALUE, 0, "FSP queues" },
	{ 0xb80000, 0xbb007f, VALUE, 0, "virtual function" },
	{ 0xbb0080, 0xbb0080, TIME_LOW, 0, "usermode time low" },
	{ 0xbb0084, 0xbb0084, TIME_HIGH, 0, "usermode time high" },
	{ 0xbb0088, 0xbbffff, VALUE, 0, "virtual function" },
};
// clang-format on

static const struct known *find(uint32_t offset)
{
	size_t low = 0, high = sizeof(table) / sizeof(table[0]);

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (offset < table[middle].first)
			high = middle;
		else if (offset > table[middle].last)
			low = middle + 1;
		else
			return &table[middle];
	}
	return NULL;
}

static uint32_t memory_mib(const struct nvidia *d)
{
	uint64_t mib = d->setup.memory_bytes ? d->setup.memory_bytes >> 20 : d->setup.model->memory_mib;

	return mib > UINT32_MAX ? UINT32_MAX : (uint32_t)mib;
}

// The least that can be said and holds all of it.
static uint32_t memory_range(uint32_t mib)
{
	uint64_t mantissa = mib;
	uint32_t exponent = 0;

	for (; mantissa > 0x3f; exponent++)
		mantissa = (mantissa + 1) / 2;
	return (uint32_t)mantissa << 4 | exponent;
}

static uint32_t config_word(const struct config_space *c, uint32_t offset)
{
	uint32_t word;

	config_space_read(c, offset % CONFIG_SPACE_BYTES, &word, sizeof(word));
	return word;
}

uint32_t nvidia_register(const struct nvidia *d, uint64_t now_ns, uint32_t offset)
{
	const struct known *k = find(offset);
	uint64_t time_ns = now_ns - d->started_ns;

	if (!k)
		return 0;
	switch (k->answer) {
	case VALUE: return k->value;
	case TIME_LOW: return (uint32_t)time_ns & ~0x1fu; // it counts in 32 ns
	case TIME_HIGH: return (uint32_t)(time_ns >> 32);
	case MEMORY_RANGE: return memory_range(memory_mib(d));
	case MEMORY_MIB: return memory_mib(d);
	case FLUSH_LOW: return d->flush_page[0];
	case FLUSH_HIGH: return d->flush_page[1];
	case CONFIG: return config_word(&d->config, offset);
	}
	return 0;
}

void nvidia_set_register(struct nvidia *d, uint32_t offset, uint32_t value)
{
	const struct known *k = find(offset);

	if (k && k->answer == FLUSH_LOW)
		d->flush_page[0] = value;
	else if (k && k->answer == FLUSH_HIGH)
		d->flush_page[1] = value;
}

const char *nvidia_register_name(uint32_t offset)
{
	const struct known *k = find(offset);

	return k ? k->name : "";
}
