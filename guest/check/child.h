// SPDX-License-Identifier: Apache-2.0
// Work that may hang, or die, in a process of its own with a time limit: what other people's libraries do
// when they are loaded, requests that a host does not answer.
#ifndef VGPU_CHECK_CHILD_H
#define VGPU_CHECK_CHILD_H

#include <stdbool.h>
#include <stddef.h>

enum child_end { CHILD_ENDED, CHILD_TIMED_OUT, CHILD_KILLED, CHILD_NOT_STARTED };

struct child {
	void (*work)(int out, void *arg); // in the child; writes its answer to out
	void *arg;
	unsigned limit_s;

	enum child_end end; // all below: what became of it
	int signal;	    // that killed it
	size_t bytes;	    // of its answer
	char answer[8192];
	char said[2048]; // the end of what went to its standard output and error, with a zero behind
};

// Returns when the child has ended, or the time is up and it was killed; one that cannot even be killed (it
// waits in the kernel) is left behind.
void child_run(struct child *c);

#endif
