// SPDX-License-Identifier: Apache-2.0
// See the header. Reading an eventfd has a per-call "do not wait" (RWF_NOWAIT); writing one has not, so a
// timer's signal cuts a write short that somebody made wait. Runs in the mediator's loop; the signal is
// SIGALRM.
#include "mediator/turn/bell.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define GUARD_NS 1000000

static timer_t guard;

static void on_alarm(int sig)
{
	(void)sig; // being interrupted is all that is wanted
}

int bell_init(void)
{
	struct sigaction sa = { .sa_handler = on_alarm }; // no SA_RESTART
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };

	if (sigaction(SIGALRM, &sa, NULL) < 0 || timer_create(CLOCK_MONOTONIC, &ev, &guard) < 0)
		return -errno;
	return 0;
}

bool bell_ring(int fd)
{
	// Again and again until disarmed: the first could come before write() waits.
	static const struct itimerspec armed = { { 0, GUARD_NS }, { 0, GUARD_NS } };
	static const struct itimerspec disarmed = { { 0, 0 }, { 0, 0 } };
	uint64_t one = 1;
	ssize_t n;

	timer_settime(guard, 0, &armed, NULL);
	n = write(fd, &one, sizeof(one));
	timer_settime(guard, 0, &disarmed, NULL);
	return n == sizeof(one);
}

void bell_clear(int fd)
{
	uint64_t count;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };

	(void)!preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
}
