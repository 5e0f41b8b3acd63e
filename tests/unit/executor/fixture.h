// SPDX-License-Identifier: Apache-2.0
// A whole executor inside the test process: a channel made as the mediator makes it, the guest's side of its
// ring, and a backend that the test steps by hand. Used by the unit tests and the fuzzers of the executor.
#ifndef VGPU_TESTS_UNIT_EXECUTOR_FIXTURE_H
#define VGPU_TESTS_UNIT_EXECUTOR_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "executor/executor.h"
#include "executor/loop.h"

struct fixture {
	struct executor x;
	struct loop loop;
	struct link_assign assign;
	int fds[ASSIGN_FDS];
	uint64_t tail, cookie, now_ns;
	const char *why; // of the last round that failed
};

// A geometry that assign_parse accepts, with small windows.
void fixture_assign(struct link_assign *ret);
// The six objects of an ASSIGN with that geometry; the header's magic is written, the gate is closed.
void fixture_objects(const struct link_assign *assign, int ret_fds[ASSIGN_FDS]);

// An executor on that backend, gate open without a deadline. Aborts when it cannot be made.
struct fixture *fixture_new(const struct backend_ops *ops);
void fixture_free(struct fixture *f);

// As the mediator: a new turn (deadline VGPU_NO_DEADLINE or ns), or the end of one.
void fixture_open_gate(struct fixture *f, uint64_t deadline_ns);
void fixture_close_gate(struct fixture *f);

// As the guest: one record behind the others; reply_slot may be REPLY_NONE. Fails the process when it does
// not fit.
void fixture_push(struct fixture *f, uint16_t opcode, uint16_t reply_slot, const void *fields, uint32_t bytes,
		  const void *tail, uint32_t tail_bytes);
// Rounds of the loop until nothing happens any more, each a microsecond of test time (then some, so that
// batches end). 0 or -EPROTO with f->why.
int fixture_run(struct fixture *f);
// Pushes a record with a reply, runs, and takes the reply: its CUresult; -1000 if none came.
int32_t fixture_call(struct fixture *f, uint16_t opcode, const void *fields, uint32_t bytes, const void *tail,
		     uint32_t tail_bytes, void *ret, uint32_t ret_bytes);
int32_t fixture_activate(struct fixture *f);
// A function of a module, both under these handles. 0 or the CUresult.
int32_t fixture_function(struct fixture *f, uint64_t module, uint64_t function);
uint64_t fixture_alloc(struct fixture *f, uint64_t size); // 0: refused
uint32_t fixture_deferred(struct fixture *f);		  // takes it

#define PUSH(f, opcode, fields) fixture_push(f, opcode, REPLY_NONE, fields, sizeof(*(fields)), NULL, 0)

// ---- a backend stepped by hand ----

struct fake {
	bool async;	      // work stays queued until fake_step
	int error;	      // what error() answers
	int refuse_map;	      // result of mem_map, physical_map and physical_access from now on
	uint64_t granularity; // default 2 MiB
	uint64_t physical;    // bytes that physical_create made
	uint64_t shown;	      // bytes that physical_map showed
	uint64_t capacity;    // bytes that mem_map and physical_create have, less what is parked; 0: no end
	int refuse_park;      // the mem_park or physical_park after so many fails; 0: none
	uint64_t parked;      // bytes
	uint64_t mapped, map_calls, launches, copies, n_queued;
	uint64_t follows;		// events that stand for a record of another, not destroyed yet
	struct backend_launch clusters; // the last question; its first attribute is kept apart
	uint32_t clusters_attribute[18];
	enum cluster_question clusters_what;
	uint64_t clusters_asked, tensor_maps;
	struct record_tensor_map tensor_map; // the last one
	_Atomic uint64_t word;		     // what waits for words in memory see, all of them
	uint64_t words;			     // operations on words
};
extern struct fake fake;

const struct backend_ops *fake_backend(void); // resets fake
// Executes what is queued and not behind a wait that does not hold; at most n of it. Returns how many.
unsigned fake_step(unsigned n);

#endif
