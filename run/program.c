// SPDX-License-Identifier: Apache-2.0
// Starting programs for vgpu-run and vgpu-demo; see the header.
#include "run/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "protocol/host/link.h"

// Puts directories in front of a list of them. An empty element would mean the current directory.
static int put_in_front(const char *variable, const char *directories)
{
	const char *old = getenv(variable);
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s%s%s", directories, old && old[0] ? ":" : "", old ? old : "") < 0)
		return -1;
	return setenv(variable, path, 1);
}

static int set_environment(const struct program_paths *paths)
{
	if (put_in_front("LD_LIBRARY_PATH", paths->libraries) < 0 ||
	    (paths->tools && put_in_front("PATH", paths->tools) < 0))
		return -1;
	return setenv(LINK_SOCKET_ENV, paths->socket, 1);
}

static void run_child(char *const *argv, const struct program_paths *paths, int output_fd)
{
	sigset_t none;
	int saved;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (output_fd >= 0)
		dup2(output_fd, STDOUT_FILENO);
	if (set_environment(paths) < 0)
		_exit(126);
	execvp(argv[0], argv);
	saved = errno;
	dprintf(STDERR_FILENO, "vgpu: %s: %s\n", argv[0], strerror(saved));
	_exit(saved == ENOENT ? 127 : 126);
}

int program_start(struct program *p, char *const *argv, const struct program_paths *paths, bool capture)
{
	cleanup_fd int read_end = -1, write_end = -1;
	int ends[2];
	pid_t pid;

	if (capture) {
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		read_end = ends[0];
		write_end = ends[1];
	}
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_child(argv, paths, write_end);
	p->pid = pid;
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->pidfd < 0) {
		int saved = errno;

		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -saved;
	}
	p->output_fd = take_fd(&read_end);
	return 0;
}

int program_finish(struct program *p)
{
	int status = 0;

	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	p->pid = 0;
	close_fd(&p->pidfd);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
