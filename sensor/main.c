// SPDX-License-Identifier: Apache-2.0
// vgpu-sensor: the process that reads the device for the mediator, which opens none. Says what the device is,
// as executors' programs see it (the backend's device_info; no context is made), then reads the card through
// the host's NVML each time it is told to. Sees no byte of a tenant. Ends when the link closes, or at once
// when there is nothing to read.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "executor/backends/load.h"
#include "executor/sandbox.h"
#include "protocol/host/link.h"
#include "sensor/host_nvml.h"
#include "sensor/xid.h"

enum exit_code { EXIT_WELL = 0, EXIT_START_FAILED = 1, EXIT_CARD_LOST = 2 };

struct options {
	const char *backend, *modules;
	unsigned device;
	uint64_t window_offset;
	int link;
	bool no_sandbox, sandbox_log;
};

static int usage(void)
{
	fputs("usage: vgpu-sensor --backend NAME --link-fd N [--device N] [--window-offset BYTES]"
	      " [--modules DIR] [--log LEVEL] [--no-sandbox | --sandbox-log]\n",
	      stderr);
	return -EINVAL;
}

static int parse_number(const char *text, uint64_t most, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end || *ret > most ? -EINVAL : 0;
}

static int parse_options(int argc, char **argv, struct options *ret, enum log_level *ret_level)
{
	static const struct option longs[] = {
		{ "backend", required_argument, NULL, 'b' },
		{ "modules", required_argument, NULL, 'm' },
		{ "link-fd", required_argument, NULL, 'f' },
		{ "device", required_argument, NULL, 'd' },
		{ "window-offset", required_argument, NULL, 'w' },
		{ "log", required_argument, NULL, 'l' },
		{ "no-sandbox", no_argument, NULL, 'n' },
		{ "sandbox-log", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t number = 0;
	int c, r = 0;

	*ret = (struct options){ .link = -1 };
	while (!r && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'b': ret->backend = optarg; break;
		case 'm': ret->modules = optarg; break;
		case 'n': ret->no_sandbox = true; break;
		case 's': ret->sandbox_log = true; break;
		case 'f':
			r = parse_number(optarg, 1 << 20, &number);
			ret->link = (int)number;
			break;
		case 'd':
			r = parse_number(optarg, 63, &number);
			ret->device = (unsigned)number;
			break;
		case 'w': r = parse_number(optarg, VGPU_TIB(8), &ret->window_offset); break;
		case 'l': r = log_level_from_name(optarg, ret_level); break;
		default: r = -EINVAL;
		}
	}
	if (r || optind != argc || !ret->backend || ret->link < 3 || !backend_name_is_good(ret->backend))
		return usage();
	return 0;
}

// ---- what the device is ----

static void backend_log(void *opaque, const char *text)
{
	(void)opaque;
	log_debug("backend: %s", text);
}

static int read_identity(const struct options *o, struct device_identity *ret, char *why, size_t why_bytes)
{
	// Nothing is ever put into the windows: without a context they are numbers.
	const struct backend_env env = {
		.device = o->device,
		.device_window = VGPU_DEVICE_WINDOW_BASE + o->window_offset,
		.device_window_bytes = VGPU_WINDOW_BYTES,
		.log = backend_log,
	};
	const struct backend_ops *ops = backend_load(o->backend, o->modules, why, why_bytes);
	struct reply_device_info info = { 0 };
	char error[LINK_TEXT_BYTES] = "";
	struct backend *b;
	int result;

	if (!ops)
		return -ENOENT;
	result = ops->open(&env, &b, error, sizeof(error));
	if (!result) {
		result = ops->device_info(b, &info);
		ops->close(b);
	}
	if (result) {
		snprintf(why, why_bytes, "backend %s, device %u: CUDA error %d: %.200s", o->backend,
			 o->device, result, error);
		return -ENODEV;
	}
	static_assert(sizeof(ret->attributes) == sizeof(info.attributes) &&
			  sizeof(ret->uuid) == sizeof(info.uuid) && sizeof(ret->name) == sizeof(info.name),
		      "the same facts");
	memcpy(ret->name, info.name, sizeof(ret->name) - 1);
	memcpy(ret->uuid, info.uuid, sizeof(ret->uuid));
	memcpy(ret->attributes, info.attributes, sizeof(ret->attributes));
	ret->total_memory = info.total_memory;
	ret->driver_version = info.driver_version;
	ret->attribute_count =
	    info.attribute_count < DEVICE_ATTRIBUTES ? info.attribute_count : DEVICE_ATTRIBUTES;
	return 0;
}

// ---- readings ----

struct card {
	struct host_nvml nvml;
	struct xid_events xid;
};

static int send_sensed(int link, struct card *card)
{
	struct link_sensed m = { .header = { LINK_MAGIC, LINK_SENSED, 0, sizeof(m), 0 } };

	m.lost = host_nvml_read(&card->nvml, &m.texts, &m.values) < 0;
	m.n_xids = xid_take(&card->xid, m.xid);
	if (seqpacket_send(link, &m, sizeof(m), NULL, 0, 0) < 0)
		return EXIT_WELL;
	return m.lost ? EXIT_CARD_LOST : -1;
}

static enum exit_code serve(int link, struct card *card)
{
	struct link_header m;
	int fds[SEQPACKET_MAX_FDS], done = -1;
	unsigned n_fds;

	while (done < 0) {
		int n = seqpacket_recv(link, &m, sizeof(m), fds, &n_fds, 0);

		if (n <= 0)
			return EXIT_WELL;
		if (n == sizeof(m) && m.type == LINK_SENSE)
			done = send_sensed(link, card);
	}
	// The next one initialises the library anew: after a reset that may find the card again.
	return (enum exit_code)done;
}

// ---- start ----

static int start(const struct options *o, struct link_sensor_ready *ready, struct card *card, char *why,
		 size_t why_bytes)
{
	const struct sandbox_options cage = {
		.profile = o->backend, .link = o->link, .name_refused = o->sandbox_log, .refuse_softly = true
	};
	int r = read_identity(o, &ready->identity, why, why_bytes);

	if (r < 0)
		return r;
	snprintf(ready->backend, sizeof(ready->backend), "%s", o->backend);
	if (strcmp(o->backend, "cuda") == 0) {
		struct device_texts texts;
		struct device_values values;

		// One reading before the sandbox, for what the library opens at its first use. It counts for
		// nothing else: FIXED values are for the first answer.
		ready->readings = host_nvml_open(&card->nvml, &ready->identity, why, why_bytes) == 0;
		if (ready->readings) {
			uint32_t old[LINK_SENSED_XIDS];

			host_nvml_read(&card->nvml, &texts, &values);
			xid_open(&card->xid, &card->nvml);
			xid_take(&card->xid, old);
		} else {
			log_warning("the card cannot be read: %s", why);
		}
		card->nvml.fixed_read = false;
	}
	r = o->no_sandbox ? 0 : sandbox_enter(&cage);
	if (r < 0)
		snprintf(why, why_bytes, "sandbox: %s", strerror(-r));
	return r;
}

int main(int argc, char **argv)
{
	struct link_sensor_ready ready = {
		.header = { LINK_MAGIC, LINK_SENSOR_READY, 0, sizeof(ready), 0 },
	};
	enum log_level level = LOG_INFO;
	char why[LINK_TEXT_BYTES + 256] = "";
	struct card card = { 0 };
	struct options o;
	int r;

	log_init("vgpu-sensor", level);
	if (parse_options(argc, argv, &o, &level) < 0)
		return EXIT_START_FAILED;
	log_init("vgpu-sensor", level);
	r = sandbox_prepare(o.link);
	if (r < 0)
		snprintf(why, sizeof(why), "hardening: %s", strerror(-r));
	else
		r = start(&o, &ready, &card, why, sizeof(why));
	if (r < 0) {
		log_error("%s", why);
		_exit(EXIT_START_FAILED);
	}
	if (seqpacket_send(o.link, &ready, sizeof(ready), NULL, 0, 0) < 0 || !ready.readings)
		_exit(EXIT_WELL);
	_exit(serve(o.link, &card));
}
