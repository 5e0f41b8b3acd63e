// SPDX-License-Identifier: Apache-2.0
// What the client tells about the device (guest/client/device_state.c), against a mediator that is a thread
// of the test: answers pass through, are kept for a while, shared by threads; refusals, nonsense and hang-ups
// are errors; a mediator that is back is found again; a forked child goes on with a connection of its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/seqpacket.h"
#include "guest/client/device_state.h"
#include "protocol/host/link.h"

enum manner { GOOD, REFUSE_HELLO, BUSY, WRONG_COOKIE, SHORT_STATE, ENDLESS_ROWS, LONG_ROWS, HANG_UP };

#define MAX_LINKS 16
#define ROWS	  60 // two packets

struct host {
	char path[108];
	int listener;
	pthread_t thread;
	_Atomic int manner;
	_Atomic bool quit;
	_Atomic unsigned connections, asked;
};

// ---- the mediator ----

static void answer_rows(int fd, uint32_t cookie, enum manner manner)
{
	struct link_device_rows m = { 0 };

	for (uint32_t at = 0; at < ROWS; at += m.n) {
		m.n = ROWS - at < LINK_DEVICE_ROWS_MAX ? ROWS - at : LINK_DEVICE_ROWS_MAX;
		if (manner == ENDLESS_ROWS)
			m.n = 0;
		m.left = ROWS - at - m.n;
		for (uint32_t i = 0; i < m.n; i++) {
			m.process[i] = (struct device_process){ .pid = 1000 + at + i };
			memset(m.process[i].name, 'x', sizeof(m.process[i].name)); // no end
		}
		m.header = (struct link_header){ LINK_MAGIC, LINK_DEVICE_ROWS, 0,
						 (uint32_t)(offsetof(struct link_device_rows, process) +
							    m.n * sizeof(m.process[0])),
						 cookie };
		if (manner == LONG_ROWS)
			m.n++;
		if (seqpacket_send(fd, &m, m.header.length, NULL, 0, 0) < 0 || manner == ENDLESS_ROWS ||
		    manner == LONG_ROWS)
			return;
	}
}

static void answer_device(struct host *h, int fd, uint32_t cookie)
{
	struct link_device_state m = { .header = { LINK_MAGIC, LINK_DEVICE_STATE, 0, sizeof(m), cookie },
				       .state = { .source = DEVICE_CARD, .age_ns = 7 } };
	struct link_error busy = { .header = { LINK_MAGIC, LINK_ERROR, 0, sizeof(busy), cookie },
				   .code = LINK_E_LIMIT,
				   .text = "too often" };
	enum manner manner = (enum manner)atomic_load(&h->manner);

	memset(m.state.identity.name, 'n', sizeof(m.state.identity.name)); // no end
	device_value_set(&m.state.values, DEVICE_TEMPERATURE, 40 + atomic_fetch_add(&h->asked, 1));
	if (manner == BUSY) {
		seqpacket_send(fd, &busy, sizeof(busy), NULL, 0, 0);
		return;
	}
	if (manner == WRONG_COOKIE)
		m.header.cookie++;
	if (manner == SHORT_STATE)
		m.header.length = 100;
	seqpacket_send(fd, &m, m.header.length, NULL, 0, 0);
	answer_rows(fd, cookie, manner);
}

// Returns false when the connection is to be closed.
static bool serve(struct host *h, int fd)
{
	struct link_hello_ok ok = { .header = { LINK_MAGIC, LINK_HELLO_OK, 0, sizeof(ok), 0 }, .version = 1 };
	struct link_error error = { .header = { LINK_MAGIC, LINK_ERROR, 0, sizeof(error), 0 },
				    .code = LINK_E_LIMIT,
				    .text = "too many connections" };
	union {
		struct link_header header;
		char bytes[LINK_MAX_PACKET];
	} p;
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;

	if (seqpacket_recv(fd, &p, sizeof(p), fds, &n_fds, 0) <= 0)
		return false;
	ok.header.cookie = error.header.cookie = p.header.cookie;
	if (p.header.type == LINK_HELLO && atomic_load(&h->manner) == REFUSE_HELLO)
		seqpacket_send(fd, &error, sizeof(error), NULL, 0, 0);
	else if (p.header.type == LINK_HELLO)
		seqpacket_send(fd, &ok, sizeof(ok), NULL, 0, 0);
	else if (atomic_load(&h->manner) == HANG_UP)
		return false;
	else
		answer_device(h, fd, p.header.cookie);
	return true;
}

static void *host_thread(void *arg)
{
	struct host *h = arg;
	struct pollfd p[MAX_LINKS + 1] = { { .fd = h->listener, .events = POLLIN } };
	unsigned n = 1;

	while (!atomic_load(&h->quit)) {
		poll(p, n, 20);
		for (unsigned i = 1; i < n; i++) {
			if (p[i].revents && !serve(h, p[i].fd)) {
				close(p[i].fd);
				p[i--] = p[--n];
			}
		}
		if (p[0].revents && n <= MAX_LINKS) {
			p[n++] = (struct pollfd){ .fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC),
						  .events = POLLIN };
			atomic_fetch_add(&h->connections, 1);
		}
	}
	for (unsigned i = 0; i < n; i++)
		close(p[i].fd);
	return NULL;
}

static void host_start(struct host *h)
{
	h->listener = seqpacket_listen(h->path, 0600, 8);
	assert_true(h->listener >= 0);
	atomic_store(&h->quit, false);
	assert_int_equal(pthread_create(&h->thread, NULL, host_thread, h), 0);
}

static void host_stop(struct host *h)
{
	atomic_store(&h->quit, true);
	pthread_join(h->thread, NULL);
	unlink(h->path);
}

static struct host host;
static struct vgpu_device *device;

static int setup(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	snprintf(host.path, sizeof(host.path), "/tmp/vgpu-test-device-%d.sock", (int)getpid());
	host_start(&host);
	return vgpu_device_open(host.path, &device);
}

static int teardown(void **state)
{
	(void)state;
	vgpu_device_close(device);
	device = NULL;
	host_stop(&host);
	return 0;
}

static void wait_until_old(void)
{
	struct timespec ts = { .tv_nsec = (long)VGPU_DEVICE_FRESHEST_NS + 5000000 };

	nanosleep(&ts, NULL);
}

// ---- tests ----

static void an_answer_passes_through(void **state)
{
	static struct device_process rows[ROWS];
	struct device_state s;
	uint32_t n = 0;

	(void)state;
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	assert_int_equal(s.source, DEVICE_CARD);
	assert_true(s.age_ns >= 7);
	assert_int_equal(strlen(s.identity.name), sizeof(s.identity.name) - 1);
	assert_true(device_value_known(&s.values, DEVICE_TEMPERATURE));
	assert_int_equal(s.values.value[DEVICE_TEMPERATURE], 40);
	assert_false(device_value_known(&s.values, DEVICE_POWER_DRAW));
	assert_int_equal(vgpu_device_processes(device, UINT64_MAX, rows, 5, &n), 0);
	assert_int_equal(n, ROWS);
	assert_int_equal(rows[4].pid, 1004);
	assert_int_equal(rows[5].pid, 0);
	assert_int_equal(vgpu_device_processes(device, UINT64_MAX, NULL, 0, &n), 0);
	assert_int_equal(vgpu_device_processes(device, UINT64_MAX, rows, ROWS, &n), 0);
	assert_int_equal(rows[ROWS - 1].pid, 1000 + ROWS - 1);
	assert_int_equal(strlen(rows[ROWS - 1].name), DEVICE_PROCESS_NAME - 1);
	assert_int_equal(atomic_load(&host.asked), 1);
}

static void an_old_answer_is_asked_for_again(void **state)
{
	struct device_state s;

	(void)state;
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	wait_until_old();
	assert_int_equal(vgpu_device_state(device, UINT64_MAX, &s), 0);
	assert_int_equal(s.values.value[DEVICE_TEMPERATURE], 40);
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	assert_int_equal(s.values.value[DEVICE_TEMPERATURE], 41);
	assert_int_equal(atomic_load(&host.connections), 1);
}

static void a_refused_hello_is_no_device(void **state)
{
	struct vgpu_device *d = NULL;

	(void)state;
	atomic_store(&host.manner, REFUSE_HELLO);
	assert_int_equal(vgpu_device_open(host.path, &d), -ECONNABORTED);
	assert_int_equal(vgpu_device_open("/nonexistent/socket", &d), -ENOENT);
	assert_null(d);
}

static void too_often_is_busy_and_the_connection_stays(void **state)
{
	struct device_state s;

	(void)state;
	atomic_store(&host.manner, BUSY);
	assert_int_equal(vgpu_device_state(device, 0, &s), -EBUSY);
	atomic_store(&host.manner, GOOD);
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	assert_int_equal(atomic_load(&host.connections), 1);
}

static void nonsense_is_an_error_and_no_answer(void **state)
{
	static const enum manner manners[] = { WRONG_COOKIE, SHORT_STATE, ENDLESS_ROWS, LONG_ROWS };
	struct device_state s = { .source = 99 };
	uint32_t n = 99;

	(void)state;
	for (unsigned i = 0; i < sizeof(manners) / sizeof(manners[0]); i++) {
		atomic_store(&host.manner, manners[i]);
		assert_int_equal(vgpu_device_state(device, UINT64_MAX, &s), -EPROTO);
		assert_int_equal(vgpu_device_processes(device, UINT64_MAX, NULL, 0, &n), -EPROTO);
	}
	assert_int_equal(s.source, 99);
	assert_int_equal(n, 99);
	atomic_store(&host.manner, GOOD);
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
}

static void a_mediator_that_is_back_is_found_again(void **state)
{
	struct device_state s;

	(void)state;
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	host_stop(&host);
	wait_until_old();
	assert_int_equal(vgpu_device_state(device, 0, &s), -ENOENT);
	assert_int_equal(vgpu_device_state(device, UINT64_MAX, &s), -ENOENT);
	host_start(&host);
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	atomic_store(&host.manner, HANG_UP);
	wait_until_old();
	assert_int_equal(vgpu_device_state(device, 0, &s), -ECONNRESET);
}

// The old connection is dead, a new one works: nobody notices.
static void a_restart_between_two_questions_goes_unnoticed(void **state)
{
	struct device_state s;

	(void)state;
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	host_stop(&host);
	host_start(&host);
	wait_until_old();
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	assert_int_equal(atomic_load(&host.connections), 2);
}

static void a_forked_child_has_a_connection_of_its_own(void **state)
{
	struct device_state s;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(vgpu_device_state(device, UINT64_MAX, &s) != 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(atomic_load(&host.connections), 2);
	wait_until_old();
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	assert_int_equal(atomic_load(&host.connections), 2);
}

static void *ask_much(void *arg)
{
	struct device_state s;
	struct device_process rows[ROWS];
	uint32_t n;

	(void)arg;
	for (int i = 0; i < 200; i++) {
		if (vgpu_device_state(device, 0, &s) || vgpu_device_processes(device, 0, rows, ROWS, &n) ||
		    n != ROWS || rows[ROWS - 1].pid != 1000 + ROWS - 1)
			return arg;
	}
	return NULL;
}

static void threads_share_the_connection(void **state)
{
	pthread_t threads[8];
	void *failed;

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_much, &host), 0);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(atomic_load(&host.connections), 1);
	assert_true(atomic_load(&host.asked) < 8 * 400);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_answer_passes_through),
		TEST(an_old_answer_is_asked_for_again),
		TEST(a_refused_hello_is_no_device),
		TEST(too_often_is_busy_and_the_connection_stays),
		TEST(nonsense_is_an_error_and_no_answer),
		TEST(a_mediator_that_is_back_is_found_again),
		TEST(a_restart_between_two_questions_goes_unnoticed),
		TEST(a_forked_child_has_a_connection_of_its_own),
		TEST(threads_share_the_connection),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
