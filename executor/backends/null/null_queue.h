// SPDX-License-Identifier: Apache-2.0
// What stands behind a wait in a stream of the null backend. A stream without waits has an empty queue, and
// its work is complete when it is submitted; behind a wait, fences and events are kept in order until it
// passes. Streams do not order one another (no legacy default stream rules): there is no work to order.
#ifndef VGPU_EXECUTOR_BACKENDS_NULL_NULL_QUEUE_H
#define VGPU_EXECUTOR_BACKENDS_NULL_NULL_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct event_word;

struct null_event {
	uint64_t recorded_ns;	    // of the last record that is complete; 0: never
	uint64_t records, complete; // counts
	unsigned references;	    // the handle and each queued step
	bool timed;
	struct event_word *word; // of an event that other executors have too: the counts are there
	uint64_t follows;	 // > 0: stands for that record only
};

struct null_step;

struct null_stream {
	STAILQ_HEAD(, null_step) steps;
	LIST_ENTRY(null_stream) link; // among those with steps
	bool destroyed;		      // goes with its last step
};

LIST_HEAD(null_streams, null_stream); // streams with steps

void null_stream_init(struct null_stream *s);
// The stream is not used any more; what is queued still runs. s is from malloc.
void null_stream_put(struct null_stream *s);
void null_event_put(struct null_event *e);

bool null_event_done(const struct null_event *e); // its last record is complete

// Each does its thing at once if the queue is empty and it may, else behind the others. 0 or
// CUDA_ERROR_OUT_OF_MEMORY.
int null_queue_write(struct null_streams *busy, struct null_stream *s, _Atomic uint64_t *where,
		     uint64_t value);
int null_queue_wait(struct null_streams *busy, struct null_stream *s, _Atomic uint64_t *where,
		    uint64_t value);
int null_queue_record(struct null_streams *busy, struct null_stream *s, struct null_event *e);
int null_queue_wait_event(struct null_streams *busy, struct null_stream *s, struct null_event *e);

// Runs what may run now; forgets what is queued.
void null_queue_step(struct null_streams *busy);
void null_queue_drop(struct null_streams *busy);

#endif
