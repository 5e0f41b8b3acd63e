// SPDX-License-Identifier: Apache-2.0
// The executor's one loop: records in, work out, completions back; never waits for the GPU.
#ifndef VGPU_EXECUTOR_LOOP_H
#define VGPU_EXECUTOR_LOOP_H

#include <stddef.h>
#include <stdint.h>

struct executor;

struct loop {
	struct executor *x;
	int epoll;
	uint64_t active_ns; // when something happened last
	uint64_t record_ns; // when a record was taken last
	unsigned rounds;    // since the fds were looked at
};

// Opens the loop's epoll; has it look at doorbell and link (the loop stays open on an error). 0 or -errno.
int loop_open(struct loop *l);
int loop_init(struct loop *l, struct executor *x);
void loop_done(struct loop *l);

// One round without sleeping: takes some records, sees what is complete, brings turn page and guest up to
// date. 1: something happened, 0: nothing did, -EPROTO: the guest broke its channel (*why). For tests;
// loop_run is this and sleeping.
int loop_round(struct loop *l, uint64_t now_ns, const char **why);

// Runs until the link is closed (0), or the guest broke its channel (-EPROTO, *why), or -errno.
int loop_run(struct loop *l, const char **why);

#endif
