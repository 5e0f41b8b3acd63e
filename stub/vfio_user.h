// SPDX-License-Identifier: Apache-2.0
// Takes messages of vfio-user apart. Pure functions of the bytes: the server and the fuzzer call the same.
#ifndef VGPU_STUB_VFIO_USER_H
#define VGPU_STUB_VFIO_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/vmm/vfio_user.h"

struct vfio_user_request {
	uint16_t id, command;
	bool no_reply;
	union { // by command; requests without arguments have nothing here
		struct {
			uint16_t major, minor;
		} version;
		struct {
			uint64_t offset, address, bytes;
			bool writable;
		} map;
		struct {
			uint64_t address, bytes;
			bool all;
		} unmap;
		uint32_t index; // of a region or an interrupt
		struct vfio_user_set_irqs irqs;
		struct {
			uint64_t offset;
			uint32_t region, count;
			const uint8_t *data; // of a write: count bytes of the message
		} access;
	} u;
};

// The header of a request. 0; -EPROTO: it is none, or of a message that is longer than VFIO_USER_MAX_BYTES;
// the stream cannot be followed any further.
int vfio_user_check_header(const struct vfio_user_header *h);

// payload: h->size minus the header. 0 with every number of *ret in range: addresses and offsets do not wrap,
// DMA ranges are whole pages, accesses lie inside VFIO_USER_MAX_DATA, indices below their counts. Else a
// positive errno to answer with: EINVAL, ENOTSUP (unknown command). ret's id, command and no_reply are valid
// in any case.
int vfio_user_decode(const struct vfio_user_header *h, const void *payload, unsigned n_fds,
		     struct vfio_user_request *ret);

#endif
