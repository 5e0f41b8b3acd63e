// SPDX-License-Identifier: Apache-2.0
// The states of a slot (a vGPU), and when one ends by itself. Pure: time is a parameter, what is seen of the
// VM's stub too.
//
//   FREE ──assigned──> RESERVED ──stub connects──> STARTING ──a channel opens──> RUNNING
//    ^                    │ time is over               └────────stub goes────┬───────┘
//    └────────────────────┴──────────time is over────── RELEASING <──────────┘   (and back when it connects)
//
// Time is over only for what slot.reserve gave away. What an operator assigned by hand stays assigned:
// without its stub it is RESERVED again.
#ifndef VGPU_MEDIATOR_INVENTORY_SLOT_LIFE_H
#define VGPU_MEDIATOR_INVENTORY_SLOT_LIFE_H

#include <stdbool.h>
#include <stdint.h>

enum slot_state {
	SLOT_FREE,
	SLOT_RESERVED,	// its stub was not there yet
	SLOT_STARTING,	// the VM's monitor is there, its stub says
	SLOT_RUNNING,	// and the guest has used the GPU since then
	SLOT_RELEASING, // the stub is gone
	SLOT_STATES,
};

struct slot_rules {
	uint64_t reserve_for_ns; // for the stub to connect
	uint64_t grace_ns;	 // for one that was connected to come back
};

struct slot_life {
	enum slot_state state;
	bool by_reserve;   // slot.reserve gave it away, not an operator
	uint64_t until_ns; // the state ends by itself; 0: never
	uint64_t again_ns; // reserved again by the VM that has it: not free before; 0: it was not
};

enum slot_change { SLOT_SAME, SLOT_CHANGED, SLOT_OVER /* it is to be freed */ };

const char *slot_state_text(enum slot_state state);
enum slot_state slot_state_find(const char *text); // SLOT_STATES: there is none

// A VM has it from now on.
void slot_life_begin(struct slot_life *l, bool by_reserve, const struct slot_rules *rules, uint64_t now_ns);
// Its VM asks for it again: a new stub has as long to come as the first one had.
void slot_life_renew(struct slot_life *l, const struct slot_rules *rules, uint64_t now_ns);
// It was so with a mediator before this one. Its times begin anew.
void slot_life_resume(struct slot_life *l, bool by_reserve, enum slot_state state,
		      const struct slot_rules *rules, uint64_t now_ns);
// An operator says that it is to stay.
void slot_life_keep(struct slot_life *l);

// What is seen now: whether its stub is connected, and the guest has a channel.
enum slot_change slot_life_look(struct slot_life *l, bool connected, bool used,
				const struct slot_rules *rules, uint64_t now_ns);

#endif
