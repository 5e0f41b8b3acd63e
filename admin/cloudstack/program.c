// SPDX-License-Identifier: Apache-2.0
// Runs another program, with a limit of time and of what it prints: CloudStack's discovery script
// for discover, and what doctor and install ask. In vgpu-admin's only thread.
#include "admin/cloudstack/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define LOOK_NS (5 * NSEC_PER_MSEC)

static bool is_among(const char *const *list, const char *variable)
{
	size_t n = strcspn(variable, "=") + 1;

	for (; list && *list; list++) {
		if (strncmp(*list, variable, n) == 0)
			return true;
	}
	return false;
}

// What there is, with what is added in place of the same names; the words are not copied. To be
// freed.
static char **make_environment(const char *const *more)
{
	size_t n = 0, m = 0, made = 0;
	char **all;

	while (environ && environ[n])
		n++;
	while (more && more[m])
		m++;
	all = text_memory(calloc(n + m + 1, sizeof(*all)));
	for (size_t i = 0; i < m; i++)
		all[made++] = (char *)more[i];
	for (size_t i = 0; i < n; i++) {
		if (!is_among(more, environ[i]))
			all[made++] = environ[i];
	}
	return all;
}

// 0 or -errno.
static int start(const struct program *p, int output, pid_t *ret_pid)
{
	cleanup_free char **env = make_environment(p->environ_);
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int r;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	if (p->with_stderr)
		posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
	else
		posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	// What it starts is in its group, and ends with it.
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	r = posix_spawnp(ret_pid, p->argv[0], &files, &attr, p->argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -r;
}

// Until the output's end. Bytes, or -errno.
static ssize_t read_all(int fd, char *to, size_t most, uint64_t end_ns)
{
	uint64_t now;
	size_t n = 0;

	while ((now = clock_now_ns()) < end_ns) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		if (poll(&p, 1, (int)((end_ns - now) / NSEC_PER_MSEC) + 1) <= 0)
			continue;
		got = read(fd, to + n, most - n);
		if (got == 0)
			return (ssize_t)n;
		if (got < 0 && errno != EINTR)
			return -errno;
		n += got > 0 ? (size_t)got : 0;
		if (n == most)
			return -E2BIG;
	}
	return -ETIMEDOUT;
}

// It may go on after it has closed its output. Its exit status or -ETIMEDOUT.
static int wait_for(pid_t pid, uint64_t end_ns)
{
	int status = 0;
	pid_t ended;

	while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && clock_now_ns() < end_ns)
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
	if (ended == 0)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int program_run(const struct program *p, char **ret_output, size_t *ret_bytes)
{
	uint64_t end_ns = clock_now_ns() + p->most_ns;
	cleanup_free char *text = text_memory(malloc(p->most_bytes + 1));
	cleanup_fd int from = -1;
	int ends[2], r;
	ssize_t n;
	pid_t pid;

	*ret_output = NULL;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	from = ends[0];
	r = start(p, ends[1], &pid);
	close(ends[1]);
	if (r < 0)
		return r;
	n = read_all(from, text, p->most_bytes + 1, end_ns);
	r = n < 0 ? (int)n : wait_for(pid, end_ns);
	if (r < 0) {
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	text[n] = 0;
	*ret_bytes = (size_t)n;
	*ret_output = take_ptr(text);
	return r;
}
