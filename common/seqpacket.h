// SPDX-License-Identifier: Apache-2.0
// Unix SOCK_SEQPACKET helpers: one packet is one message, fds travel with it. Used by both ends of the host
// link (guest library too, so: libc only, no logging).
#ifndef VGPU_COMMON_SEQPACKET_H
#define VGPU_COMMON_SEQPACKET_H

#include <stddef.h>
#include <stdint.h>

#define SEQPACKET_MAX_FDS 16

// Binds and listens on a new socket at path (an existing socket file there is replaced when nobody answers on
// it, else -EADDRINUSE). mode: permission bits of the file. Returns the fd (CLOEXEC, non-blocking) or -errno.
int seqpacket_listen(const char *path, unsigned mode, int backlog);
// The same for a SOCK_STREAM socket.
int stream_listen(const char *path, unsigned mode, int backlog);

// Connects; returns a blocking CLOEXEC fd or -errno. It waits while the listener's backlog is full, and so
// does each later send, at most limit_ns long (-ETIMEDOUT; a send's is -EAGAIN).
int seqpacket_connect_within(const char *path, uint64_t limit_ns);
// Never waits: a non-blocking CLOEXEC fd, -EAGAIN while the backlog is full, or -errno.
int seqpacket_connect_now(const char *path);

// Sends one packet with n_fds fds (borrowed). flags as send(2); MSG_NOSIGNAL is always added. 0 or -errno.
int seqpacket_send(int fd, const void *data, size_t len, const int *fds, unsigned n_fds, int flags);

// Receives one packet into data. *ret_fds (room for SEQPACKET_MAX_FDS) and *ret_n_fds get the fds that came,
// CLOEXEC, owned by the caller; more than that many is -EPROTO with all of them closed. Returns the length,
// 0 at end of stream, -EMSGSIZE if the packet was longer than len (fds closed), or -errno. flags as recv(2).
int seqpacket_recv(int fd, void *data, size_t len, int *ret_fds, unsigned *ret_n_fds, int flags);

#endif
