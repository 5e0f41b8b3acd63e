// SPDX-License-Identifier: Apache-2.0
// The second device of a VM of the nvidia personality: a socket of its own beside the transport's, in the
// same process, with the device of personality/nvidia.h behind it. It maps nothing of the VM's memory and
// raises no interrupt. docs/decisions/0030.
#ifndef VGPU_STUB_IDENTITY_H
#define VGPU_STUB_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/link.h"
#include "stub/irq.h"
#include "stub/personality/nvidia.h"
#include "stub/server.h"

struct stub;

// Who says which personality the VM has.
enum identity_choice {
	IDENTITY_AS_TOLD, // the mediator; until it did monitors wait
	IDENTITY_NEVER,	  // custom: there is no second socket
	IDENTITY_ALWAYS,  // nvidia
};

struct identity {
	enum identity_choice choice;
	struct nvidia_setup setup; // of the next monitor's device
	bool told, wanted;	   // the mediator has said; it said nvidia
	struct server server;
	struct irq irq;
	struct nvidia device;
	char path[108];
};

// choice and setup are set by who calls.
void identity_init(struct identity *d);
// Opens the socket: the transport's path with LINK_IDENTITY_SUFFIX behind it. 0 or -errno.
int identity_start(struct stub *s);
void identity_done(struct identity *d);

// What the mediator says, at any time; a monitor that is there keeps what it has. vm: its uuid, or "".
void identity_tell(struct identity *d, bool nvidia, const char *vm);

// The answer to REGISTERS_ASK in packets: the one with the rows from *at on, which moves behind them. False:
// it was the last.
bool identity_registers(const struct identity *d, uint32_t cookie, unsigned *at, struct link_registers *ret);

#endif
