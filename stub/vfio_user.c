// SPDX-License-Identifier: Apache-2.0
// Decoder of vfio-user messages; see the header. Called by server.c for every message, by unit tests and the
// fuzzer. argsz fields are not looked at: monitors disagree about them.
#include "stub/vfio_user.h"

#include <errno.h>
#include <string.h>

#define PAGE 4096u

int vfio_user_check_header(const struct vfio_user_header *h)
{
	if (h->size < sizeof(*h) || h->size > VFIO_USER_MAX_BYTES)
		return -EPROTO;
	return (h->flags & VFIO_USER_TYPE) == 0 ? 0 : -EPROTO;
}

static bool range_is_good(uint64_t address, uint64_t bytes)
{
	return bytes && (address | bytes) % PAGE == 0 && address <= UINT64_MAX - bytes;
}

static int decode_version(const uint8_t *payload, size_t bytes, struct vfio_user_request *r)
{
	struct vfio_user_version m;

	// The capabilities that follow say what the monitor can take; nothing here asks for more than any
	// can.
	if (bytes < sizeof(m) || (bytes > sizeof(m) && payload[bytes - 1]))
		return EINVAL;
	memcpy(&m, payload, sizeof(m));
	r->u.version.major = m.major;
	r->u.version.minor = m.minor;
	return 0;
}

static int decode_map(const uint8_t *payload, size_t bytes, unsigned n_fds, struct vfio_user_request *r)
{
	struct vfio_user_dma_map m;

	if (bytes < sizeof(m) || n_fds > 1)
		return EINVAL;
	memcpy(&m, payload, sizeof(m));
	if (!range_is_good(m.address, m.bytes) || (n_fds && !range_is_good(m.offset, m.bytes)) ||
	    m.offset + m.bytes > INT64_MAX)
		return EINVAL;
	r->u.map.offset = m.offset;
	r->u.map.address = m.address;
	r->u.map.bytes = m.bytes;
	r->u.map.writable = (m.flags & (VFIO_USER_DMA_READ | VFIO_USER_DMA_WRITE)) ==
			    (VFIO_USER_DMA_READ | VFIO_USER_DMA_WRITE);
	return 0;
}

static int decode_unmap(const uint8_t *payload, size_t bytes, struct vfio_user_request *r)
{
	struct vfio_user_dma_unmap m;

	if (bytes < sizeof(m))
		return EINVAL;
	memcpy(&m, payload, sizeof(m));
	if (m.flags & ~VFIO_USER_UNMAP_ALL)
		return EINVAL;
	r->u.unmap.all = m.flags & VFIO_USER_UNMAP_ALL;
	if (!r->u.unmap.all && !range_is_good(m.address, m.bytes))
		return EINVAL;
	r->u.unmap.address = m.address;
	r->u.unmap.bytes = m.bytes;
	return 0;
}

static int decode_index(const uint8_t *payload, size_t bytes, size_t needed, uint32_t count,
			struct vfio_user_request *r)
{
	if (bytes < needed)
		return EINVAL;
	memcpy(&r->u.index, payload + 8, sizeof(r->u.index)); // where both structures have it
	return r->u.index < count ? 0 : EINVAL;
}

static int decode_set_irqs(const uint8_t *payload, size_t bytes, struct vfio_user_request *r)
{
	struct vfio_user_set_irqs *m = &r->u.irqs;

	if (bytes < sizeof(*m))
		return EINVAL;
	memcpy(m, payload, sizeof(*m));
	return m->index < VFIO_USER_IRQS ? 0 : EINVAL;
}

static int decode_access(const uint8_t *payload, size_t bytes, struct vfio_user_request *r)
{
	struct vfio_user_access m;

	if (bytes < sizeof(m))
		return EINVAL;
	memcpy(&m, payload, sizeof(m));
	if (m.region >= VFIO_USER_REGIONS || !m.count || m.count > VFIO_USER_MAX_DATA ||
	    m.offset > UINT64_MAX - m.count)
		return EINVAL;
	if (r->command == VFIO_USER_REGION_WRITE) {
		if (bytes - sizeof(m) < m.count)
			return EINVAL;
		r->u.access.data = payload + sizeof(m);
	}
	r->u.access.offset = m.offset;
	r->u.access.region = m.region;
	r->u.access.count = m.count;
	return 0;
}

int vfio_user_decode(const struct vfio_user_header *h, const void *payload, unsigned n_fds,
		     struct vfio_user_request *ret)
{
	size_t bytes = h->size - sizeof(*h);

	*ret = (struct vfio_user_request){
		.id = h->id,
		.command = h->command,
		.no_reply = h->flags & VFIO_USER_NO_REPLY,
	};
	if (n_fds && h->command != VFIO_USER_DMA_MAP && h->command != VFIO_USER_DEVICE_SET_IRQS)
		return EINVAL;
	switch (h->command) {
	case VFIO_USER_VERSION: return decode_version(payload, bytes, ret);
	case VFIO_USER_DMA_MAP: return decode_map(payload, bytes, n_fds, ret);
	case VFIO_USER_DMA_UNMAP: return decode_unmap(payload, bytes, ret);
	case VFIO_USER_DEVICE_GET_INFO: return 0;
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		return decode_index(payload, bytes, sizeof(struct vfio_user_region_info), VFIO_USER_REGIONS,
				    ret);
	case VFIO_USER_DEVICE_GET_IRQ_INFO:
		return decode_index(payload, bytes, sizeof(struct vfio_user_irq_info), VFIO_USER_IRQS, ret);
	case VFIO_USER_DEVICE_SET_IRQS: return decode_set_irqs(payload, bytes, ret);
	case VFIO_USER_REGION_READ:
	case VFIO_USER_REGION_WRITE: return decode_access(payload, bytes, ret);
	case VFIO_USER_DEVICE_RESET: return 0;
	default: return ENOTSUP;
	}
}
