// SPDX-License-Identifier: Apache-2.0
// systemctl for the stub of one VM. Where there is no systemd somebody else has to start stubs: then this
// only waits for the socket. It is looked at and not connected to, since a stub takes who connects for its
// monitor.
#include "admin/cloudstack/stub_unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define LOOK_EVERY_NS  (20 * NSEC_PER_MSEC)
#define LONGEST_STOP_S 10

static bool is_there(const char *socket)
{
	struct stat st;

	return stat(socket, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void sleep_a_little(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = LOOK_EVERY_NS }, NULL);
}

// Its words would get into the domain's XML, since the agent reads both of our outputs.
static int spawn_quietly(pid_t *ret_pid, char *const argv[])
{
	posix_spawn_file_actions_t quiet;
	int r;

	posix_spawn_file_actions_init(&quiet);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
	r = posix_spawnp(ret_pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	return -r;
}

// The exit status, -ENOENT: there is no systemctl, -ETIMEDOUT, or another -errno.
static int systemctl(const char *verb, const char *vm, uint64_t until_ns)
{
	cleanup_free char *unit = text_print("vgpu-stub@%s.service", vm);
	char *const argv[] = { (char *)"systemctl", (char *)verb, unit, NULL };
	int status, r;
	pid_t pid, ended;

	r = spawn_quietly(&pid, argv);
	if (r < 0)
		return r;
	while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && clock_now_ns() < until_ns)
		sleep_a_little();
	if (ended == 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return -ETIMEDOUT;
	}
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

bool stub_unit_start(const char *vm, const char *socket, uint64_t until_ns, char **ret_why)
{
	int r = is_there(socket) ? 0 : systemctl("start", vm, until_ns);

	*ret_why = NULL;
	if (r != 0 && r != -ENOENT) {
		*ret_why = r > 0 ? text_print("systemctl start vgpu-stub@%s failed: systemctl status "
					      "vgpu-stub@%s says why",
					      vm, vm)
				 : text_print("systemctl start vgpu-stub@%s: %s", vm, strerror(-r));
		return false;
	}
	while (!is_there(socket) && clock_now_ns() < until_ns)
		sleep_a_little();
	if (!is_there(socket))
		*ret_why = text_print("the stub of the VM is not there: no socket %s", socket);
	return !*ret_why;
}

void stub_unit_stop(const char *vm, const char *socket)
{
	if (is_there(socket))
		systemctl("stop", vm, clock_now_ns() + LONGEST_STOP_S * NSEC_PER_SEC);
}
