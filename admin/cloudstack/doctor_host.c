// SPDX-License-Identifier: Apache-2.0
// Doctor's checks of vgpu itself: mediator, card, vGPUs, programs, units, memory. In vgpu-admin.
#include <errno.h>
#include <string.h>

#include "admin/cloudstack/doctor.h"
#include "admin/cloudstack/doctor_rules.h"
#include "admin/cloudstack/host.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define PATIENCE_S    4
#define FEW_KB	      (2ll << 20)
#define NO_MEDIATOR   "no mediator answers"
#define STUB_PROGRAM  "/usr/bin/vgpu-stub"
#define MEDIATOR_UNIT "vgpu-mediator.service"

// The answer, to be given back; NULL with *ret_why, to be freed.
static json_t *ask(struct doctor *d, const char *path, char **ret_why)
{
	struct http *http = d->call->http;
	struct http_answer a = { 0 };
	json_t *answer = NULL;

	http_set_patience(http, PATIENCE_S);
	if (http_ask(http, "GET", path, NULL, &a) < 0)
		*ret_why = text_print("%s", http_failure(http));
	else if (a.status == 200)
		answer = json_loadb(a.body ? a.body : "", a.len, 0, NULL);
	if (!answer && !*ret_why)
		*ret_why = text_print("%s%s: status %ld", http_place(http), path, a.status);
	http_answer_done(&a);
	return answer;
}

static json_t *ask_list(struct doctor *d, const char *path, const char *field, char **ret_why)
{
	json_t *answer = ask(d, path, ret_why);
	json_t *list = json_incref(json_object_get(answer, field));

	json_decref(answer);
	if (json_is_array(list) || *ret_why)
		return list;
	json_decref(list);
	*ret_why = text_print("%s: the answer to %s has no %s", http_place(d->call->http), path, field);
	return NULL;
}

static enum doctor_result look_mediator(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *why = NULL;

	d->gpus = ask_list(d, "/v1/gpus", "gpus", &why);
	if (d->gpus)
		d->slots = ask_list(d, "/v1/vgpus", "vgpus", &why);
	if (why)
		return doctor_say_lines(f, DOCTOR_FAILED, why, "systemctl status " MEDIATOR_UNIT);
	return doctor_say(f, DOCTOR_OK, "answers at %s", http_place(d->call->http));
}

static enum doctor_result look_versions(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *why = NULL, *stub = host_ask(d->root, STUB_PROGRAM, "--version", NULL);
	json_t *api = d->gpus ? ask(d, "/openapi.json", &why) : NULL;
	cleanup_free char *mediator =
	    text_print("%s", cloudstack_text(json_object_get(api, "info"), "version"));
	const char *stubs = "";

	json_decref(api);
	if (stub) {
		stub[strcspn(stub, "\n")] = 0;
		stubs = strncmp(stub, "vgpu-stub ", 10) == 0 ? stub + 10 : stub;
	}
	if (stub && strcmp(stubs, VGPU_VERSION) == 0 && !d->gpus)
		return doctor_say(f, DOCTOR_NOT_CHECKED, NO_MEDIATOR);
	doctor_next(f, "install the packages of one version, then systemctl reload vgpu-mediator");
	if (!stub)
		return doctor_say(f, DOCTOR_FAILED,
				  STUB_PROGRAM " is not there, or does not say its version");
	if (strcmp(stubs, VGPU_VERSION) != 0)
		return doctor_say(f, DOCTOR_FAILED, "vgpu-admin is " VGPU_VERSION ", vgpu-stub %s", stubs);
	if (strcmp(mediator, VGPU_VERSION) != 0)
		return doctor_say(f, DOCTOR_FAILED, "vgpu-admin is " VGPU_VERSION ", the mediator %s",
				  mediator[0] ? mediator : "of an unknown version");
	return doctor_say(f, DOCTOR_OK, "vgpu-admin, mediator and stub are " VGPU_VERSION);
}

static enum doctor_result look_card(struct doctor *d, struct doctor_finding *f)
{
	const json_t *gpu = json_array_get(d->gpus, 0);
	const char *backend = cloudstack_text(gpu, "backend"), *pci = cloudstack_text(gpu, "pci");
	const char *health = cloudstack_text(gpu, "health");

	if (!d->gpus)
		return doctor_say(f, DOCTOR_NOT_CHECKED, NO_MEDIATOR);
	if (strcmp(backend, "cuda") != 0) {
		doctor_next(f, "for a GPU set gpu.backend=cuda in /etc/vgpu/mediator.conf; its journal says "
			       "why, if that is set");
		return doctor_say(f, DOCTOR_WARNING, "the backend is %s, without a card: for rehearsals only",
				  backend);
	}
	if (!pci[0]) {
		doctor_next(f, "journalctl -u vgpu-mediator says why its sensor (NVML) cannot read the card");
		return doctor_say(f, DOCTOR_FAILED,
				  "where the GPU is on the PCI bus is not known: discovery "
				  "announces nothing");
	}
	if (strcmp(health, "lost") == 0 || strcmp(health, "degraded") == 0) {
		doctor_next(f, "vgpu-admin gpu; journalctl -k has the driver's words (Xid)");
		return doctor_say(f, strcmp(health, "lost") == 0 ? DOCTOR_FAILED : DOCTOR_WARNING,
				  "%s at %s is %s", cloudstack_text(gpu, "name"), pci, health);
	}
	return doctor_say(f, DOCTOR_OK, "%s at %s", cloudstack_text(gpu, "name"), pci);
}

// "3 of half, 1 of whole"; to be freed.
static char *count_profiles(const json_t *slots)
{
	json_t *counts = json_object(), *slot, *n;
	char *text = text_print("%s", "");
	const char *name;
	size_t i;

	json_array_foreach((json_t *)slots, i, slot)
	{
		const char *profile = cloudstack_text(slot, "profile");
		json_int_t before = json_integer_value(json_object_get(counts, profile));

		json_object_set_new(counts, profile, json_integer(before + 1));
	}
	json_object_foreach(counts, name, n)
	{
		char *longer = text_print("%s%s%" JSON_INTEGER_FORMAT " of %s", text, text[0] ? ", " : "",
					  json_integer_value(n), name);

		free(text);
		text = longer;
	}
	json_decref(counts);
	return text;
}

static enum doctor_result look_slots(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *profiles = NULL;
	json_t *slot;
	size_t i;

	if (!d->slots)
		return doctor_say(f, DOCTOR_NOT_CHECKED, NO_MEDIATOR);
	if (!json_array_size(d->slots)) {
		doctor_next(f, "vgpu-admin profile create NAME memory=SIZE, then vgpu-admin slot partition "
			       "NAME=COUNT");
		return doctor_say(f, DOCTOR_FAILED, "there are no vGPUs");
	}
	json_array_foreach(d->slots, i, slot)
	{
		if (strcmp(cloudstack_text(slot, "profile"), "passthrough") == 0) {
			doctor_next(f,
				    "make vGPUs of a profile with another name (vgpu-admin slot partition)");
			return doctor_say(f, DOCTOR_FAILED,
					  "a profile is called passthrough, which is "
					  "CloudStack's own");
		}
	}
	profiles = count_profiles(d->slots);
	return doctor_say(f, DOCTOR_OK, "%s", profiles);
}

static enum doctor_result look_units(struct doctor *d, struct doctor_finding *f)
{
	int r;

	if (!host_has_unit(d->root, MEDIATOR_UNIT) || !host_has_unit(d->root, "vgpu-stub@.service")) {
		doctor_next(f, "install the package vgpu-host");
		return doctor_say(f, DOCTOR_FAILED, "%s is not there",
				  host_has_unit(d->root, MEDIATOR_UNIT) ? "vgpu-stub@.service"
									: MEDIATOR_UNIT);
	}
	r = host_systemctl(d->root, "is-enabled", NULL, MEDIATOR_UNIT);
	if (r < 0)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "systemctl: %s", strerror(-r));
	if (r == 0)
		return doctor_say(f, DOCTOR_OK, MEDIATOR_UNIT " is enabled, vgpu-stub@ there");
	doctor_next(f, "systemctl enable --now " MEDIATOR_UNIT);
	return doctor_say(f, DOCTOR_FAILED, MEDIATOR_UNIT " does not start with the host");
}

// Guests' memory is a memfd's, so neither /dev/shm nor RLIMIT_MEMLOCK limits it; only ordinary
// pages can be shared.
static enum doctor_result look_memory(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *text = host_read(d->root, "/proc/meminfo", NULL);
	long long huge = text ? rules_meminfo(text, "HugePages_Total") : -1;
	long long available = text ? rules_meminfo(text, "MemAvailable") : -1;

	if (available < 0)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "/proc/meminfo cannot be read");
	if (huge > 0) {
		doctor_next(f,
			    "give VMs with a vGPU ordinary memory; vm.nr_hugepages=0 if nothing needs them");
		return doctor_say(f, DOCTOR_WARNING,
				  "%lld huge pages are set aside: a VM on them cannot use "
				  "its vGPU",
				  huge);
	}
	if (available < FEW_KB) {
		doctor_next(f, "each VM needs all its memory at once, as a memfd: stop some, or add memory");
		return doctor_say(f, DOCTOR_WARNING, "only %lld MiB are available", available >> 10);
	}
	return doctor_say(f, DOCTOR_OK, "%lld MiB are available, no huge pages", available >> 10);
}

const struct doctor_check doctor_host_checks[] = {
	{ "mediator", true, look_mediator },
	{ "versions", false, look_versions },
	{ "card", false, look_card },
	{ "vgpus", false, look_slots },
	{ "units", false, look_units },
	{ "memory", false, look_memory },
	{ 0 },
};
