// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in vgpu-guest-check, which has one thread.
#include "guest/check/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define TICK_MS	  10 // between two looks whether it has ended
#define LET_GO_NS (2 * NSEC_PER_SEC)

static _Noreturn void be_child(const struct child *c, int out, int said)
{
	int nothing = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	if (nothing >= 0)
		dup2(nothing, STDIN_FILENO);
	dup2(said, STDOUT_FILENO);
	dup2(said, STDERR_FILENO);
	c->work(out, c->arg);
	_exit(0);
}

// Where not all of it fits the end is kept.
static void keep_said(struct child *c, size_t *used, const char *data, size_t bytes)
{
	size_t room = sizeof(c->said) - 1;

	if (bytes > room) {
		data += bytes - room;
		bytes = room;
	}
	if (*used + bytes > room) {
		size_t drop = *used + bytes - room;

		memmove(c->said, c->said + drop, *used - drop);
		*used -= drop;
	}
	memcpy(c->said + *used, data, bytes);
	*used += bytes;
	c->said[*used] = 0;
}

// Takes what is there; closes *fd at its end. More than an answer's room is dropped.
static void take(struct child *c, int *fd, size_t *said_bytes)
{
	char data[1024];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_fd(fd);
	} else if (said_bytes) {
		keep_said(c, said_bytes, data, (size_t)n);
	} else {
		size_t room = sizeof(c->answer) - c->bytes, bytes = (size_t)n < room ? (size_t)n : room;

		memcpy(c->answer + c->bytes, data, bytes);
		c->bytes += bytes;
	}
}

static void take_ready(struct child *c, int *out, int *said, size_t *said_bytes, int wait_ms)
{
	struct pollfd p[] = { { .fd = *out, .events = POLLIN }, { .fd = *said, .events = POLLIN } };

	if (poll(p, 2, wait_ms) <= 0)
		return;
	if (p[0].revents)
		take(c, out, NULL);
	if (p[1].revents)
		take(c, said, said_bytes);
}

static bool reaped(pid_t pid, int *status, uint64_t until_ns)
{
	for (;;) {
		pid_t r = waitpid(pid, status, WNOHANG);

		if (r == pid)
			return true;
		if ((r < 0 && errno != EINTR) || clock_now_ns() >= until_ns)
			return false;
		usleep(TICK_MS * 1000);
	}
}

static void watch(struct child *c, pid_t pid, int out, int said)
{
	uint64_t until = clock_now_ns() + c->limit_s * NSEC_PER_SEC;
	size_t said_bytes = 0;
	int status = 0;
	bool ended;

	while (!(ended = waitpid(pid, &status, WNOHANG) == pid) && clock_now_ns() < until)
		take_ready(c, &out, &said, &said_bytes, TICK_MS);
	if (!ended)
		kill(-pid, SIGKILL); // whatever it started, too
	// What it wrote before its end.
	for (unsigned i = 0; i < 64; i++)
		take_ready(c, &out, &said, &said_bytes, 0);
	close_fd(&out);
	close_fd(&said);
	c->end = CHILD_ENDED;
	if (!ended) {
		c->end = CHILD_TIMED_OUT;
		reaped(pid, &status, clock_now_ns() + LET_GO_NS);
	} else if (WIFSIGNALED(status)) {
		c->end = CHILD_KILLED;
		c->signal = WTERMSIG(status);
	}
}

void child_run(struct child *c)
{
	int out[2] = { -1, -1 }, said[2] = { -1, -1 };
	pid_t pid = -1;

	c->end = CHILD_NOT_STARTED;
	c->bytes = 0;
	c->said[0] = 0;
	if (!pipe2(out, O_CLOEXEC | O_NONBLOCK) && !pipe2(said, O_CLOEXEC | O_NONBLOCK))
		pid = fork();
	if (!pid)
		be_child(c, out[1], said[1]);
	close_fd(&out[1]);
	close_fd(&said[1]);
	if (pid > 0) {
		setpgid(pid, pid);
		watch(c, pid, out[0], said[0]);
	} else {
		close_fd(&out[0]);
		close_fd(&said[0]);
	}
}
