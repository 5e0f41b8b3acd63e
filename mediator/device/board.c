// SPDX-License-Identifier: Apache-2.0
// See the header. Called by sensor.c and answer.c in the mediator's loop, and by the unit tests.
#include "mediator/device/board.h"

#include <stdio.h>
#include <string.h>

#include "common/limits.h"
#include "common/log.h"

enum value_class { FIXED, READING, CARD, TENANT };

static const struct {
	enum value_class class_;
	uint64_t most;
} rules[DEVICE_VALUES] = {
#define VALUE(name, class_, most, what) { class_, most },
#include "protocol/host/device_values.def"
#undef VALUE
};

#define CLEAN(dst, src) log_sanitize(dst, sizeof(dst), src, sizeof(src))

void board_identity(struct board *b, const struct link_sensor_ready *ready)
{
	CLEAN(b->backend, ready->backend);
	b->identity = ready->identity;
	memset(b->identity.name, 0, sizeof(b->identity.name));
	CLEAN(b->identity.name, ready->identity.name);
	b->readable = ready->readings;
	b->known = true;
}

static void take_values(struct device_values *to, const struct device_values *from)
{
	for (unsigned i = 0; i < DEVICE_VALUES; i++) {
		if (rules[i].class_ != FIXED)
			device_value_clear(to, i);
		if (rules[i].class_ != TENANT && device_value_known(from, i) &&
		    from->value[i] <= rules[i].most)
			device_value_set(to, i, from->value[i]);
	}
}

void board_readings(struct board *b, const struct link_sensed *sensed, uint64_t now_ns)
{
	b->lost = sensed->lost;
	b->read_at_ns = now_ns;
	take_values(&b->values, &sensed->values);
	if (b->lost)
		return;
	memset(&b->texts, 0, sizeof(b->texts));
	CLEAN(b->texts.driver, sensed->texts.driver);
	CLEAN(b->texts.vbios, sensed->texts.vbios);
	CLEAN(b->texts.serial, sensed->texts.serial);
	CLEAN(b->texts.board_part, sensed->texts.board_part);
	CLEAN(b->texts.inforom_image, sensed->texts.inforom_image);
	CLEAN(b->texts.gsp_firmware, sensed->texts.gsp_firmware);
}

bool board_fresh(const struct board *b, uint64_t age_ns, uint64_t now_ns)
{
	return b->read_at_ns && now_ns - b->read_at_ns <= age_ns;
}

static enum device_source source(const struct board *b)
{
	if (!b->known)
		return DEVICE_UNKNOWN;
	if (b->lost)
		return DEVICE_LOST;
	return b->readable && b->read_at_ns ? DEVICE_CARD : DEVICE_IDENTITY;
}

void board_tell(const struct board *b, bool card, uint64_t now_ns, struct device_state *ret)
{
	bool fresh = board_fresh(b, DEVICE_READING_NS, now_ns);

	memset(ret, 0, sizeof(*ret));
	ret->source = source(b);
	ret->age_ns = b->read_at_ns ? now_ns - b->read_at_ns : UINT64_MAX;
	memcpy(ret->backend, b->backend, sizeof(ret->backend));
	ret->identity = b->identity;
	ret->texts = b->texts;
	ret->values = b->values;
	for (unsigned i = 0; i < DEVICE_VALUES; i++) {
		if ((rules[i].class_ == READING && !fresh) || (rules[i].class_ == CARD && !(fresh && card)))
			device_value_clear(&ret->values, i);
	}
}

bool board_pci(const struct board *b, char ret[static BOARD_PCI_BYTES])
{
	const struct device_values *v = &b->values;

	if (!device_value_known(v, DEVICE_PCI_BUS))
		return false;
	snprintf(ret, BOARD_PCI_BYTES, "%08x:%02x:%02x.0", (unsigned)v->value[DEVICE_PCI_DOMAIN],
		 (unsigned)v->value[DEVICE_PCI_BUS], (unsigned)v->value[DEVICE_PCI_DEVICE]);
	return true;
}

bool board_place(const struct board *b, char ret[static BOARD_PCI_BYTES])
{
	if (board_pci(b, ret))
		return true;
	snprintf(ret, BOARD_PCI_BYTES, "none");
	return b->known && strcmp(b->backend, "cuda") != 0;
}

bool board_memory_free(const struct board *b, uint64_t now_ns, uint64_t *ret)
{
	if (!board_fresh(b, DEVICE_READING_NS, now_ns) || b->values.value[DEVICE_MIG_MODE] ||
	    !device_value_known(&b->values, DEVICE_CARD_MEMORY_FREE))
		return false;
	*ret = b->values.value[DEVICE_CARD_MEMORY_FREE];
	return true;
}
