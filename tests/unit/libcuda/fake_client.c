// SPDX-License-Identifier: Apache-2.0
// The stand-in's body: guest/client/client.h's functions with the records' meanings carried out in place.
// Single threaded but for host functions' waits.
#include "tests/unit/libcuda/fake_client.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/limits.h"
#include "guest/client/client.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/words.h"

#define SLOTS 8192u
#define HELD  256

struct vgpu_client {
	int unused;
};

struct fake fake;
static struct vgpu_client client;
static _Atomic uint64_t fences[SLOTS];
static uint32_t slots_given;
static uint64_t device_next, window_next, arena_next;
static struct {
	uint32_t slot;
	uint64_t value;
} held[HELD];
static unsigned int n_held;
static pthread_mutex_t begin_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint16_t opcode;
	uint8_t fields[256];
	uint8_t *tail;
	uint32_t tail_bytes;
} begun;

static void map_at(uint64_t at)
{
	void *p = mmap((void *)(uintptr_t)at, FAKE_MEMORY, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);

	assert(p == (void *)(uintptr_t)at);
	(void)p;
}

int vgpu_client_open(const char *path, struct vgpu_client **ret)
{
	(void)path;
	if (fake.open_fails)
		return -ECONNREFUSED;
	if (!device_next) {
		map_at(VGPU_DEVICE_WINDOW_BASE);
		map_at(VGPU_HOST_WINDOW_BASE);
		device_next = VGPU_DEVICE_WINDOW_BASE;
		window_next = VGPU_HOST_WINDOW_BASE + VGPU_ARENA_BYTES;
	}
	*ret = &client;
	return 0;
}

const char *vgpu_client_open_error(void)
{
	return "the test said so";
}

int vgpu_client_open_result(void)
{
	return CUDA_ERROR_NO_DEVICE;
}

void vgpu_client_close(struct vgpu_client *c)
{
	(void)c;
}

void vgpu_client_forget(struct vgpu_client *c)
{
	(void)c;
}

int vgpu_client_lost(struct vgpu_client *c)
{
	(void)c;
	return fake.lost;
}

uint32_t vgpu_client_object_limit(const struct vgpu_client *c, unsigned which)
{
	(void)c;
	(void)which;
	return 0;
}

int vgpu_client_look(struct vgpu_client *c)
{
	return vgpu_client_lost(c);
}

uint32_t vgpu_client_printed(struct vgpu_client *c)
{
	(void)c;
	return false;
}

int vgpu_client_sticky(struct vgpu_client *c)
{
	(void)c;
	return fake.sticky;
}

int vgpu_client_deferred(struct vgpu_client *c)
{
	int code = fake.deferred;

	(void)c;
	fake.deferred = 0;
	return code;
}

static void store(uint32_t slot, uint64_t value)
{
	if (fake.drop_fences)
		return;
	if (fake.hold_fences) {
		assert(n_held < HELD);
		held[n_held].slot = slot;
		held[n_held++].value = value;
		return;
	}
	atomic_store(&fences[slot], value);
}

void fake_release_fences(void)
{
	fake.hold_fences = 0;
	for (unsigned int i = 0; i < n_held; i++)
		store(held[i].slot, held[i].value);
	n_held = 0;
}

void fake_reset(void)
{
	fake_release_fences();
	memset(&fake, 0, sizeof(fake));
}

static void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

static void do_copy(const struct record_copy *r)
{
	for (uint64_t z = 0; z < r->depth; z++)
		for (uint64_t y = 0; y < r->height; y++)
			memmove(at(r->dst + z * r->dst_slice + y * r->dst_pitch),
				at(r->src + z * r->src_slice + y * r->src_pitch), r->width);
}

static void do_set(const struct record_set *r)
{
	for (uint64_t y = 0; y < r->height; y++)
		for (uint64_t x = 0; x < r->width; x++)
			memcpy(at(r->dst + y * r->pitch + x * r->element), &r->value, r->element);
}

static void carry_out(uint16_t opcode, const void *fields, const void *tail, uint32_t tail_bytes)
{
	fake.counts[opcode]++;
	switch (opcode) {
	case OPCODE_COPY: do_copy(fields); break;
	case OPCODE_SET: do_set(fields); break;
	case OPCODE_WRITE: memcpy(at(((const struct record_write *)fields)->dst), tail, tail_bytes); break;
	case OPCODE_WORDS:
		for (uint32_t i = 0; i < ((const struct record_words *)fields)->n; i++) {
			struct word_op op;

			memcpy(&op, (const char *)tail + i * sizeof(op), sizeof(op));
			if (word_is_write(&op))
				memcpy(at(op.address), &op.value, word_bytes(&op));
		}
		break;
	case OPCODE_FENCE: {
		const struct record_fence *r = fields;

		store(r->slot, r->value);
		break;
	}
	case OPCODE_EVENT_WATCH: {
		const struct record_event_watch *r = fields;

		store(r->slot, r->value);
		break;
	}
	case OPCODE_LAUNCH:
		memcpy(&fake.launch, fields, sizeof(fake.launch));
		assert(tail_bytes <= sizeof(fake.launch_tail));
		memcpy(fake.launch_tail, tail, tail_bytes);
		fake.launch_tail_bytes = tail_bytes;
		break;
	default: break;
	}
}

int vgpu_client_push(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
		     const void *tail, uint32_t tail_bytes)
{
	(void)c;
	(void)bytes;
	if (fake.lost)
		return fake.lost;
	carry_out(opcode, fields, tail, tail_bytes);
	return 0;
}

void *vgpu_client_begin(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
			uint32_t tail_bytes)
{
	(void)c;
	if (fake.lost)
		return NULL;
	pthread_mutex_lock(&begin_lock);
	assert(bytes <= sizeof(begun.fields));
	begun.opcode = opcode;
	memcpy(begun.fields, fields, bytes);
	begun.tail = malloc(tail_bytes + 1);
	assert(begun.tail);
	memset(begun.tail, 0xa5, tail_bytes + 1); // what the ring held before
	begun.tail_bytes = tail_bytes;
	return begun.tail;
}

void vgpu_client_commit(struct vgpu_client *c)
{
	(void)c;
	carry_out(begun.opcode, begun.fields, begun.tail, begun.tail_bytes);
	free(begun.tail);
	pthread_mutex_unlock(&begin_lock);
}

// ---- calls

static int answer_device(struct reply_device_info *ret)
{
	static const struct {
		int id, value;
	} some[] = {
		{ 1, 1024 },	{ 2, 1024 },  { 3, 1024 }, { 4, 64 },	{ 5, 2147483647 }, { 6, 65535 },
		{ 7, 65535 },	{ 8, 49152 }, { 10, 32 },  { 16, 132 }, { 33, 32 },	   { 39, 2048 },
		{ 50, 0 },	{ 75, 9 },    { 76, 0 },   { 83, 1 },	{ 89, 1 },	   { 95, 1 },
		{ 97, 232448 }, { 102, 1 },   { 122, 1 },
	};

	memset(ret, 0, sizeof(*ret));
	ret->total_memory = 80ull << 30;
	ret->driver_version = 13000;
	ret->attribute_count = 148;
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		ret->attributes[some[i].id] = some[i].value;
	memcpy(ret->uuid, "0123456789abcdef", 16);
	strncpy(ret->name, "Fake GPU", sizeof(ret->name) - 1);
	return 0;
}

static int answer_function(struct reply_function_get *ret, void *tail, uint32_t *tail_bytes)
{
	// (u64 at 0, u32 at 8, 16 bytes at 16): a hole of 4 bytes
	static const uint32_t layout[] = { 0, 8, 8, 4, 16, 16 };

	memset(ret, 0, sizeof(*ret));
	ret->n_params = 3;
	ret->param_bytes = 32;
	ret->attribute_valid = 0xffff;
	ret->attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 512;
	ret->attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = 49152;
	memcpy(tail, layout, sizeof(layout));
	*tail_bytes = sizeof(layout);
	return 0;
}

static int answer_clusters(const void *fields, const char *tail, uint32_t tail_bytes,
			   struct reply_occupancy_clusters *ret)
{
	memcpy(&fake.clusters, fields, sizeof(fake.clusters));
	assert(tail_bytes == fake.clusters.n_attributes * sizeof(fake.clusters_attribute));
	if (tail_bytes)
		memcpy(fake.clusters_attribute, tail, sizeof(fake.clusters_attribute));
	ret->value = fake.clusters.what == CLUSTER_QUESTION_ACTIVE ? 66 : 8;
	return 0;
}

static int answer_tensor_map(const void *fields, struct reply_tensor_map *ret)
{
	memcpy(&fake.tensor_map, fields, sizeof(fake.tensor_map));
	for (uint64_t i = 0; i < 16; i++)
		ret->map[i] = fake.tensor_map.map[i] + i + 1;
	return 0;
}

// Memory is shared in pieces of 2 MiB whose key is their address.
#define SHARED_BYTES (2ull << 20)

static int answer_mem_share(const void *fields, struct reply_mem_share *ret)
{
	uint64_t address = ((const struct record_mem_share *)fields)->address;

	ret->offset = address % SHARED_BYTES;
	ret->key[0] = address - ret->offset;
	ret->key[1] = 5;
	ret->size = SHARED_BYTES;
	return 0;
}

static int answer_vm_reserve(const void *fields, struct reply_vm_reserve *ret)
{
	static uint64_t next = VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(256);

	ret->address = next;
	next += ((const struct record_vm_reserve *)fields)->size;
	return 0;
}

static uint64_t new_object(void)
{
	static uint64_t last = 1000;

	return fake.last_object = ++last;
}

static int answer(uint16_t opcode, const void *fields, const char *name, uint32_t name_bytes, void *ret,
		  void *ret_tail, uint32_t *ret_tail_bytes)
{
	switch (opcode) {
	case OPCODE_DEVICE_INFO: return answer_device(ret);
	case OPCODE_EVENT_QUERY:
		return fake.hold_fences || n_held || fake.drop_fences ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
	case OPCODE_CONTEXT_ACTIVATE: {
		struct reply_context_activate *r = ret;

		memset(r, 0, sizeof(*r));
		r->limits[CU_LIMIT_STACK_SIZE] = 1024;
		r->limit_valid = 1;
		r->priority_greatest = -5;
		return 0;
	}
	case OPCODE_MEM_ALLOC: {
		struct reply_mem_alloc *r = ret;
		uint64_t size = ((const struct record_mem_alloc *)fields)->size;

		if (fake.addresses_only) {
			static uint64_t next = VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(1);

			r->address = next;
			next += (size + 511) & ~511ull;
			return 0;
		}
		if (size > FAKE_MEMORY - (device_next - VGPU_DEVICE_WINDOW_BASE))
			return CUDA_ERROR_OUT_OF_MEMORY;
		r->address = device_next;
		device_next += (size + 511) & ~511ull;
		return 0;
	}
	case OPCODE_FUNCTION_GET:
		if (name_bytes != 1 || *name != 'k')
			return CUDA_ERROR_NOT_FOUND;
		return answer_function(ret, ret_tail, ret_tail_bytes);
	case OPCODE_MODULE_NAMES: { // three kernels called k, one a page
		struct reply_module_names *r = ret;

		r->count = 3;
		r->named = ((const struct record_module_names *)fields)->first < 3;
		memcpy(ret_tail, "k", 2);
		*ret_tail_bytes = 2 * r->named;
		return 0;
	}
	case OPCODE_OCCUPANCY:
		((struct reply_occupancy *)ret)->blocks =
		    (int)(2048 / ((const struct record_occupancy *)fields)->block_threads);
		return 0;
	case OPCODE_OCCUPANCY_CLUSTERS: return answer_clusters(fields, name, name_bytes, ret);
	case OPCODE_TEXTURE_CREATE:
		memcpy(&fake.texture, fields, sizeof(fake.texture));
		((struct reply_texture_create *)ret)->object = new_object();
		return 0;
	case OPCODE_SURFACE_CREATE: ((struct reply_surface_create *)ret)->object = new_object(); return 0;
	case OPCODE_MIPMAP_LEVEL:
		*(struct reply_mipmap_level *)ret = (struct reply_mipmap_level){ 0 };
		return 0;
	case OPCODE_TENSOR_MAP: return answer_tensor_map(fields, ret);
	case OPCODE_MEM_SHARE: return answer_mem_share(fields, ret);
	case OPCODE_VM_RESERVE: return answer_vm_reserve(fields, ret);
	case OPCODE_VM_IMPORT: ((struct reply_vm_import *)ret)->size = SHARED_BYTES; return 0;
	case OPCODE_EVENT_SHARE:
		*(struct reply_event_share *)ret = (struct reply_event_share){ { 7, 8 } };
		return 0;
	default: return 0;
	}
}

int vgpu_client_call(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
		     const void *tail, uint32_t tail_bytes, void *ret, uint32_t ret_bytes, void *ret_tail,
		     uint32_t ret_tail_room, uint32_t *ret_tail_bytes)
{
	(void)c;
	(void)bytes;
	(void)ret_bytes;
	(void)ret_tail_room;
	if (ret_tail_bytes)
		*ret_tail_bytes = 0;
	if (fake.lost)
		return fake.lost;
	fake.counts[opcode]++;
	if (fake.fail_opcode == opcode && fake.fail_result)
		return fake.fail_result;
	return answer(opcode, fields, tail, tail_bytes, ret, ret_tail, ret_tail_bytes);
}

// ---- fences, arena, window

bool vgpu_client_caught_up(struct vgpu_client *c, uint64_t at_most_ns)
{
	(void)c;
	(void)at_most_ns;
	return true;
}

uint32_t vgpu_slot_get(struct vgpu_client *c)
{
	(void)c;
	return slots_given < SLOTS ? slots_given++ : UINT32_MAX;
}

void vgpu_slot_put(struct vgpu_client *c, uint32_t slot)
{
	(void)c;
	(void)slot;
}

uint64_t vgpu_slot_read(const struct vgpu_client *c, uint32_t slot)
{
	(void)c;
	return atomic_load(&fences[slot]);
}

void vgpu_slot_store(struct vgpu_client *c, uint32_t slot, uint64_t value)
{
	(void)c;
	atomic_store(&fences[slot], value);
}

int vgpu_slot_wait(struct vgpu_client *c, uint32_t slot, uint64_t value, uint64_t timeout_ns)
{
	fake.waits++;
	for (int i = 0; vgpu_slot_read(c, slot) < value; i++) {
		if (fake.lost || fake.sticky)
			return fake.lost ? fake.lost : fake.sticky;
		if (i == 10 && timeout_ns > 10000000)
			fake_release_fences(); // the GPU got on with it
		if (timeout_ns != UINT64_MAX && i > 20) {
			fake.deferred = fake.deferred_after_wait;
			fake.deferred_after_wait = 0;
			return -ETIMEDOUT;
		}
		usleep(100);
	}
	return 0;
}

int vgpu_arena_get(struct vgpu_client *c, uint64_t bytes, struct vgpu_chunk *ret)
{
	uint64_t size = (bytes + 255) & ~255ull;

	(void)c;
	assert(bytes && bytes <= VGPU_CHUNK_MAX);
	if (arena_next + size > VGPU_ARENA_BYTES)
		arena_next = 0;
	*ret = (struct vgpu_chunk){ .address = at(VGPU_HOST_WINDOW_BASE + arena_next), .bytes = bytes };
	arena_next += size;
	return 0;
}

void vgpu_arena_put(struct vgpu_client *c, const struct vgpu_chunk *chunk, uint32_t slot, uint64_t value)
{
	(void)c;
	(void)slot;
	(void)value;
	if (!fake.hold_fences)
		memset(chunk->address, 0x5a, chunk->bytes); // reuse must not be noticed
}

void *vgpu_window_alloc(struct vgpu_client *c, uint64_t bytes)
{
	uint64_t address = window_next, size = (bytes + 4095) & ~4095ull;

	(void)c;
	if (size > VGPU_HOST_WINDOW_BASE + FAKE_MEMORY - window_next)
		return NULL;
	window_next += size;
	return at(address);
}

void vgpu_window_free(struct vgpu_client *c, void *address, uint64_t bytes)
{
	(void)c;
	(void)address;
	(void)bytes;
}

// Replaces the pages in place by others with the same contents, as the real one does.
static int replace_pages(void *address, uint64_t bytes)
{
	void *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert(copy != MAP_FAILED);
	memcpy(copy, address, bytes);
	return mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address) == MAP_FAILED ? -errno : 0;
}

int vgpu_window_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset)
{
	(void)c;
	assert(((uintptr_t)address | bytes) % 4096 == 0 && bytes);
	*ret_offset = 0;
	return replace_pages(address, bytes);
}

int vgpu_window_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset)
{
	(void)c;
	(void)offset;
	return replace_pages(address, bytes);
}

bool vgpu_client_in_window(const struct vgpu_client *c, uint64_t address)
{
	(void)c;
	return address - VGPU_HOST_WINDOW_BASE < VGPU_WINDOW_BYTES ||
	       address - VGPU_DEVICE_WINDOW_BASE < VGPU_WINDOW_BYTES;
}

uint64_t vgpu_client_gpu_address(const struct vgpu_client *c, const void *p)
{
	(void)c;
	return (uintptr_t)p;
}

uint64_t vgpu_client_window_base(const struct vgpu_client *c)
{
	(void)c;
	return VGPU_HOST_WINDOW_BASE;
}

uint32_t vgpu_client_tenant(const struct vgpu_client *c)
{
	(void)c;
	return 1;
}
