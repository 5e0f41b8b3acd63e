// SPDX-License-Identifier: Apache-2.0
// vgpu-executor: the process that owns one guest process's GPU context. Started by the mediator with the host
// link as an inherited fd; takes one ASSIGN, serves that channel, ends when the link closes. All that needs
// no tenant comes before ASSIGN, the sandbox too: no byte of a tenant is ever read outside of it.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "executor/assign.h"
#include "executor/backends/load.h"
#include "executor/executor.h"
#include "executor/loop.h"
#include "executor/sandbox.h"

enum exit_code { EXIT_LINK_CLOSED = 0, EXIT_START_FAILED = 1, EXIT_CHANNEL_BROKEN = 2 };

struct options {
	const char *backend, *modules;
	int link;
	unsigned device;	// ordinal on the host
	uint64_t window_offset; // bytes
	bool warm, no_sandbox, sandbox_log;
};

static struct executor executor; // too large for a stack
static struct loop loop;

static int usage(void)
{
	fputs("usage: vgpu-executor --backend NAME --link-fd N [--device N] [--window-offset BYTES]"
	      " [--modules DIR] [--log LEVEL] [--warm] [--no-sandbox | --sandbox-log]\n",
	      stderr);
	return -EINVAL;
}

static int parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end || *text == '-' || *ret < least || *ret > most ? -EINVAL : 0;
}

static int parse_options(int argc, char **argv, struct options *ret, enum log_level *ret_level)
{
	static const struct option longs[] = {
		{ "backend", required_argument, NULL, 'b' },
		{ "modules", required_argument, NULL, 'm' },
		{ "link-fd", required_argument, NULL, 'f' },
		{ "device", required_argument, NULL, 'd' },
		{ "window-offset", required_argument, NULL, 'o' },
		{ "warm", no_argument, NULL, 'w' },
		{ "log", required_argument, NULL, 'l' },
		{ "no-sandbox", no_argument, NULL, 'n' },
		{ "sandbox-log", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t number;
	int c;

	*ret = (struct options){ .link = -1 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'b': ret->backend = optarg; break;
		case 'm': ret->modules = optarg; break;
		case 'n': ret->no_sandbox = true; break;
		case 's': ret->sandbox_log = true; break;
		case 'f':
			if (parse_number(optarg, 3, 1 << 20, &number) < 0)
				return usage();
			ret->link = (int)number;
			break;
		case 'd':
			if (parse_number(optarg, 0, 63, &number) < 0)
				return usage();
			ret->device = (unsigned)number;
			break;
		case 'o':
			if (parse_number(optarg, 0, VGPU_TIB(8), &ret->window_offset) < 0)
				return usage();
			break;
		case 'w': ret->warm = true; break;
		case 'l':
			if (log_level_from_name(optarg, ret_level) < 0)
				return usage();
			break;
		default: return usage();
		}
	}
	if (optind != argc || !ret->backend || ret->link < 0 || !backend_name_is_good(ret->backend))
		return usage();
	return 0;
}

// ---- messages to the mediator ----

static void send_ended(int link, uint16_t type, uint32_t code, const char *text)
{
	struct link_ended m = { .header = { LINK_MAGIC, type, 0, sizeof(m), 0 }, .code = code };

	log_sanitize(m.text, sizeof(m.text), text, strlen(text));
	seqpacket_send(link, &m, sizeof(m), NULL, 0, 0);
}

static int send_ready(int link, const struct executor *x)
{
	struct link_ready m = { .header = { LINK_MAGIC, LINK_READY, 0, sizeof(m), 0 } };
	struct reply_device_info info = { 0 };

	if (x->ops->device_info(x->backend, &info))
		return -EIO;
	log_sanitize(m.backend, sizeof(m.backend), x->ops->name, strlen(x->ops->name));
	log_sanitize(m.device, sizeof(m.device), info.name, strnlen(info.name, sizeof(info.name)));
	m.device_memory = info.total_memory;
	return seqpacket_send(link, &m, sizeof(m), NULL, 0, 0);
}

// ---- start ----

struct assignment {
	union {
		struct link_header header;
		char bytes[LINK_MAX_PACKET];
	} packet;
	size_t bytes;
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	struct link_assign_vm vm; // of process mode: vm.assign alone
};

static bool is_vm(const struct assignment *a)
{
	return a->bytes >= sizeof(a->packet.header) && a->packet.header.type == LINK_ASSIGN_VM;
}

// 0; -ENOLINK: the mediator closed the link instead of assigning; else why.
static int receive_assign(int link, struct assignment *a, char *why, size_t why_bytes)
{
	const char *text = NULL;
	int n = seqpacket_recv(link, &a->packet, sizeof(a->packet), a->fds, &a->n_fds, 0);

	if (!n)
		return -ENOLINK;
	if (n < 0) {
		snprintf(why, why_bytes, "receiving ASSIGN: %s", strerror(-n));
		return n;
	}
	a->bytes = (size_t)n;
	n = is_vm(a) ? assign_parse_vm(&a->packet, a->bytes, a->n_fds, &a->vm, &text)
		     : assign_parse(&a->packet, a->bytes, a->n_fds, &a->vm.assign, &text);
	if (n < 0)
		snprintf(why, why_bytes, "ASSIGN: %s", text);
	return n;
}

// A backend's library may be given a stderr of its own.
static int keep_log(char *why, size_t why_bytes)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), r = -errno;

	if (fd < 0) {
		snprintf(why, why_bytes, "the log: %s", strerror(-r));
		return r;
	}
	log_to(fd);
	return 0;
}

// Maps what came and closes the fds that are not needed any more: of guest memory above all.
static int map(struct assignment *a, char *why, size_t why_bytes)
{
	int r;

	if (!is_vm(a)) {
		r = executor_map(&executor, &a->vm.assign, a->fds, why, why_bytes);
		close_fd(&a->fds[ASSIGN_CHANNEL]);
		close_fd(&a->fds[ASSIGN_TURN_PAGE]);
		return r;
	}
	r = executor_map_vm(&executor, &a->vm, a->fds, a->n_fds, why, why_bytes);
	close_fd(&a->fds[ASSIGN_VM_TURN_PAGE]);
	for (unsigned i = ASSIGN_VM_EXTENTS; i < a->n_fds; i++)
		close_fd(&a->fds[i]);
	return r;
}

// The sandbox allows messages on one more fd than the link: what ASSIGN_VM brings as the memory link gets its
// number. In process mode nothing does; /dev/null keeps the place.
static int keep_place(int link, char *why, size_t why_bytes)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, link + 1);

	if (fd == link + 1)
		return fd;
	snprintf(why, why_bytes, "the memory link's place: %s", fd < 0 ? strerror(errno) : "taken");
	return fd < 0 ? -errno : -EBUSY;
}

static int put_in_place(int *fd, int place, char *why, size_t why_bytes)
{
	int r;

	close(place);
	r = fcntl(*fd, F_DUPFD_CLOEXEC, place);
	if (r != place) {
		snprintf(why, why_bytes, "the memory link: %s", r < 0 ? strerror(errno) : "taken");
		return -EBUSY;
	}
	close_fd(fd);
	*fd = place;
	return 0;
}

// What needs no tenant, up to the sandbox.
static int get_ready(const struct options *o, int place, struct link_warm *warm, char *why, size_t why_bytes)
{
	struct sandbox_options cage = {
		.profile = o->backend, .link = o->link, .memory_link = place, .name_refused = o->sandbox_log
	};
	const struct executor_place where = { .device = o->device,
					      .host_window = VGPU_HOST_WINDOW_BASE + o->window_offset,
					      .device_window = VGPU_DEVICE_WINDOW_BASE + o->window_offset };
	const struct backend_ops *ops = backend_load(o->backend, o->modules, why, why_bytes);
	int r;

	if (!ops)
		return -ENOENT;
	r = executor_reserve(&executor, &where, why, why_bytes);
	if (!r)
		r = executor_open(&executor, ops, why, why_bytes);
	if (!r && o->warm)
		r = executor_prepare(&executor, warm, why, why_bytes);
	if (r < 0)
		return r;
	r = loop_open(&loop);
	if (r < 0) {
		snprintf(why, why_bytes, "epoll: %s", strerror(-r));
		return r;
	}
	r = o->no_sandbox ? 0 : sandbox_enter(&cage);
	if (r < 0)
		snprintf(why, why_bytes, "sandbox: %s", strerror(-r));
	return r;
}

// The tenant comes, or (-ENOLINK) none ever will.
static int take_tenant(const struct options *o, int place, char *why, size_t why_bytes)
{
	struct assignment a;
	int r = receive_assign(o->link, &a, why, why_bytes);

	if (r < 0)
		return r;
	log_context("tenant %u channel %llu", a.vm.assign.tenant_id,
		    (unsigned long long)a.vm.assign.channel_id);
	if (is_vm(&a))
		r = put_in_place(&a.fds[ASSIGN_VM_MEMORY_LINK], place, why, why_bytes);
	if (!r)
		r = map(&a, why, why_bytes);
	if (r < 0)
		return r;
	executor.link = o->link;
	r = executor_init(&executor, why, why_bytes);
	if (r < 0)
		return r;
	r = loop_init(&loop, &executor);
	if (r < 0)
		snprintf(why, why_bytes, "epoll: %s", strerror(-r));
	return r;
}

static int start(const struct options *o, char *why, size_t why_bytes)
{
	struct link_warm warm = { .header = { LINK_MAGIC, LINK_WARM, 0, sizeof(warm), 0 } };
	int place = keep_place(o->link, why, why_bytes);
	int r = place < 0 ? place : keep_log(why, why_bytes);

	if (r < 0)
		return r;
	r = get_ready(o, place, &warm, why, why_bytes);
	if (r < 0)
		return r;
	if (o->warm && seqpacket_send(o->link, &warm, sizeof(warm), NULL, 0, 0) < 0)
		return -ENOLINK;
	return take_tenant(o, place, why, why_bytes);
}

static enum exit_code serve(int link)
{
	const char *why = NULL;
	int r = send_ready(link, &executor);

	if (r < 0)
		return EXIT_LINK_CLOSED;
	r = loop_run(&loop, &why);
	if (r >= 0)
		return EXIT_LINK_CLOSED;
	log_warning("channel ended: %s", why ? why : strerror(-r));
	send_ended(link, LINK_ENDED, r == -EPROTO ? LINK_E_BAD_RECORD : LINK_E_INTERNAL,
		   why ? why : strerror(-r));
	return EXIT_CHANNEL_BROKEN;
}

int main(int argc, char **argv)
{
	enum log_level level = LOG_INFO;
	char why[LINK_TEXT_BYTES] = "";
	struct options options;
	int r;

	log_init("vgpu-executor", level);
	if (parse_options(argc, argv, &options, &level) < 0)
		return EXIT_START_FAILED;
	log_init("vgpu-executor", level);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); // naps are microseconds
	r = sandbox_prepare(options.link);
	if (r < 0)
		snprintf(why, sizeof(why), "hardening: %s", strerror(-r));
	else
		r = start(&options, why, sizeof(why));
	if (r == -ENOLINK)
		_exit(EXIT_LINK_CLOSED);
	if (r < 0) {
		log_error("%s", why);
		send_ended(options.link, LINK_FAILED, LINK_E_BACKEND, why);
		_exit(EXIT_START_FAILED);
	}
	// No destructors: the kernel frees everything at once, and a driver's would wait for work of a
	// tenant.
	_exit(serve(options.link));
}
