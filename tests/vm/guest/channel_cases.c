// SPDX-License-Identifier: Apache-2.0
// Channels: opening and what can go wrong with it, the maps, the bell, waiting, the end, children.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vm/guest/guest.h"

#define SECOND 1000000000ull

static int info(void)
{
	struct vgpu_ioc_info i = { 0 };
	int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ask(fd, VGPU_IOC_INFO, &i) == 0);
	CHECK(i.device_version == 1 && i.tenant_id == 42 && i.weight == 300 && i.memory_quota == 1 << 30);
	CHECK(i.status == 5 && (i.pci_bus || i.pci_slot));
	close(fd);
	return 0;
}

static int opened(void)
{
	struct guest g;
	struct vgpu_ioc_channel again = { 0 };

	CHECK(open_mapped("ok", &g) == 0);
	CHECK(g.ok.tenant_id == 42 && g.ok.channel_id == 7 && g.ok.arena_bytes == 8 << 20);
	CHECK(ask(g.fd, VGPU_IOC_CHANNEL, &again) == EBUSY);
	memset(g.channel, 1, g.ok.channel_bytes);
	memset(g.arena, 2, g.ok.arena_bytes);
	close_guest(&g);
	return 0;
}

static int refused(void)
{
	struct guest g;

	CHECK(open_as("refused", &g) == EMFILE);
	close(g.fd);
	CHECK(open_as("nohost", &g) == ENODEV);
	close(g.fd);
	CHECK(open_as("backend", &g) == EIO && g.ok.error == 4);
	prctl(PR_SET_NAME, "ok"); // a file that was refused may try again
	g.ok = (struct vgpu_ioc_channel){ 0 };
	CHECK(ask(g.fd, VGPU_IOC_CHANNEL, &g.ok) == 0);
	close(g.fd);
	return 0;
}

static int garbage(void)
{
	struct guest g;

	CHECK(open_as("sequence", &g) == EIO);
	close(g.fd);
	CHECK(open_as("geometry", &g) == EIO);
	close(g.fd);
	return 0;
}

static int never_answered(void)
{
	int status;
	pid_t child = fork();
	struct guest g;

	if (!child) {
		open_as("never", &g);
		_exit(0);
	}
	usleep(300000);
	CHECK(waitpid(child, &status, WNOHANG) == 0);
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	CHECK(open_as("ok", &g) == 0);
	close(g.fd);
	return 0;
}

static int wrong_requests(void)
{
	struct guest g;
	struct vgpu_ioc_channel dirty = { .reserved = 1 };
	struct vgpu_ioc_wait wait = { .reserved = 1 };
	int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC), prot = PROT_READ | PROT_WRITE;

	CHECK(ask(fd, VGPU_IOC_CHANNEL, &dirty) == EINVAL);
	CHECK(ask(fd, VGPU_IOC_CHANNEL, NULL) == EFAULT);
	CHECK(ask(fd, VGPU_IOC_WAIT, &wait) == ENXIO);
	CHECK(ask(fd, _IO('V', 0x99), NULL) == ENOTTY);
	CHECK(mmap(NULL, 4096, prot, MAP_SHARED, fd, VGPU_MMAP_DOORBELL) == MAP_FAILED && errno == ENXIO);
	close(fd);
	CHECK(open_as("ok", &g) == 0);
	CHECK(ask(g.fd, VGPU_IOC_WAIT, &wait) == EINVAL);
	CHECK(mmap(NULL, 8192, prot, MAP_SHARED, g.fd, VGPU_MMAP_DOORBELL) == MAP_FAILED);
	CHECK(mmap(NULL, 4096, prot, MAP_SHARED, g.fd, VGPU_MMAP_DOORBELL + 4096) == MAP_FAILED);
	CHECK(mmap(NULL, 4096, prot, MAP_SHARED, g.fd, VGPU_MMAP_CHANNEL) == MAP_FAILED);
	CHECK(mmap(NULL, g.ok.channel_bytes + 4096, prot, MAP_SHARED, g.fd, VGPU_MMAP_CHANNEL) == MAP_FAILED);
	CHECK(mmap(NULL, g.ok.channel_bytes, prot, MAP_SHARED, g.fd, 4096) == MAP_FAILED);
	CHECK(mmap(NULL, g.ok.channel_bytes, prot, MAP_PRIVATE, g.fd, VGPU_MMAP_CHANNEL) == MAP_FAILED);
	CHECK(mmap(NULL, g.ok.arena_bytes, prot | PROT_EXEC, MAP_SHARED, g.fd, VGPU_MMAP_ARENA) ==
	      MAP_FAILED);
	close(g.fd);
	return 0;
}

static int bell(void)
{
	struct guest g;
	struct pollfd p;
	uint32_t seen;

	CHECK(open_mapped("ok", &g) == 0);
	p = (struct pollfd){ .fd = g.fd, .events = POLLIN };
	CHECK(wait_word(&g, wake_word(&g), 1000000, NULL) == ETIMEDOUT);
	CHECK(wait_word(&g, wake_word(&g) + 1, SECOND, NULL) == 0);
	CHECK(poll(&p, 1, 0) == 0);
	for (int i = 0; i < 20; i++) {
		seen = wake_word(&g);
		*g.doorbell = 1;
		CHECK(wait_word(&g, seen, 20 * SECOND, NULL) == 0);
		CHECK(wake_word(&g) == seen + 1);
	}
	*g.doorbell = 1;
	CHECK(poll(&p, 1, 20000) == 1 && p.revents == POLLIN);
	CHECK(wait_word(&g, seen, SECOND, NULL) == 0);
	CHECK(poll(&p, 1, 0) == 0);
	close_guest(&g);
	return 0;
}

static void ignore(int signal)
{
	(void)signal;
}

static int interrupted(void)
{
	struct sigaction act = { .sa_handler = ignore };
	struct guest g;

	CHECK(open_mapped("ok", &g) == 0);
	sigaction(SIGALRM, &act, NULL);
	alarm(1);
	CHECK(wait_word(&g, wake_word(&g), UINT64_MAX, NULL) == EINTR);
	close_guest(&g);
	return 0;
}

static int ended(void)
{
	struct pollfd p;
	uint32_t reason = 0;
	struct guest g;
	struct vgpu_ioc_map map = { .address = 0x10000000, .bytes = 4096 };

	CHECK(open_mapped("ended", &g) == 0);
	p = (struct pollfd){ .fd = g.fd, .events = POLLIN };
	*g.doorbell = 1;
	CHECK(wait_word(&g, wake_word(&g), 20 * SECOND, &reason) == ENOLINK && reason == 8);
	CHECK(wait_word(&g, wake_word(&g) + 1, 0, &reason) == ENOLINK);
	CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
	CHECK(ask(g.fd, VGPU_IOC_MAP, &map) == ENOLINK);
	close_guest(&g);
	return 0;
}

// A child has the file, but neither the channel nor the maps.
static int in_child(struct guest *g)
{
	struct vgpu_ioc_wait wait = { .timeout_ns = 1 };
	struct vgpu_ioc_map map = { .address = 0x10000000, .bytes = 4096 };
	unsigned char there;

	CHECK(ask(g->fd, VGPU_IOC_WAIT, &wait) == EPERM);
	CHECK(ask(g->fd, VGPU_IOC_MAP, &map) == EPERM);
	CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, g->fd, VGPU_MMAP_DOORBELL) == MAP_FAILED &&
	      errno == EPERM);
	CHECK(mincore(g->channel, 4096, &there) < 0 && errno == ENOMEM);
	CHECK(mincore(g->arena, 4096, &there) < 0 && errno == ENOMEM);
	CHECK(mincore((void *)g->doorbell, 4096, &there) < 0 && errno == ENOMEM);
	return 0;
}

static int forked(void)
{
	struct guest g;
	uint32_t seen;
	int status;
	pid_t child;

	CHECK(open_mapped("ok", &g) == 0);
	child = fork();
	if (!child)
		_exit(in_child(&g) ? 1 : 0);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	seen = wake_word(&g);
	*g.doorbell = 1;
	CHECK(wait_word(&g, seen, 20 * SECOND, NULL) == 0);
	close_guest(&g);
	return 0;
}

static int all_channels(void)
{
	struct guest g[65];
	int r = 0, n = 0;

	while (n < 65 && !(r = open_as("ok", &g[n])))
		n++;
	CHECK(n == 64 && r == EMFILE);
	for (int i = 0; i <= n; i++)
		close(g[i].fd);
	CHECK(open_as("ok", &g[0]) == 0);
	close(g[0].fd);
	return 0;
}

static int as_another_user(void)
{
	struct guest g[4];
	int r = 0, n = 0;

	CHECK(setuid(1000) == 0);
	while (n < 4 && !(r = open_as("ok", &g[n])))
		n++;
	CHECK(n == 3 && r == EMFILE);
	close(g[n].fd);
	close(g[0].fd);
	CHECK(open_as("ok", &g[0]) == 0); // what it gave back it may have again
	return 0;
}

static int limit_of_a_user(void)
{
	const char *parameter = "/sys/module/vgpu/parameters/user_channels";
	struct guest mine[4];
	int status;
	pid_t child;

	CHECK(write_text(parameter, "0") == EINVAL && write_text(parameter, "65") == EINVAL);
	CHECK(write_text(parameter, "3") == 0 && chmod(VGPU_DEVICE_NODE, 0666) == 0);
	for (int i = 0; i < 4; i++) // root's are not counted, neither as root's nor as the other's
		CHECK(open_as("ok", &mine[i]) == 0);
	child = fork();
	if (!child)
		_exit(as_another_user() ? 1 : 0);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (int i = 0; i < 4; i++)
		close(mine[i].fd);
	CHECK(write_text(parameter, "48") == 0 && chmod(VGPU_DEVICE_NODE, 0660) == 0);
	return 0;
}

static int question(void)
{
	char in[] = "what is it", out[64] = { 0 }, loud[] = "!";
	struct vgpu_ioc_device q = {
		.request = (uintptr_t)in, .request_bytes = 10, .answer = (uintptr_t)out, .room = 64
	};
	int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC);

	CHECK(ask(fd, VGPU_IOC_DEVICE, &q) == 0);
	CHECK(q.answer_bytes == 10 && !memcmp(out, "ti si tahw", 10));
	q.room = 9;
	q.answer_bytes = 0;
	CHECK(ask(fd, VGPU_IOC_DEVICE, &q) == EMSGSIZE && q.answer_bytes == 10);
	q.answer_bytes = 0;
	q.request_bytes = 65537;
	CHECK(ask(fd, VGPU_IOC_DEVICE, &q) == EINVAL);
	q.request = (uintptr_t)loud; // answered with more bytes than there is room
	q.request_bytes = 1;
	CHECK(ask(fd, VGPU_IOC_DEVICE, &q) == EIO);
	close(fd);
	return 0;
}

void channel_cases(void)
{
	run_case("the device tells what it is", info);
	run_case("a channel opens, is mapped, and closes", opened);
	run_case("refusals have their errors", refused);
	run_case("replies with a wrong sequence or geometry are refused", garbage);
	run_case("a process can be killed while the host does not answer", never_answered);
	run_case("malformed requests and maps are refused", wrong_requests);
	run_case("doorbell, bell, wait and poll", bell);
	run_case("a wait ends with a signal", interrupted);
	run_case("a channel that ends says why", ended);
	run_case("a forked child has no channel", forked);
	run_case("as many channels as the device has", all_channels);
	run_case("a user has so many channels and no more", limit_of_a_user);
	run_case("questions about the device", question);
}
