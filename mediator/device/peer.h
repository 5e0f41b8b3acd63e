// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of a connection, as far as its siblings may know: process number and name. Read
// from /proc once, when the process opens a channel or asks about the device.
#ifndef VGPU_MEDIATOR_DEVICE_PEER_H
#define VGPU_MEDIATOR_DEVICE_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/host/device.h"

#define PEER_DEPTH 8

struct peer {
	unsigned depth; // 0: nothing is known
	// Its number in each pid namespace from the mediator's down to its own; its own has inode number ns
	// (0: the system does not tell us).
	pid_t pids[PEER_DEPTH];
	ino_t ns;
	char name[DEVICE_PROCESS_NAME]; // printable ASCII; empty: not known
};

// pidfd: of the process, -1 if there is none. What cannot be read stays unknown.
void peer_read(struct peer *p, int pidfd);

// other's number as p would see it; false: p cannot see it, or the system does not tell us whether.
bool peer_sees(const struct peer *p, const struct peer *other, pid_t *ret);

// The two parts of peer_read, apart for the unit tests: the text of a pidfd's fdinfo; the name's bytes.
void peer_parse_pids(struct peer *p, const char *fdinfo);
void peer_set_name(struct peer *p, const char *bytes, size_t n);

#endif
