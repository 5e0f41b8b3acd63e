// SPDX-License-Identifier: Apache-2.0
// Doctor's checks of CloudStack's API, if its configuration is filled in: no VM needs it. In
// vgpu-admin.
#include <errno.h>
#include <string.h>

#include "admin/cloudstack/compare.h"
#include "admin/cloudstack/doctor.h"
#include "admin/cloudstack/host.h"
#include "admin/cloudstack/settings.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define ANSWER_S	10 // somebody waits
#define MOST_DIFFERENCE 60 // s; a request is good for ten minutes
#define NO_API		"CloudStack's API was not reached"

static enum doctor_result look_config(struct doctor *d, struct doctor_finding *f)
{
	const char *said = admin_option(d->call, "config");
	cleanup_free char *path = said ? text_print("%s", said) : host_path(d->root, CONFIG_PATH);
	cleanup_free char *text = host_read("", path, NULL);
	cleanup_free char *wrong = NULL;

	if (!text && errno != ENOENT) {
		doctor_next(f, "run it as root");
		return doctor_say(f, DOCTOR_NOT_CHECKED, "%s: %s", path, strerror(errno));
	}
	if (!text || !settings_are_said(text)) {
		doctor_next(f, "fill in %s for setup, usage, drain and reconcile; VMs do not need it", path);
		return doctor_say(f, DOCTOR_NOT_CHECKED, "CloudStack's API: %s is not filled in", path);
	}
	explicit_bzero(text, strlen(text));
	wrong = config_read(&d->cloud.config, path);
	if (wrong) {
		doctor_next(f, "mend it; docs/cloudstack.md says what stands in it");
		return doctor_say(f, DOCTOR_FAILED, "%s", wrong);
	}
	d->cloud.config.tries = 1;
	d->cloud.config.timeout_s = ANSWER_S;
	d->cloud.api = api_new(&d->cloud.config);
	return doctor_say(f, DOCTOR_OK, "%s is filled in, and its owner's alone", path);
}

// What was complained of, as a failure.
struct overheard {
	FILE *out;
	char *text;
	size_t n;
};

static void listen_begin(struct overheard *o)
{
	*o = (struct overheard){ 0 };
	o->out = text_memory(open_memstream(&o->text, &o->n));
	admin_complain_to(o->out);
}

// To be freed.
static char *listen_end(struct overheard *o)
{
	admin_complain_to(NULL);
	if (fclose(o->out) != 0)
		text_memory(NULL);
	while (o->n && o->text[o->n - 1] == '\n')
		o->text[--o->n] = 0;
	return o->text;
}

static enum doctor_result look_api(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *said = NULL;
	struct overheard o;
	json_t *hosts = NULL;
	enum admin_exit e;
	size_t n;

	if (!d->cloud.api)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "there are no keys to ask with");
	listen_begin(&o);
	e = cloudstack_hosts(&d->cloud, &hosts);
	said = listen_end(&o);
	if (e != ADMIN_OK) {
		api_free(take_ptr(d->cloud.api));
		return doctor_say_lines(f, DOCTOR_FAILED, said, "see url in the configuration");
	}
	n = json_array_size(hosts);
	json_decref(hosts);
	return doctor_say(f, DOCTOR_OK, "%s answers, with %zu KVM hosts", d->cloud.config.url, n);
}

static enum doctor_result look_clock(struct doctor *d, struct doctor_finding *f)
{
	long long difference;

	if (!d->cloud.api)
		return doctor_say(f, DOCTOR_NOT_CHECKED, NO_API);
	if (!api_clock(d->cloud.api, &difference))
		return doctor_say(f, DOCTOR_NOT_CHECKED, "CloudStack's answers do not say the time");
	if (difference >= -MOST_DIFFERENCE && difference <= MOST_DIFFERENCE)
		return doctor_say(f, DOCTOR_OK, "the clocks differ by %lld s", difference);
	doctor_next(f, "timedatectl set-ntp true, here and on the management server");
	return doctor_say(f, DOCTOR_WARNING,
			  "CloudStack's clock differs from ours by %lld s; at 600 it refuses", difference);
}

static enum doctor_result look_host(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *said = NULL;
	struct overheard o;
	enum admin_exit e;
	const char *state;

	if (!d->cloud.api)
		return doctor_say(f, DOCTOR_NOT_CHECKED, NO_API);
	listen_begin(&o);
	e = cloudstack_host(&d->cloud, NULL, &d->host);
	said = listen_end(&o);
	if (e != ADMIN_OK)
		return doctor_say_lines(f, DOCTOR_FAILED, said, "set host in the configuration");
	state = cloudstack_text(d->host, "state");
	if (strcmp(state, "Up") == 0)
		return doctor_say(f, DOCTOR_OK, "this host is %s, Up", cloudstack_text(d->host, "name"));
	doctor_next(f, "systemctl status cloudstack-agent");
	return doctor_say(f, DOCTOR_FAILED, "CloudStack has this host (%s) as %s",
			  cloudstack_text(d->host, "name"), state);
}

static enum doctor_result look_devices(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *said = NULL;
	struct overheard o;
	json_t *devices = NULL, *rows;
	enum admin_exit e;
	size_t differ, n;

	if (!d->host || !d->slots)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "%s", d->host ? "no mediator answers" : NO_API);
	listen_begin(&o);
	e = cloudstack_devices(&d->cloud, d->host, &devices);
	said = listen_end(&o);
	if (e != ADMIN_OK)
		return doctor_say_lines(f, DOCTOR_FAILED, said, "see docs/cloudstack.md, Role");
	rows = compare_rows(devices, d->slots);
	differ = compare_differences(rows);
	n = json_array_size(rows);
	json_decref(rows);
	json_decref(devices);
	if (!differ)
		return doctor_say(f, DOCTOR_OK, "CloudStack and the mediator agree about %zu vGPUs", n);
	doctor_next(f, "vgpu-admin cloudstack reconcile");
	return doctor_say(f, DOCTOR_FAILED, "CloudStack and the mediator differ about %zu of %zu vGPUs",
			  differ, n);
}

static enum doctor_result look_timer(struct doctor *d, struct doctor_finding *f)
{
	// In a tree nothing runs.
	const char *verb = d->root[0] ? "is-enabled" : "is-active";
	int r;

	if (!d->cloud.config.url)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "it is of use only with keys");
	if (!host_has_unit(d->root, INSTALL_TIMER)) {
		doctor_next(f, "install the package vgpu-cloudstack, then vgpu-admin cloudstack install");
		return doctor_say(f, DOCTOR_WARNING,
				  INSTALL_TIMER " is not there: nobody looks for differences");
	}
	r = host_systemctl(d->root, verb, NULL, INSTALL_TIMER);
	if (r < 0)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "systemctl: %s", strerror(-r));
	if (r == 0)
		return doctor_say(f, DOCTOR_OK, INSTALL_TIMER " is on");
	doctor_next(f, "systemctl enable --now " INSTALL_TIMER);
	return doctor_say(f, DOCTOR_FAILED, INSTALL_TIMER " is not on");
}

const struct doctor_check doctor_api_checks[] = {
	{ "configuration", true, look_config },
	{ "api", true, look_api },
	{ "clock", true, look_clock },
	{ "host", true, look_host },
	{ "devices", true, look_devices },
	{ "timer", true, look_timer },
	{ 0 },
};
