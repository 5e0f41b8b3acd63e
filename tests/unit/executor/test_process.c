// SPDX-License-Identifier: Apache-2.0
// The executor as a process, with the null backend and its sandbox: start, refusals to start, calls, sleeping
// and waking, a broken channel, the end of the link. The test is mediator and guest at once.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"
#include "executor/executor.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

struct process {
	pid_t pid;
	int link;
	struct link_assign assign;
	int fds[ASSIGN_FDS];
	uint8_t *channel;
	uint64_t tail;
};

static struct process p;

static void spawn(const char *backend, const char *more, const char *value)
{
	const char *build = getenv("VGPU_BUILD");
	char exe[4096], modules[4096], link[16];
	int pair[2];

	assert_non_null(build);
	snprintf(exe, sizeof(exe), "%s/executor/vgpu-executor", build);
	snprintf(modules, sizeof(modules), "%s/executor/backends/null", build);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (!p.pid) {
		fcntl(pair[1], F_SETFD, 0);
		snprintf(link, sizeof(link), "%d", pair[1]);
		execl(exe, exe, "--backend", backend, "--modules", modules, "--link-fd", link,
		      "--sandbox-log", "--log", "debug", more, value, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	p.link = pair[0];
}

static int setup(void **state)
{
	(void)state;
	memset(&p, 0, sizeof(p));
	fixture_assign(&p.assign);
	fixture_objects(&p.assign, p.fds);
	p.channel = mmap(NULL, p.assign.geometry.channel_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 p.fds[ASSIGN_CHANNEL], 0);
	return p.channel == MAP_FAILED;
}

// Exit status, or 1000 + signal; kills what does not end by itself.
static int end(void)
{
	int status = 0;

	close_fd(&p.link);
	for (unsigned i = 0; i < 500 && waitpid(p.pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	if (kill(p.pid, SIGKILL) == 0)
		waitpid(p.pid, &status, 0);
	p.pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int teardown(void **state)
{
	(void)state;
	if (p.pid)
		end();
	munmap(p.channel, p.assign.geometry.channel_bytes);
	for (unsigned i = 0; i < ASSIGN_FDS; i++)
		close(p.fds[i]);
	return 0;
}

static void assign(void)
{
	assert_int_equal(seqpacket_send(p.link, &p.assign, sizeof(p.assign), p.fds, ASSIGN_FDS, 0), 0);
}

// The next message; its type, 0 at end of stream.
static uint16_t receive(void *ret, size_t room)
{
	struct pollfd poller = { .fd = p.link, .events = POLLIN };
	int fds[SEQPACKET_MAX_FDS], n;
	unsigned n_fds;

	assert_int_equal(poll(&poller, 1, 5000), 1);
	n = seqpacket_recv(p.link, ret, room, fds, &n_fds, 0);
	assert_true(n >= 0);
	assert_int_equal(n_fds, 0);
	return n ? ((struct link_header *)ret)->type : 0;
}

static void start(void)
{
	struct link_ready ready;

	spawn("null", NULL, NULL);
	assign();
	assert_int_equal(receive(&ready, sizeof(ready)), LINK_READY);
	assert_string_equal(ready.backend, "null");
	assert_string_equal(ready.device, "vgpu null device");
}

static struct channel_header *header(void)
{
	return (struct channel_header *)p.channel;
}

static void push(uint16_t opcode, uint16_t reply_slot, uint64_t cookie, const void *fields, uint32_t bytes)
{
	struct record_header h = { opcode, reply_slot, (uint32_t)sizeof(h) + bytes, cookie };
	uint8_t *at = p.channel + p.assign.geometry.ring_offset + p.tail;
	const uint64_t one = 1;

	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), fields, bytes);
	p.tail += (h.length + 15) & ~15u;
	atomic_store(&header()->tail, p.tail);
	if (atomic_exchange(&header()->consumer_asleep, 0))
		assert_int_equal(write(p.fds[ASSIGN_DOORBELL], &one, sizeof(one)), sizeof(one));
}

static int32_t call(uint16_t opcode, const void *fields, uint32_t bytes, void *ret, uint32_t ret_bytes)
{
	static uint64_t cookie;
	struct reply_slot *slot = (void *)(p.channel + p.assign.geometry.reply_offset);
	uint64_t begin = clock_now_ns();

	push(opcode, 0, ++cookie, fields, bytes);
	while (atomic_load(&slot->cookie) != cookie) {
		assert_true(clock_now_ns() - begin < 5 * NSEC_PER_SEC);
		sched_yield();
	}
	if (ret_bytes)
		memcpy(ret, slot->payload, ret_bytes);
	return slot->result;
}

static void open_gate(void)
{
	struct vgpu_turn_page *turn =
	    mmap(NULL, VGPU_TURN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p.fds[ASSIGN_TURN_PAGE], 0);

	assert_ptr_not_equal(turn, MAP_FAILED);
	atomic_store(&turn->deadline_ns, VGPU_NO_DEADLINE);
	atomic_store(&turn->gate, VGPU_GATE_OPEN);
	atomic_store(&turn->turn_id, 1);
	munmap(turn, VGPU_TURN_PAGE_BYTES);
}

static void it_serves_and_ends_with_the_link(void **state)
{
	struct record_ping r = { .value = 0x1234 };
	struct reply_ping reply;

	(void)state;
	start();
	assert_int_equal(call(OPCODE_PING, &r, sizeof(r), &reply, sizeof(reply)), CUDA_SUCCESS);
	assert_int_equal(reply.value, 0x1234);
	assert_int_equal(end(), 0);
}

// Everything that a program does with the null backend passes the sandbox.
static void a_programs_life_passes_the_sandbox(void **state)
{
	struct record_context_activate a = { 0 };
	struct record_mem_alloc m = { .size = 5000000 };
	struct record_host_register h = { .address = 0x123456789000, .size = 4096, .offset = VGPU_MIB(1) };
	struct record_blob_create b = { .blob = handle_make(HANDLE_BLOB, 1, 0), .size = VGPU_MIB(64) };
	struct record_stream_create s = { .stream = handle_make(HANDLE_STREAM, 1, 1) };
	struct record_fence f = { .stream = s.stream, .slot = 3, .value = 9 };
	struct reply_context_activate ra;
	struct reply_mem_alloc rm;
	_Atomic uint64_t *fences = (void *)(p.channel + p.assign.geometry.fence_offset);

	(void)state;
	start();
	open_gate();
	assert_int_equal(call(OPCODE_CONTEXT_ACTIVATE, &a, sizeof(a), &ra, sizeof(ra)), CUDA_SUCCESS);
	assert_int_equal(call(OPCODE_MEM_ALLOC, &m, sizeof(m), &rm, sizeof(rm)), CUDA_SUCCESS);
	assert_in_range(rm.address, VGPU_DEVICE_WINDOW_BASE, VGPU_DEVICE_WINDOW_BASE + VGPU_WINDOW_BYTES);
	assert_int_equal(call(OPCODE_HOST_REGISTER, &h, sizeof(h), NULL, 0), CUDA_SUCCESS);
	assert_int_equal(call(OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0), CUDA_SUCCESS);
	push(OPCODE_STREAM_CREATE, REPLY_NONE, 0, &s, sizeof(s));
	push(OPCODE_FENCE, REPLY_NONE, 0, &f, sizeof(f));
	for (unsigned i = 0; i < 5000 && atomic_load(&fences[3]) != 9; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&fences[3]), 9);
	assert_int_equal(atomic_load(&header()->deferred_error), 0);
	assert_int_equal(end(), 0);
}

static void it_sleeps_when_idle_and_wakes_by_the_doorbell(void **state)
{
	struct record_ping r = { .value = 1 };
	struct reply_ping reply;

	(void)state;
	start();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 5000 && !atomic_load(&header()->consumer_asleep); i++)
			usleep(1000);
		assert_int_equal(atomic_load(&header()->consumer_asleep), 1);
		assert_int_equal(call(OPCODE_PING, &r, sizeof(r), &reply, sizeof(reply)), CUDA_SUCCESS);
	}
	assert_int_equal(end(), 0);
}

// More than may be in flight at once, in one go: the loop must not go to sleep over what it held back.
static void a_full_ring_of_work_is_done(void **state)
{
	struct record_context_activate a = { 0 };
	struct reply_context_activate ra;
	struct record_fence f = { .slot = 3 };
	_Atomic uint64_t *fences = (void *)(p.channel + p.assign.geometry.fence_offset);

	(void)state;
	start();
	open_gate();
	assert_int_equal(call(OPCODE_CONTEXT_ACTIVATE, &a, sizeof(a), &ra, sizeof(ra)), CUDA_SUCCESS);
	kill(p.pid, SIGSTOP);
	for (f.value = 1; f.value <= TRACK_MAX_RECORDS + 100; f.value++)
		push(OPCODE_FENCE, REPLY_NONE, 0, &f, sizeof(f));
	kill(p.pid, SIGCONT);
	for (unsigned i = 0; i < 5000 && atomic_load(&fences[3]) != TRACK_MAX_RECORDS + 100; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&fences[3]), TRACK_MAX_RECORDS + 100);
	assert_int_equal(end(), 0);
}

static void a_bad_record_is_reported(void **state)
{
	struct record_ping r = { .value = 1 };
	struct link_ended ended;

	(void)state;
	start();
	push(OPCODE_PING, 99, 1, &r, sizeof(r));
	assert_int_equal(receive(&ended, sizeof(ended)), LINK_ENDED);
	assert_int_equal(ended.code, LINK_E_BAD_RECORD);
	assert_string_equal(ended.text, "record: reply slot out of range");
	assert_int_equal(receive(&ended, sizeof(ended)), 0);
	assert_int_equal(end(), 2);
}

static void fails_to_start(const char *backend, const char *word)
{
	struct link_ended ended;

	spawn(backend, NULL, NULL);
	assign();
	assert_int_equal(receive(&ended, sizeof(ended)), LINK_FAILED);
	assert_int_equal(ended.code, LINK_E_BACKEND);
	if (!strstr(ended.text, word))
		fail_msg("\"%s\" does not say \"%s\"", ended.text, word);
	assert_int_equal(end(), 1);
}

static void a_device_that_is_not_there(void **state)
{
	struct link_ended ended;

	(void)state;
	spawn("null", "--device", "5");
	assert_int_equal(receive(&ended, sizeof(ended)), LINK_FAILED);
	assert_non_null(strstr(ended.text, "device 0 only"));
	assert_int_equal(end(), 1);
}

static void a_tenant_of_another_device(void **state)
{
	(void)state;
	p.assign.device = 1;
	fails_to_start("null", "another device");
}

static void a_tenant_of_other_windows(void **state)
{
	(void)state;
	p.assign.geometry.host_window_base += VGPU_TIB(4);
	p.assign.geometry.device_window_base += VGPU_TIB(4);
	fails_to_start("null", "other windows");
}

static void take_warm(void)
{
	struct link_warm warm = { 0 };

	assert_int_equal(receive(&warm, sizeof(warm)), LINK_WARM);
	assert_int_equal(warm.header.length, sizeof(warm));
	assert_true(warm.device_memory && warm.device_free <= warm.device_memory);
}

static void a_warm_one_serves_whoever_comes(void **state)
{
	struct record_context_activate a = { 0 };
	struct record_ping r = { .value = 77 };
	struct reply_context_activate ra;
	struct reply_ping reply;
	struct link_ready ready;

	(void)state;
	spawn("null", "--warm", NULL);
	take_warm();
	assign();
	assert_int_equal(receive(&ready, sizeof(ready)), LINK_READY);
	open_gate();
	assert_int_equal(call(OPCODE_PING, &r, sizeof(r), &reply, sizeof(reply)), CUDA_SUCCESS);
	assert_int_equal(reply.value, 77);
	assert_int_equal(call(OPCODE_CONTEXT_ACTIVATE, &a, sizeof(a), &ra, sizeof(ra)), CUDA_SUCCESS);
	assert_int_equal(end(), 0);
}

static void a_warm_one_that_nobody_wants_ends_with_the_link(void **state)
{
	(void)state;
	spawn("null", "--warm", NULL);
	take_warm();
	assert_int_equal(end(), 0);
}

// What is read of the mediator's messages is read inside of the sandbox already.
static void it_is_in_its_sandbox_before_a_tenant_comes(void **state)
{
	char path[64], line[128] = "";
	int mode = -1;
	FILE *f;

	(void)state;
	spawn("null", "--warm", NULL);
	take_warm();
	snprintf(path, sizeof(path), "/proc/%d/status", (int)p.pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	fclose(f);
	assert_int_equal(mode, 2);
	assert_int_equal(end(), 0);
}

static void a_backend_that_is_not_there(void **state)
{
	(void)state;
	fails_to_start("absent", "vgpu-backend-absent.so");
}

static void a_geometry_that_cannot_be(void **state)
{
	(void)state;
	p.assign.geometry.ring_bytes = 65535;
	fails_to_start("null", "ring size");
}

static void memory_that_the_guest_could_cut_off(void **state)
{
	int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)p.assign.geometry.channel_bytes), 0);
	close(p.fds[ASSIGN_CHANNEL]);
	p.fds[ASSIGN_CHANNEL] = fd;
	fails_to_start("null", "mapping the channel: Operation not permitted");
}

static void no_other_fd_survives(void **state)
{
	int stray = open("/dev/null", O_RDONLY); // without CLOEXEC
	char path[64], target[64];
	ssize_t n;

	(void)state;
	start();
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)p.pid, stray);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0 && errno == EACCES)
		skip(); // not dumpable, and the test is not root
	if (n > 0) {
		target[n] = 0;
		assert_string_not_equal(target, "/dev/null");
	}
	close(stray);
	assert_int_equal(end(), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(it_serves_and_ends_with_the_link),
		TEST(a_programs_life_passes_the_sandbox),
		TEST(it_sleeps_when_idle_and_wakes_by_the_doorbell),
		TEST(a_full_ring_of_work_is_done),
		TEST(a_bad_record_is_reported),
		TEST(a_device_that_is_not_there),
		TEST(a_backend_that_is_not_there),
		TEST(a_tenant_of_another_device),
		TEST(a_tenant_of_other_windows),
		TEST(a_warm_one_serves_whoever_comes),
		TEST(a_warm_one_that_nobody_wants_ends_with_the_link),
		TEST(it_is_in_its_sandbox_before_a_tenant_comes),
		TEST(a_geometry_that_cannot_be),
		TEST(memory_that_the_guest_could_cut_off),
		TEST(no_other_fd_survives),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
