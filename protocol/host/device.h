// SPDX-License-Identifier: Apache-2.0
// What is told about the device: by vgpu-sensor to the mediator, by the mediator to clients (DEVICE in
// link.h), by guest/client to whoever asks it (guest/client/device_state.h). A number that nobody knows has
// its valid bit off and is 0; nothing here is ever made up.
#ifndef VGPU_PROTOCOL_HOST_DEVICE_H
#define VGPU_PROTOCOL_HOST_DEVICE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"

#define DEVICE_VALUE_ROOM      128u
#define DEVICE_ATTRIBUTES      160u
#define DEVICE_PROCESS_NAME    16u
#define DEVICE_READING_NS      3000000000ull // a reading older than this is not told as current
#define DEVICE_PROCESS_BUSY    1u	     // bits of device_process.valid
#define DEVICE_PROCESS_PID     2u
#define DEVICE_PROCESS_STARTED 4u

enum device_value {
#define VALUE(name, class_, most, what) DEVICE_##name,
#include "protocol/host/device_values.def"
#undef VALUE
	DEVICE_VALUES,
};
static_assert(DEVICE_VALUES <= DEVICE_VALUE_ROOM, "DEVICE_VALUE_ROOM");

struct device_values {
	uint64_t valid[DEVICE_VALUE_ROOM / 64]; // bit N: value[N] is known
	uint64_t value[DEVICE_VALUE_ROOM];	// by enum device_value
};
static_assert(sizeof(struct device_values) == 1040, "wire");

// What libcuda shows of the device, from the same place (device_info of the backend). Texts are
// NUL-terminated.
struct device_identity {
	char name[256];
	uint8_t uuid[16];
	uint64_t total_memory;		       // bytes; to a tenant with a quota the quota, if that is less
	int32_t driver_version;		       // of CUDA, as the backend tells it: 1000 * major + 10 * minor
	uint32_t attribute_count;	       // attributes 1 .. attribute_count - 1 are known
	int32_t attributes[DEVICE_ATTRIBUTES]; // by CU_DEVICE_ATTRIBUTE_*
};
static_assert(sizeof(struct device_identity) == 928, "wire");

// Printable ASCII, NUL-terminated; empty: not known.
struct device_texts {
	char driver[80]; // "580.159.04"
	char vbios[32];
	char serial[32];
	char board_part[80];
	char inforom_image[16];
	char gsp_firmware[64];
};
static_assert(sizeof(struct device_texts) == 304, "wire");

enum device_source {
	DEVICE_UNKNOWN = 0,  // no sensor has told anything yet: identity is all zero
	DEVICE_IDENTITY = 1, // identity only: the backend has no card, or the host no NVML
	DEVICE_CARD = 2,     // the card is being read (see age_ns)
	DEVICE_LOST = 3,     // the card fell off the bus, or must be reset
};

// As operators are told (STATUS).
enum device_health {
	DEVICE_HEALTH_UNKNOWN = 0, // nothing was read yet
	DEVICE_HEALTH_HEALTHY = 1,
	DEVICE_HEALTH_DEGRADED = 2, // an Xid of the device was seen lately; work goes on
	DEVICE_HEALTH_LOST = 3,	    // no channel opens until the card answers again
};

struct device_state {
	uint32_t source; // enum device_source
	uint32_t reserved;
	uint64_t age_ns;  // since the readings were taken; UINT64_MAX: never
	char backend[16]; // "cuda", "cpu", "null"
	struct device_identity identity;
	struct device_texts texts;
	struct device_values values;
};
static_assert(sizeof(struct device_state) == 2304, "wire");
static_assert(offsetof(struct device_state, values) == 1264, "wire");

// One program of the asking tenant that uses the GPU.
struct device_process {
	uint64_t channel_id;
	uint64_t pid;	       // in the asker's pid namespace (DEVICE_PROCESS_PID)
	uint64_t memory_bytes; // device memory that it holds
	uint64_t gpu_ns;       // time in which its work held the GPU; only grows
	uint64_t launches;
	uint64_t started_us; // when it opened the GPU: microseconds since 1970 (DEVICE_PROCESS_STARTED)
	uint32_t busy;	     // as DEVICE_GPU_BUSY, of this process (DEVICE_PROCESS_BUSY)
	uint32_t valid;	     // DEVICE_PROCESS_* bits
	char name[DEVICE_PROCESS_NAME]; // printable ASCII, NUL-terminated; empty: not known
};
static_assert(sizeof(struct device_process) == 72, "wire");

static inline bool device_value_known(const struct device_values *v, enum device_value which)
{
	return v->valid[which / 64] >> (which % 64) & 1;
}

static inline void device_value_set(struct device_values *v, enum device_value which, uint64_t value)
{
	v->value[which] = value;
	v->valid[which / 64] |= 1ull << (which % 64);
}

static inline void device_value_clear(struct device_values *v, enum device_value which)
{
	v->value[which] = 0;
	v->valid[which / 64] &= ~(1ull << (which % 64));
}

#endif
