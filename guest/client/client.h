// SPDX-License-Identifier: Apache-2.0
// The client: the only guest code that speaks to the host. One client is one channel: a command ring,
// replies, fences, an arena for bulk bytes and a window of host memory that the GPU sees at the same
// addresses. libcuda.so.1 and libvgpu.so.1 are built on it. Everything here may be called from any thread
// unless it says otherwise; nothing but libc is needed, since this code lives in strangers' processes.
//
// Results: CUresult values (0 success) where a call stands for the GPU, negative errno where it is about the
// machinery. When the channel is lost (executor or mediator died, bad record) every call answers
// vgpu_client_lost()'s code at once and every wait ends: nothing here waits without a bound.
#ifndef VGPU_CLIENT_CLIENT_H
#define VGPU_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_client;

// Opens a channel: at the mediator whose socket is path (NULL: $VGPU_SOCKET), else through /dev/vgpu0 where
// that is (in a virtual machine), else at the default socket; maps it and reserves the device window. -errno
// on failure; vgpu_client_open_error() then says why in words. The caller owns *ret.
int vgpu_client_open(const char *path, struct vgpu_client **ret);
// The same for libvgpu, beside libcuda or further clients in one process: leaves the address windows alone
// and maps the host window elsewhere. Its memory then has another address for the executor and for kernels
// (vgpu_client_gpu_address), and program addresses say nothing of device memory.
int vgpu_client_open_apart(const char *path, struct vgpu_client **ret);
const char *vgpu_client_open_error(void); // text of this thread's last failed open, never NULL
// The CUresult that says it to programs: NO_DEVICE, or DEVICE_UNAVAILABLE when there is one that this program
// may not use now (its tenant is in quarantine, the card is lost).
int vgpu_client_open_result(void);

// Gives the channel back: the host frees everything. No other call may be running or follow.
void vgpu_client_close(struct vgpu_client *c);

// In a forked child: closes the child's copies of the fds and forgets the channel without touching it.
void vgpu_client_forget(struct vgpu_client *c);

// 0, or the CUresult that every call answers from now on because the channel is gone. Cheap: one load.
int vgpu_client_lost(struct vgpu_client *c);

// The same for whoever polls, who never sleeps in here and would not learn of it: looks at the link, but not
// more often than sleepers do.
int vgpu_client_look(struct vgpu_client *c);

// The context's sticky error as the executor reported it, or why the channel is lost (CUresult), 0 if none.
// One load of shared memory.
int vgpu_client_sticky(struct vgpu_client *c);

// How many objects of a kind the host takes from this program (enum vgpu_object_limit); 0: as common/limits.h
// says.
uint32_t vgpu_client_object_limit(const struct vgpu_client *c, unsigned which);

// Not 0: kernels may have printed something that is to be taken (print_take); bits of enum channel_print. One
// load of shared memory.
uint32_t vgpu_client_printed(struct vgpu_client *c);

// Takes the error of an asynchronous call that was refused on the host after it had returned; 0 if none.
int vgpu_client_deferred(struct vgpu_client *c);

// ---- records (the typed forms are generated: guest/client/calls_gen.h) ----

// Puts a record in the ring and returns; 0 or vgpu_client_lost(). Waits only when the ring is full.
int vgpu_client_push(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
		     const void *tail, uint32_t tail_bytes);

// The same with a reply: waits for it and returns the call's CUresult. The reply's fields go to ret, also on
// failure when the host sent them (module_load's logs); else ret is untouched. At most ret_tail_room bytes of
// its tail go to ret_tail.
int vgpu_client_call(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
		     const void *tail, uint32_t tail_bytes, void *ret, uint32_t ret_bytes, void *ret_tail,
		     uint32_t ret_tail_room, uint32_t *ret_tail_bytes);

// Whether the executor has carried out all that was pushed so far by the calling thread and before it; waits
// at most at_most_ns for that. For those who want to know what a record of theirs stored but must not wait
// for what it may stand behind.
bool vgpu_client_caught_up(struct vgpu_client *c, uint64_t at_most_ns);

// A record whose tail is written in place, for launches: begin gives the place of tail_bytes bytes (lock
// held, no other call of this client by this thread in between), commit publishes it.
void *vgpu_client_begin(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
			uint32_t tail_bytes); // NULL: lost
void vgpu_client_commit(struct vgpu_client *c);

// ---- fences ----

// A slot of the fence page, its value set to 0. UINT32_MAX: none left. put: the host must be done with it.
uint32_t vgpu_slot_get(struct vgpu_client *c);
void vgpu_slot_put(struct vgpu_client *c, uint32_t slot);
uint64_t vgpu_slot_read(const struct vgpu_client *c, uint32_t slot);
// Stores a value as the guest (host functions: the stream waits for it with stream_wait_value).
void vgpu_slot_store(struct vgpu_client *c, uint32_t slot, uint64_t value);
// Waits until the slot's value >= value: spins, then sleeps. 0; or the sticky error or lost code, when the
// value will not come. timeout_ns UINT64_MAX: no limit but the channel's life; else -ETIMEDOUT.
int vgpu_slot_wait(struct vgpu_client *c, uint32_t slot, uint64_t value, uint64_t timeout_ns);

// The same until one of n (1 or more) has its value; *ret_which is its place in the list.
struct vgpu_slot_value {
	uint64_t value;
	uint32_t slot;
};
int vgpu_slot_wait_any(struct vgpu_client *c, const struct vgpu_slot_value *list, size_t n,
		       uint64_t timeout_ns, size_t *ret_which);

// ---- arena ----

// Bytes of the arena in flight: memory both sides see, at an address that copy records may name.
struct vgpu_chunk {
	void *address;
	uint64_t bytes;
	uint64_t ticket; // internal
};

#define VGPU_CHUNK_MAX (4u << 20) // bytes; larger copies go in pieces

// Takes bytes (1..VGPU_CHUNK_MAX) of the arena, aligned to 256; waits until older chunks are free. 0 or lost.
int vgpu_arena_get(struct vgpu_client *c, uint64_t bytes, struct vgpu_chunk *ret);
// Gives a chunk back for the time when fence slot >= value (slot UINT32_MAX: at once). Whoever puts a chunk
// with a fence must have pushed, or be about to push, the fence record: arena_get waits for it.
void vgpu_arena_put(struct vgpu_client *c, const struct vgpu_chunk *chunk, uint32_t slot, uint64_t value);

// memcpy for the program's side of large copies: shares the work with helper threads where processors are
// many.
void vgpu_copy_bytes(void *dst, const void *src, size_t bytes);

// ---- host window (pinned memory) ----

// Page-aligned piece of the host window behind the arena, both sides' memory, not yet registered with the GPU
// (push/call host_register for that, address as given, offset = address - window base). NULL: none left.
void *vgpu_window_alloc(struct vgpu_client *c, uint64_t bytes);
// Gives the piece back (bytes as asked) and its pages to the host. The GPU must be done with it.
void vgpu_window_free(struct vgpu_client *c, void *address, uint64_t bytes);
// Shares [address, address + bytes), page-aligned memory of the program, with the executor in place: same
// contents, same address. *ret_offset is for host_register. In process mode the range is moved into the
// window's memfd and must be private memory; writes by other threads while this runs may be lost (CUDA leaves
// them undefined as well). In a virtual machine it is pinned where it is. -ENOMEM, also for the user's limit
// of locked memory; -EOPNOTSUPP: the range holds a shared or special mapping; -EFAULT: unmapped or not
// writable.
int vgpu_window_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset);
// The way back: private memory again, same contents. The GPU must be done with it.
int vgpu_window_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset);

// Pinned memory: window_alloc and registering it with the GPU. A CUresult; whole pages, one of
// VGPU_MAX_HOST_RANGES. free waits until the executor has let go (work in flight comes first).
int vgpu_pinned_alloc(struct vgpu_client *c, uint64_t bytes, void **ret);
void vgpu_pinned_free(struct vgpu_client *c, void *address, uint64_t bytes);

uint64_t vgpu_client_window_base(const struct vgpu_client *c);
// The address at which the executor and kernels see a byte of the arena or of pinned memory.
uint64_t vgpu_client_gpu_address(const struct vgpu_client *c, const void *p);
// Whether the address lies in the host or the device window: no program memory of its own is there.
bool vgpu_client_in_window(const struct vgpu_client *c, uint64_t address);
uint32_t vgpu_client_tenant(const struct vgpu_client *c);
bool vgpu_client_is_virtual(const struct vgpu_client *c); // over the virtual GPU, not a socket

#endif
