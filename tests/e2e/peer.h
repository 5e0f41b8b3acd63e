// SPDX-License-Identifier: Apache-2.0
//
// A second process for an end-to-end program: the program itself, started anew (CUDA does not survive a
// fork), with a socket between both. It is told its role by its first argument; what it checks it prints like
// its parent, and its exit status is one more check of the parent's.
#ifndef VGPU_TESTS_E2E_PEER_H
#define VGPU_TESTS_E2E_PEER_H

#include <stddef.h>
#include <sys/types.h>

struct peer {
	int socket;
	pid_t pid; // 0: the other one is our parent
};

// Starts this program as `role`. And what the started one has of its parent; NULL role: this is the parent.
struct peer peer_start(const char *role);
struct peer peer_parent(int argc, char **argv, const char **role);

// One message of exactly n bytes, with an fd (-1: none). Ends the program when the other side is gone.
void peer_send(const struct peer *p, const void *bytes, size_t n, int fd);
// The fd that came, -1: none.
int peer_receive(const struct peer *p, void *bytes, size_t n);

// Both sides call it: neither goes on before the other is here.
void peer_meet(const struct peer *p);

// Waits for its end and checks that its checks held.
void peer_end(struct peer *p);

#endif
