// SPDX-License-Identifier: Apache-2.0
// executor/sandbox.c: what each profile lets a process do and what kills it. Each case runs in a child.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/sandbox.h"
#include "tests/unit/executor/test.h"

enum { REFUSED = 50, KILLED = 51, NO_CAGE = 52 };

// Runs action in a child inside that profile: 0 it went well, REFUSED it got an error, KILLED.
static int caged(const char *profile, bool (*action)(int link))
{
	int status, pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct sandbox_options o = { .profile = profile, .link = pair[0] };

		if (sandbox_prepare(pair[0]) < 0 || sandbox_enter(&o) < 0)
			_exit(NO_CAGE);
		_exit(action(pair[0]) ? 0 : REFUSED);
	}
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : 1000 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

static bool uses_the_link(int link)
{
	return send(link, "x", 1, MSG_NOSIGNAL) < 0 ? errno == EPIPE : true;
}

static bool sends_a_message(int link)
{
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(link, &m, MSG_NOSIGNAL) == 1 || errno == EPIPE;
}

static bool sends_elsewhere(int link)
{
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(link + 1, &m, MSG_NOSIGNAL) == 1;
}

static bool maps_memory(int link)
{
	(void)link;
	return mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool makes_a_socket(int link)
{
	(void)link;
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool executes(int link)
{
	char *const argv[] = { "/bin/true", NULL };

	(void)link;
	return execv(argv[0], argv) == 0;
}

static bool forks(int link)
{
	(void)link;
	return fork() >= 0;
}

static bool traces(int link)
{
	(void)link;
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool kills_its_parent(int link)
{
	(void)link;
	return kill(getppid(), 0) == 0;
}

static bool opens_for_reading(int link)
{
	(void)link;
	return open("/proc/self/maps", O_RDONLY) >= 0;
}

static bool makes_a_file(int link)
{
	(void)link;
	return open("/tmp/vgpu-sandbox-test", O_RDWR | O_CREAT, 0600) >= 0;
}

static void *thread(void *arg)
{
	return arg;
}

static bool starts_a_thread(int link)
{
	pthread_t t;

	(void)link;
	return pthread_create(&t, NULL, thread, NULL) == 0 && pthread_join(t, NULL) == 0;
}

static bool makes_an_eventfd(int link)
{
	(void)link;
	return eventfd(0, 0) >= 0;
}

static const char *const profiles[] = { "null", "cpu", "cuda" };

static void what_the_loop_needs_is_allowed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(caged(profiles[i], maps_memory), 0);
		assert_int_equal(caged(profiles[i], sends_a_message), 0);
	}
}

static void the_outside_is_closed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(caged(profiles[i], executes), KILLED);
		assert_int_equal(caged(profiles[i], forks), KILLED);
		assert_int_equal(caged(profiles[i], traces), KILLED);
		assert_int_equal(caged(profiles[i], kills_its_parent), KILLED);
		assert_int_equal(caged(profiles[i], sends_elsewhere), KILLED);
		assert_int_equal(caged(profiles[i], uses_the_link), KILLED); // sendto takes addresses
		assert_int_equal(caged(profiles[i], makes_a_socket), REFUSED);
		assert_int_equal(caged(profiles[i], makes_a_file), REFUSED);
	}
}

static void profiles_differ(void **state)
{
	(void)state;
	assert_int_equal(caged("null", opens_for_reading), REFUSED);
	assert_int_equal(caged("cpu", opens_for_reading), REFUSED);
	assert_int_equal(caged("cuda", opens_for_reading), 0);
	assert_int_equal(caged("null", starts_a_thread), KILLED);
	assert_int_equal(caged("cpu", starts_a_thread), 0);
	assert_int_equal(caged("cuda", starts_a_thread), 0);
	assert_int_equal(caged("cpu", makes_an_eventfd), KILLED);
	assert_int_equal(caged("cuda", makes_an_eventfd), 0);
}

static void an_unknown_profile_is_no_cage(void **state)
{
	struct sandbox_options o = { .profile = "other", .link = 3 };

	(void)state;
	assert_int_equal(sandbox_enter(&o), -EINVAL);
	assert_int_equal(caged("other", maps_memory), NO_CAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_loop_needs_is_allowed),
		cmocka_unit_test(the_outside_is_closed),
		cmocka_unit_test(profiles_differ),
		cmocka_unit_test(an_unknown_profile_is_no_cage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
