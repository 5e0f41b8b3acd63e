// SPDX-License-Identifier: Apache-2.0
// fork and exec of executors and the sensor; see the header. Runs in the mediator's loop; between fork and
// exec only async-signal-safe calls.
#include "mediator/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

#define LINK_FD 3

enum spawn_layout spawn_layout_for(const char *backend)
{
	return strcmp(backend, "cpu") == 0 ? SPAWN_USUAL : SPAWN_COMPACT;
}

static struct rlimit files_at_start;
static bool files_known;

void spawn_init(void)
{
	// A daemon may be started without stdio; nothing else may get those numbers.
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			_exit(1);
	}
	files_known = getrlimit(RLIMIT_NOFILE, &files_at_start) == 0;
}

void spawn_restore_limits(void)
{
	if (files_known)
		setrlimit(RLIMIT_NOFILE, &files_at_start);
}

static void child_fail(const char *what)
{
	const char *why = strerrordesc_np(errno);
	const char *const parts[] = { "cannot start the program: ", what, ": ", why ? why : "?", "\n" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		(void)!write(STDERR_FILENO, parts[i], strlen(parts[i]));
	_exit(127);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL); // fails for SIGKILL and the like, as it should
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

// stdio, link and nothing else. The sources are above 2 (spawn_init), so no step overwrites one that is still
// needed, and none needs a fd more than there are: the mediator may be out of them.
static int place_fds(int null_fd, int output_fd, int link_fd)
{
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(output_fd, STDOUT_FILENO) < 0 ||
	    dup2(output_fd, STDERR_FILENO) < 0)
		return -1;
	if (link_fd == LINK_FD ? fcntl(link_fd, F_SETFD, 0) < 0 : dup2(link_fd, LINK_FD) < 0)
		return -1;
	return (int)syscall(SYS_close_range, LINK_FD + 1u, ~0u, 0u);
}

static void run_child(const char *const *argv, enum spawn_layout layout, pid_t parent, int null_fd,
		      int output_fd, int link_fd)
{
	int persona;

	if (place_fds(null_fd, output_fd, link_fd) < 0)
		child_fail("file descriptors");
	reset_signals();
	setpgid(0, 0);
	if (!(layout & SPAWN_OUTLIVES_US) && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		child_fail("PR_SET_PDEATHSIG");
	if (!(layout & SPAWN_OUTLIVES_US) && getppid() != parent) // it died before it could be watched
		_exit(127);
	if ((layout & ~SPAWN_OUTLIVES_US) == SPAWN_COMPACT) {
		persona = personality(0xffffffff);
		if (persona < 0 || personality((unsigned long)persona | ADDR_COMPAT_LAYOUT) < 0)
			child_fail("personality");
	}
	spawn_restore_limits();
	execv(argv[0], (char *const *)argv);
	child_fail(argv[0]);
}

int spawn_program(const char *const *argv, enum spawn_layout layout, struct spawned *ret)
{
	cleanup_fd int null_fd = -1, pidfd = -1;
	cleanup_fd int pipe_r = -1, pipe_w = -1, link_ours = -1, link_theirs = -1;
	int pair[2];
	pid_t parent = getpid(), pid;

	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	pipe_r = pair[0];
	pipe_w = pair[1];
	if (fcntl(pipe_r, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	link_ours = pair[0];
	link_theirs = pair[1];
	if (fcntl(link_ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_child(argv, layout, parent, null_fd, pipe_w, link_theirs);
	// Nobody reaps our child before we do, so its number is still its own.
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		int saved = errno;

		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -saved;
	}
	ret->pid = pid;
	ret->pidfd = take_fd(&pidfd);
	ret->link_fd = take_fd(&link_ours);
	ret->output_fd = take_fd(&pipe_r);
	return 0;
}
