// SPDX-License-Identifier: Apache-2.0
// The table of all checks and the order they run in, and how a check says its result. Runs in
// vgpu-guest-check.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/check/check.h"

const struct check checks[] = {
	{ "kernel", NULL, CHECK_ON_DEVICE, check_kernel },
	{ "module", "kernel", CHECK_ON_DEVICE, check_module },
	{ "signatures", NULL, CHECK_ON_DEVICE, check_signatures },
	{ "dkms", NULL, CHECK_ON_DEVICE, check_dkms },
	{ "other-kernels", NULL, CHECK_ON_DEVICE, check_other_kernels },
	{ "device", NULL, CHECK_ON_DEVICE, check_device },
	{ "driver", "device", CHECK_ON_DEVICE, check_driver },
	{ "node", "driver", CHECK_ON_DEVICE | CHECK_LIVE, check_node },
	{ "protocol", "node", CHECK_ON_DEVICE | CHECK_LIVE, check_protocol },
	{ "shared-memory", "protocol", CHECK_ON_DEVICE | CHECK_LIVE, check_shared_memory },
	{ "host", "protocol", CHECK_ON_DEVICE | CHECK_LIVE, check_host },
	{ "socket", NULL, CHECK_ON_SOCKET | CHECK_LIVE, check_socket },
	{ "personality", NULL, CHECK_ON_DEVICE, check_personality },
	{ "nouveau", NULL, CHECK_ON_DEVICE, check_nouveau },
	{ "nova", NULL, CHECK_ON_DEVICE, check_nova },
	{ "nvidia-driver", NULL, CHECK_ON_DEVICE, check_nvidia_driver },
	{ "libcuda", NULL, CHECK_LIVE, check_libcuda },
	{ "libnvidia-ml", NULL, CHECK_LIVE, check_libnvml },
	{ "libvgpu", NULL, CHECK_LIVE, check_libvgpu },
	{ "loader-cache", NULL, CHECK_ON_DEVICE, check_loader_cache },
	{ "nvidia-smi", NULL, 0, check_smi },
	{ "versions", NULL, 0, check_versions },
	{ "locked-memory", NULL, CHECK_ON_DEVICE | CHECK_LIVE, check_locked_memory },
	{ "addresses", NULL, CHECK_LIVE, check_addresses },
	{ "memory", "module", CHECK_ON_DEVICE | CHECK_LIVE, check_memory },
	{ "huge-pages", NULL, CHECK_ON_DEVICE, check_huge_pages },
	{ "test-init", NULL, CHECK_LIVE | CHECK_TEST, check_test_init },
	{ "test-device", "test-init", CHECK_LIVE | CHECK_TEST, check_test_device },
	{ "test-memory", "test-device", CHECK_LIVE | CHECK_TEST, check_test_memory },
	{ "test-copy-in", "test-memory", CHECK_LIVE | CHECK_TEST, check_test_copy_in },
	{ "test-kernel", "test-copy-in", CHECK_LIVE | CHECK_TEST, check_test_kernel },
	{ "test-copy-out", "test-kernel", CHECK_LIVE | CHECK_TEST, check_test_copy_out },
	{ "test-nvml", NULL, CHECK_LIVE | CHECK_TEST, check_test_nvml },
};
const unsigned n_checks = sizeof(checks) / sizeof(checks[0]);

static void put(char to[CHECK_TEXT_BYTES], const char *format, va_list ap)
{
	vsnprintf(to, CHECK_TEXT_BYTES, format, ap);
	for (char *p = to; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

void check_say(struct check_result *r, enum check_state state, const char *format, ...)
{
	va_list ap;

	r->state = state;
	va_start(ap, format);
	put(r->text, format, ap);
	va_end(ap);
}

void check_next(struct check_result *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	put(r->next, format, ap);
	va_end(ap);
}

const char *check_state_name(enum check_state state)
{
	static const char *const names[] = { "ok", "warning", "failed", "not checked" };

	return names[state];
}

const char *personality_name(enum personality p)
{
	static const char *const names[] = { NULL, "custom", "nvidia" };

	return names[p];
}

// The check before this one that stands in its way, NULL: none.
static const char *stopped_by(const struct check *c, const struct check_result *results)
{
	for (unsigned i = 0; c->after && &checks[i] < c; i++)
		if (!strcmp(checks[i].name, c->after) &&
		    (results[i].state == CHECK_FAILED || results[i].state == CHECK_NOT_DONE))
			return c->after;
	return NULL;
}

static void run(struct machine *m, const struct check *c, struct check_result *results)
{
	struct check_result *r = &results[c - checks];
	const char *before = stopped_by(c, results);

	*r = (struct check_result){ .state = CHECK_NOT_DONE };
	if ((c->only & CHECK_ON_DEVICE) && m->socket)
		check_say(r, CHECK_NOT_DONE, "a socket is used");
	else if ((c->only & CHECK_ON_SOCKET) && !m->socket)
		check_say(r, CHECK_NOT_DONE, "no socket is used");
	else if ((c->only & CHECK_LIVE) && m->root[0])
		check_say(r, CHECK_NOT_DONE, "only the files below %s are looked at", m->root);
	else if ((c->only & CHECK_TEST) && !m->self_test)
		check_say(r, CHECK_NOT_DONE, "--no-self-test");
	else if (before)
		check_say(r, CHECK_NOT_DONE, "needs '%s'", before);
	else
		c->look(m, r);
}

bool checks_run(struct machine *m, struct check_result *results)
{
	bool ready = true;

	for (unsigned i = 0; i < n_checks; i++) {
		run(m, &checks[i], results);
		ready = ready && results[i].state != CHECK_FAILED;
	}
	return ready;
}
