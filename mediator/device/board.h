// SPDX-License-Identifier: Apache-2.0
// What is known of the device: the newest that the sensor told, its age, and what of it may be told to whom.
// Pure; time is a parameter. The sensor's packets were checked (session/check.c); the numbers in them are
// bounded here, by protocol/host/device_values.def.
#ifndef VGPU_MEDIATOR_DEVICE_BOARD_H
#define VGPU_MEDIATOR_DEVICE_BOARD_H

#include "protocol/host/link.h"

#define BOARD_PCI_BYTES 40

struct board {
	bool known;	     // identity and backend are there
	bool readable;	     // the sensor has more to tell than them
	bool lost;	     // the newest word: the card fell off the bus
	uint64_t read_at_ns; // 0: no readings yet
	char backend[16];
	struct device_identity identity;
	struct device_texts texts;
	struct device_values values;
};

void board_identity(struct board *b, const struct link_sensor_ready *ready);
void board_readings(struct board *b, const struct link_sensed *sensed, uint64_t now_ns);

// Whether the readings were taken at most age_ns ago.
bool board_fresh(const struct board *b, uint64_t age_ns, uint64_t now_ns);

// All but the values of class TENANT: readings only while they are younger than DEVICE_READING_NS, those of
// class CARD only with card.
void board_tell(const struct board *b, bool card, uint64_t now_ns, struct device_state *ret);

// Where it is, as NVML writes it: 00000000:3b:00.0. False: not known, or not yet.
bool board_pci(const struct board *b, char ret[static BOARD_PCI_BYTES]);

// The same for the store, and "none" of a backend that has no card. False: not known, or not yet.
bool board_place(const struct board *b, char ret[static BOARD_PCI_BYTES]);

// The card's free memory; false: not known, too old, or not that of the device that tenants have (MIG).
bool board_memory_free(const struct board *b, uint64_t now_ns, uint64_t *ret);

#endif
