// SPDX-License-Identifier: Apache-2.0
// vgpu-executor: the process that owns one guest process's GPU context. Started by the mediator with the host
// link as an inherited fd; takes one ASSIGN, serves that channel, ends when the link closes.
#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/beside.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "executor/assign.h"
#include "executor/executor.h"
#include "executor/loop.h"
#include "executor/sandbox.h"

enum exit_code { EXIT_LINK_CLOSED = 0, EXIT_START_FAILED = 1, EXIT_CHANNEL_BROKEN = 2 };

struct options {
	const char *backend, *modules;
	int link;
	bool no_sandbox, sandbox_log;
};

static struct executor executor; // too large for a stack
static struct loop loop;

static int usage(void)
{
	fputs("usage: vgpu-executor --backend NAME --link-fd N [--modules DIR] [--log LEVEL]"
	      " [--no-sandbox | --sandbox-log]\n",
	      stderr);
	return -EINVAL;
}

static bool is_backend_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	return n && n < 16 && !name[n];
}

static int parse_fd(const char *text, int *ret)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 3 || n > 1 << 20)
		return -EINVAL;
	*ret = (int)n;
	return 0;
}

static int parse_options(int argc, char **argv, struct options *ret, enum log_level *ret_level)
{
	static const struct option longs[] = {
		{ "backend", required_argument, NULL, 'b' },
		{ "modules", required_argument, NULL, 'm' },
		{ "link-fd", required_argument, NULL, 'f' },
		{ "log", required_argument, NULL, 'l' },
		{ "no-sandbox", no_argument, NULL, 'n' },
		{ "sandbox-log", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*ret = (struct options){ .link = -1 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'b': ret->backend = optarg; break;
		case 'm': ret->modules = optarg; break;
		case 'n': ret->no_sandbox = true; break;
		case 's': ret->sandbox_log = true; break;
		case 'f':
			if (parse_fd(optarg, &ret->link) < 0)
				return usage();
			break;
		case 'l':
			if (log_level_from_name(optarg, ret_level) < 0)
				return usage();
			break;
		default: return usage();
		}
	}
	if (optind != argc || !ret->backend || ret->link < 0 || !is_backend_name(ret->backend))
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

// 0; -ENOLINK: the mediator closed the link instead of assigning; else why.
static int receive_assign(int link, struct link_assign *ret, int fds[SEQPACKET_MAX_FDS], char *why,
			  size_t why_bytes)
{
	char packet[LINK_MAX_PACKET];
	unsigned n_fds;
	const char *text = NULL;
	int n = seqpacket_recv(link, packet, sizeof(packet), fds, &n_fds, 0);

	if (!n)
		return -ENOLINK;
	if (n < 0) {
		snprintf(why, why_bytes, "receiving ASSIGN: %s", strerror(-n));
		return n;
	}
	n = assign_parse(packet, (size_t)n, n_fds, ret, &text);
	if (n < 0)
		snprintf(why, why_bytes, "ASSIGN: %s", text);
	return n;
}

// The backend's file: in the directory that was named, or as installed, or as built.
static int find_module(const struct options *o, char *ret, size_t n)
{
	char installed[160], built[128];
	const char *places[] = { installed, built, NULL };

	if (o->modules)
		return snprintf(ret, n, "%s/vgpu-backend-%s.so", o->modules, o->backend) < (int)n
			   ? 0
			   : -ENAMETOOLONG;
	snprintf(installed, sizeof(installed), "../../" VGPU_LIBDIR "/vgpu/vgpu-backend-%s.so", o->backend);
	snprintf(built, sizeof(built), "backends/%s/vgpu-backend-%s.so", o->backend, o->backend);
	return beside_find(places, ret, n);
}

static const struct backend_ops *load_backend(const struct options *o, char *why, size_t why_bytes)
{
	backend_entry entry;
	char path[4096];
	void *module;

	if (find_module(o, path, sizeof(path)) < 0) {
		snprintf(why, why_bytes, "no module vgpu-backend-%s.so is here", o->backend);
		return NULL;
	}
	module = dlopen(path, RTLD_NOW | RTLD_LOCAL); // stays until the process ends
	entry = module ? (backend_entry)dlsym(module, BACKEND_ENTRY_SYMBOL) : NULL;
	if (!entry) {
		snprintf(why, why_bytes, "%s", dlerror());
		return NULL;
	}
	return entry();
}

static int start(const struct options *o, char *why, size_t why_bytes)
{
	struct sandbox_options cage = { .profile = o->backend,
					.link = o->link,
					.name_refused = o->sandbox_log };
	const struct backend_ops *ops;
	int fds[SEQPACKET_MAX_FDS];
	struct link_assign assign;
	int r = receive_assign(o->link, &assign, fds, why, why_bytes);

	if (r < 0)
		return r;
	log_context("tenant %u channel %llu", assign.tenant_id, (unsigned long long)assign.channel_id);
	ops = load_backend(o, why, why_bytes);
	if (!ops)
		return -ENOENT;
	r = executor_map(&executor, &assign, fds, why, why_bytes);
	if (r < 0)
		return r;
	close_fd(&fds[ASSIGN_CHANNEL]);
	close_fd(&fds[ASSIGN_TURN_PAGE]);
	close_fd(&fds[ASSIGN_TENANT_PAGE]);
	executor.link = o->link;
	r = executor_init(&executor, ops, why, why_bytes);
	if (r < 0)
		return r;
	r = loop_init(&loop, &executor);
	if (r < 0) {
		snprintf(why, why_bytes, "epoll: %s", strerror(-r));
		return r;
	}
	r = o->no_sandbox ? 0 : sandbox_enter(&cage);
	if (r < 0)
		snprintf(why, why_bytes, "sandbox: %s", strerror(-r));
	return r;
}

static enum exit_code serve(int link)
{
	const char *why = NULL;
	// The loop's epoll was made before the sandbox closed that door.
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
