// SPDX-License-Identifier: Apache-2.0
// Finds or starts a mediator; see the header. The private one gets its listening socket from us (as from
// systemd), so it can be connected to before it has started, and ends with us: we hold its pidfd, and it has
// our death signal.
#include "run/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/beside.h"
#include "common/cleanup.h"
#include "common/seqpacket.h"

#define LISTEN_FD    3
#define BACKLOG	     64
#define STOP_WAIT_MS 5000
#define MAX_ARGS     (2 * HOST_MAX_SETTINGS + 16)

// ---- where things lie: build tree, then installed ----

static int find_mediator(char *ret, size_t n)
{
	static const char *const places[] = { "../mediator/vgpu-mediator", "vgpu-mediator",
					      "../sbin/vgpu-mediator", NULL };

	return beside_find(places, ret, n);
}

static int find_executor(char *ret, size_t n)
{
	static const char *const places[] = { "../executor/vgpu-executor", "vgpu-executor",
					      "../libexec/vgpu/vgpu-executor", NULL };

	return beside_find(places, ret, n);
}

int host_demo_program(char *ret, size_t n)
{
	static const char *const places[] = { "../demo/vgpu-demo-workload", "vgpu-demo-workload",
					      "../libexec/vgpu/vgpu-demo-workload", NULL };

	return beside_find(places, ret, n);
}

// The path that beside_find gives is resolved, so the file's name may be another; the directory has it too.
static int find_directory(const char *const *places, char *ret, size_t n)
{
	int r = beside_find(places, ret, n);

	if (r < 0)
		return r;
	*strrchr(ret, '/') = 0;
	return 0;
}

int host_tool_path(char *ret, size_t n)
{
	static const char *const smi[] = { "../guest/smi/nvidia-smi",
					   "../" VGPU_LIBDIR "/vgpu/bin/nvidia-smi",
					   "../lib/vgpu/bin/nvidia-smi", NULL };

	return find_directory(smi, ret, n);
}

int host_library_path(char *ret, size_t n)
{
	static const char *const cuda[] = { "../guest/libcuda/libcuda.so.1",
					    "../" VGPU_LIBDIR "/vgpu/libcuda.so.1",
					    "../lib/vgpu/libcuda.so.1", "../" VGPU_LIBDIR "/libcuda.so.1",
					    NULL };
	static const char *const nvml[] = { "../guest/libnvml/libnvidia-ml.so.1", NULL };
	char other[4096];
	size_t used;
	int r = find_directory(cuda, ret, n);

	// Installed, they lie side by side; a build folder has one directory for each.
	if (r < 0 || find_directory(nvml, other, sizeof(other)) < 0)
		return r;
	used = strlen(ret);
	if (used + 1 + strlen(other) >= n)
		return -ENAMETOOLONG;
	snprintf(ret + used, n - used, ":%s", other);
	return 0;
}

// ---- the private mediator ----

static int make_directory(char *ret, size_t n)
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	// The socket paths in it have to stay below the system's limit.
	if (!base || base[0] != '/' || strlen(base) > 50 || access(base, W_OK | X_OK) < 0)
		base = "/tmp";
	snprintf(ret, n, "%s/vgpu-run-XXXXXX", base);
	return mkdtemp(ret) ? 0 : -errno;
}

static void run_mediator(const char *const *argv, int listen_fd, pid_t parent)
{
	char pid[16];
	sigset_t none;
	int null_fd = open("/dev/null", O_RDONLY);

	setsid(); // the terminal's Ctrl-C is for the program; we end the mediator when that has ended
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	unsetenv("LISTEN_FDNAMES");
	unsetenv("NOTIFY_SOCKET");
	if (listen_fd != LISTEN_FD)
		dup2(listen_fd, LISTEN_FD);
	fcntl(LISTEN_FD, F_SETFD, 0);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO); // the program's output stays its own
	syscall(SYS_close_range, LISTEN_FD + 1u, ~0u, 0u);
	execv(argv[0], (char *const *)argv);
	dprintf(STDERR_FILENO, "vgpu: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int spawn_mediator(struct host *h, const struct host_options *o, int listen_fd)
{
	char mediator[4096], executor[4096], directory[160];
	const char *argv[MAX_ARGS];
	pid_t parent = getpid();
	unsigned n = 0;
	int r = find_mediator(mediator, sizeof(mediator));

	if (r < 0) {
		fprintf(stderr, "vgpu: no vgpu-mediator beside this program\n");
		return r;
	}
	snprintf(directory, sizeof(directory), "paths.run_directory=%s", h->directory);
	argv[n++] = mediator;
	argv[n++] = "--set";
	argv[n++] = directory;
	argv[n++] = "--set";
	argv[n++] = "log.level=warning";
	argv[n++] = "--set";
	argv[n++] = "paths.at_end=remove";
	argv[n++] = "--set";
	argv[n++] = "executor.warm=0"; // there is one program, and it comes now
	argv[n++] = "--set";
	argv[n++] = "adopt.wait=0s"; // nobody would come after it
	if (find_executor(executor, sizeof(executor)) == 0) {
		argv[n++] = "--executor";
		argv[n++] = executor;
	}
	if (o->backend) {
		argv[n++] = "--backend";
		argv[n++] = o->backend;
	}
	for (unsigned i = 0; i < o->n_settings; i++) {
		argv[n++] = "--set";
		argv[n++] = o->settings[i];
	}
	argv[n] = NULL;
	h->pid = fork();
	if (h->pid < 0)
		return -errno;
	if (h->pid == 0)
		run_mediator(argv, listen_fd, parent);
	h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	return h->pidfd < 0 ? -errno : 0;
}

static void stop_mediator(struct host *h)
{
	struct pollfd p = { .fd = h->pidfd, .events = POLLIN };

	if (h->pid > 0) {
		kill(h->pid, SIGTERM);
		if (h->pidfd < 0 || poll(&p, 1, STOP_WAIT_MS) <= 0)
			kill(h->pid, SIGKILL);
		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	h->pid = 0;
	close_fd(&h->pidfd);
	// The mediator removes both, if it came to live: even when we are killed.
	unlink(h->socket);
	rmdir(h->directory);
}

static int start_private(struct host *h, const struct host_options *o)
{
	cleanup_fd int listen_fd = -1;
	int r = make_directory(h->directory, sizeof(h->directory));

	if (r < 0) {
		fprintf(stderr, "vgpu: cannot make a directory for a private mediator: %s\n", strerror(-r));
		h->directory[0] = 0;
		return r;
	}
	h->is_private = true;
	snprintf(h->socket, sizeof(h->socket), "%s/mediator.sock", h->directory);
	listen_fd = seqpacket_listen(h->socket, 0600, BACKLOG);
	if (listen_fd < 0) {
		fprintf(stderr, "vgpu: %s: %s\n", h->socket, strerror(-listen_fd));
		return listen_fd;
	}
	r = spawn_mediator(h, o, listen_fd);
	if (r < 0)
		return r;
	close_fd(&listen_fd); // so that we notice if the mediator does not come to live
	r = link_client_open(&h->link, h->socket);
	if (r < 0)
		fprintf(stderr, "vgpu: the private mediator could not start: %s\n", h->link.error);
	return r;
}

// ---- finding one ----

static bool nobody_there(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR || r == -EACCES;
}

static int explain_backend(const struct host_options *o, const char *socket)
{
	fprintf(stderr,
		"vgpu: a mediator runs at %s, and its backend is its own; --backend %s needs a private one "
		"(--private)\n",
		socket, o->backend);
	return -EINVAL;
}

static int open_any(struct host *h, const struct host_options *o)
{
	const char *path = o->socket ? o->socket : getenv(LINK_SOCKET_ENV);
	int r;

	if (o->private_only)
		return start_private(h, o);
	if (!path || !path[0])
		path = LINK_SOCKET_DEFAULT;
	r = link_client_open(&h->link, path);
	if (r == 0 && o->backend)
		return explain_backend(o, path);
	if (r == 0) {
		snprintf(h->socket, sizeof(h->socket), "%s", path);
		return 0;
	}
	if (!o->socket && nobody_there(r))
		return start_private(h, o);
	fprintf(stderr, "vgpu: mediator at %s: %s%s\n", path, h->link.error,
		nobody_there(r) ? " (without --socket a private one is started)" : "");
	return r;
}

int host_open(struct host *h, const struct host_options *o)
{
	*h = (struct host){ .link = { .fd = -1 }, .pidfd = -1 };
	if (open_any(h, o) == 0)
		return 0;
	host_close(h);
	return -1;
}

void host_close(struct host *h)
{
	link_client_close(&h->link);
	if (h->is_private)
		stop_mediator(h);
}
