// SPDX-License-Identifier: Apache-2.0
// vgpu-stub: the virtual GPU of one VM, as its monitor sees it. Command line, start, the loop and its end.
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "protocol/host/link.h"
#include "stub/device.h"
#include "stub/sandbox.h"

// Executors that have not ended by then are the mediator's business.
#define STOP_LIMIT_NS (2 * NSEC_PER_SEC)

enum { KEY_ONCE = 1000, KEY_PCI_ID, KEY_LOG, KEY_SANDBOX, KEY_PERSONALITY, KEY_MODEL, KEY_BAR1 };

struct options {
	const char *socket, *tenant_socket;
	bool once, no_sandbox, sandbox_log;
	enum log_level level;
	uint16_t pci_vendor, pci_device; // 0: the transport's own
	enum identity_choice identity;
	struct nvidia_setup nvidia;
};

static struct stub stub; // too large for a stack

// ---- end ----

static int on_stop_limit(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	log_warning("not all executors ended in time, leaving");
	return sd_event_exit(stub.event, 0);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	struct stub *s = userdata;

	(void)source;
	log_info("SIG%s, stopping", sigabbrev_np((int)si->ssi_signo));
	if (s->stopping)
		return sd_event_exit(s->event, 0);
	s->stopping = true;
	sd_event_add_time(s->event, &s->stop_timer, CLOCK_MONOTONIC,
			  (clock_now_ns() + STOP_LIMIT_NS) / NSEC_PER_USEC, 1000, on_stop_limit, s);
	identity_done(&s->identity);
	server_done(&s->server);
	server_go_on(&s->server);
	return 0;
}

// ---- start ----

static int take_signals(struct stub *s)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	r = sd_event_add_signal(s->event, NULL, SIGTERM, on_signal, s);
	return r < 0 ? r : sd_event_add_signal(s->event, NULL, SIGINT, on_signal, s);
}

static int start(struct stub *s, const struct options *o)
{
	int r = sd_event_default(&s->event);

	if (r < 0)
		return r;
	s->socket_path = o->socket;
	s->tenant_path = o->tenant_socket;
	s->once = o->once;
	s->pci_vendor = o->pci_vendor;
	s->pci_device = o->pci_device;
	server_init(&s->server, &device_server, s, &s->irq);
	s->identity.choice = o->identity;
	s->identity.setup = o->nvidia;
	identity_init(&s->identity);
	host_init(&s->host);
	dma_init(&s->dma);
	irq_init(&s->irq);
	for (unsigned i = 0; i < VGPU_MAX_VM_CHANNELS; i++)
		channel_init(&s->channels[i], s, i);
	device_init(s);
	r = take_signals(s);
	if (r >= 0)
		r = host_start(s);
	if (r < 0)
		return r;
	r = server_start(&s->server, s->event, o->socket);
	if (r >= 0)
		r = identity_start(s);
	if (r < 0)
		log_error("socket %s: %s", o->socket,
			  r == -EADDRINUSE ? "somebody answers there" : strerror(-r));
	return r;
}

static int run(struct stub *s, const struct options *o)
{
	int r = start(s, o);

	if (r >= 0)
		log_info("ready: %s%s%s", o->socket, s->identity.path[0] ? " and " : "", s->identity.path);
	if (r >= 0) {
		sd_notify(0, "READY=1");
		if (!o->no_sandbox)
			r = stub_sandbox_enter(o->sandbox_log);
		if (r < 0)
			log_error("sandbox: %s", strerror(-r));
	}
	if (r >= 0)
		r = sd_event_loop(s->event);
	if (r < 0)
		log_error("%s", strerror(-r));
	identity_done(&s->identity);
	server_done(&s->server);
	host_done(&s->host);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

// ---- command line ----

static const struct argp_option options[] = {
	{ "socket", 's', "PATH", 0, "Listen on PATH for the VM's monitor", 0 },
	{ "tenant-socket", 't', "PATH", 0,
	  "The mediator's socket of the VM's tenant ($VGPU_SOCKET, " LINK_SOCKET_DEFAULT ")", 0 },
	{ "once", KEY_ONCE, NULL, 0, "End when the first monitor goes", 0 },
	{ "pci-id", KEY_PCI_ID, "VENDOR:DEVICE", 0,
	  "Ids on the PCI bus of vgpu's own device, four hexadecimal digits each", 0 },
	{ "personality", KEY_PERSONALITY, "NAME", 0,
	  "custom; or nvidia: also a device with an NVIDIA GPU's identity, on PATH" LINK_IDENTITY_SUFFIX
	  ". Default: as the mediator says of the VM",
	  0 },
	{ "nvidia-model", KEY_MODEL, "NAME", 0, "That device: h100-sxm (default) or h100-pcie", 0 },
	{ "nvidia-bar1", KEY_BAR1, "MIB", 0,
	  "Its framebuffer aperture, a power of two from 64 to 131072 (512)", 0 },
	{ "log", KEY_LOG, "LEVEL", 0, "error, warning, info or debug", 0 },
	{ "sandbox", KEY_SANDBOX, "HOW", 0, "enforce, log or off", 0 },
	{ 0 },
};

// "1234:abcd"; false: anything else, or a vendor that nobody can be (0, ffff).
static bool parse_pci_id(const char *text, struct options *o)
{
	char *end;

	if (strlen(text) != 9 || text[4] != ':' || strspn(text, "0123456789abcdefABCDEF") != 4 ||
	    strspn(text + 5, "0123456789abcdefABCDEF") != 4)
		return false;
	o->pci_vendor = (uint16_t)strtoul(text, &end, 16);
	o->pci_device = (uint16_t)strtoul(text + 5, &end, 16);
	return o->pci_vendor && o->pci_vendor != 0xffff;
}

static bool parse_bar1(const char *text, uint64_t *ret)
{
	char *end;
	unsigned long long mib = strtoull(text, &end, 10);

	if (!text[0] || *end || mib & (mib - 1) || mib < NVIDIA_BAR1_LEAST_BYTES >> 20 ||
	    mib > NVIDIA_BAR1_MOST_BYTES >> 20)
		return false;
	*ret = mib << 20;
	return true;
}

static bool parse_personality(const char *text, enum identity_choice *ret)
{
	*ret = strcmp(text, "nvidia") == 0 ? IDENTITY_ALWAYS : IDENTITY_NEVER;
	return *ret == IDENTITY_ALWAYS || strcmp(text, "custom") == 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's': o->socket = arg; break;
	case 't': o->tenant_socket = arg; break;
	case KEY_ONCE: o->once = true; break;
	case KEY_PCI_ID:
		if (!parse_pci_id(arg, o))
			argp_error(state, "--pci-id is like 1234:abcd");
		break;
	case KEY_PERSONALITY:
		if (!parse_personality(arg, &o->identity))
			argp_error(state, "--personality is custom or nvidia");
		break;
	case KEY_MODEL:
		o->nvidia.model = nvidia_model_find(arg);
		if (!o->nvidia.model)
			argp_error(state, "--nvidia-model is h100-sxm or h100-pcie");
		break;
	case KEY_BAR1:
		if (!parse_bar1(arg, &o->nvidia.bar1_bytes))
			argp_error(state, "--nvidia-bar1 is a power of two from 64 to 131072");
		break;
	case KEY_LOG:
		if (log_level_from_name(arg, &o->level) < 0)
			argp_error(state, "unknown level '%s'", arg);
		break;
	case KEY_SANDBOX:
		o->no_sandbox = strcmp(arg, "off") == 0;
		o->sandbox_log = strcmp(arg, "log") == 0;
		if (!o->no_sandbox && !o->sandbox_log && strcmp(arg, "enforce") != 0)
			argp_error(state, "--sandbox is enforce, log or off");
		break;
	case ARGP_KEY_END:
		if (!o->socket)
			argp_error(state, "--socket is missing");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	.options = options,
	.parser = parse_option,
	.doc = "The virtual GPU of one virtual machine: a PCI device that QEMU attaches with vfio-user-pci.",
};

static void raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

int main(int argc, char **argv)
{
	const char *from_env = getenv(LINK_SOCKET_ENV);
	struct options o = { .level = LOG_INFO,
			     .tenant_socket = from_env && from_env[0] ? from_env : LINK_SOCKET_DEFAULT,
			     .nvidia = { .model = nvidia_model_default(),
					 .bar1_bytes = NVIDIA_BAR1_DEFAULT_BYTES } };

	argp_program_version = "vgpu-stub " VGPU_VERSION;
	argp_parse(&parser, argc, argv, ARGP_NO_ARGS, NULL, &o);
	log_init("vgpu-stub", o.level);
	raise_file_limit();
	_exit(run(&stub, &o)); // nothing is left that an exit handler could want to do, in the sandbox
}
