// SPDX-License-Identifier: Apache-2.0
// What the subcommands share; see the header.
#include "admin/cloudstack/cloudstack.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "admin/confirm.h"
#include "admin/text.h"
#include "common/cleanup.h"

enum admin_exit cloudstack_begin(struct cloudstack *cs, struct admin_call *call)
{
	const char *path = admin_option(call, "config");
	cleanup_free char *error = NULL;

	*cs = (struct cloudstack){ .call = call };
	error = config_read(&cs->config, path ? path : CONFIG_PATH);
	if (error) {
		admin_complain("%s", error);
		return ADMIN_USAGE;
	}
	cs->api = api_new(&cs->config);
	return ADMIN_OK;
}

void cloudstack_end(struct cloudstack *cs)
{
	api_free(take_ptr(cs->api));
	config_done(&cs->config);
}

const char *cloudstack_text(const json_t *object, const char *field)
{
	const char *text = json_string_value(json_object_get(object, field));

	return text ? text : "";
}

// ---- lists ----

enum admin_exit cloudstack_hosts(struct cloudstack *cs, json_t **ret)
{
	struct api_request r = { 0 };

	api_set(&r, "type", "Routing");
	api_set(&r, "hypervisor", "KVM");
	return api_list(cs->api, "listHosts", &r, "host", ret);
}

static json_t *find_host(const json_t *hosts, const char *name)
{
	static const char *const fields[] = { "id", "name", "ipaddress" };
	json_t *host;
	size_t i;

	json_array_foreach(hosts, i, host)
	{
		for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
			if (strcasecmp(cloudstack_text(host, fields[f]), name) == 0)
				return host;
		}
	}
	return NULL;
}

// CloudStack's agents give their host's name with its domain or without.
static json_t *find_by_first_label(const json_t *hosts, const char *name)
{
	size_t n = strcspn(name, "."), i;
	json_t *host, *found = NULL;

	json_array_foreach(hosts, i, host)
	{
		const char *theirs = cloudstack_text(host, "name");

		if (strcspn(theirs, ".") != n || strncasecmp(theirs, name, n) != 0)
			continue;
		if (found)
			return NULL; // two of them
		found = host;
	}
	return found;
}

enum admin_exit cloudstack_host(struct cloudstack *cs, const char *name, json_t **ret)
{
	char own[256] = "";
	json_t *hosts, *host;
	enum admin_exit e = cloudstack_hosts(cs, &hosts);

	if (e != ADMIN_OK)
		return e;
	if (!name)
		name = cs->config.host;
	gethostname(own, sizeof(own) - 1);
	host = find_host(hosts, name ? name : own);
	if (!host && !name)
		host = find_by_first_label(hosts, own);
	if (host) {
		*ret = json_incref(host);
	} else {
		cleanup_free char *clean = text_clean(name ? name : own);

		admin_complain(
		    "CloudStack has no KVM host '%s'.\n'vgpu-admin cloudstack status' lists those it has; "
		    "host in %s says which one this is",
		    clean, cs->config.path);
		e = ADMIN_REFUSED;
	}
	json_decref(hosts);
	return e;
}

enum admin_exit cloudstack_devices(struct cloudstack *cs, const json_t *host, json_t **ret)
{
	struct api_request r = { 0 };

	api_set(&r, "hostid", "%s", cloudstack_text(host, "id"));
	return api_list(cs->api, "listGpuDevices", &r, "gpudevice", ret);
}

enum admin_exit cloudstack_mediator_list(struct cloudstack *cs, const char *path, const char *field,
					 json_t **ret)
{
	struct admin_answer a;
	enum admin_exit e = admin_ask(cs->call, "GET", path, NULL, &a);

	if (e != ADMIN_OK)
		return e;
	if (json_is_array(json_object_get(a.json, field))) {
		*ret = json_incref(json_object_get(a.json, field));
	} else {
		admin_complain("%s: the mediator's answer to %s has no %s", http_place(cs->call->http), path,
			       field);
		e = ADMIN_NO_CONNECTION;
	}
	admin_answer_done(&a);
	return e;
}

// ---- people ----

enum admin_exit cloudstack_confirm(const struct cloudstack *cs, const char *question)
{
	if (cs->call->yes)
		return ADMIN_OK;
	fflush(cs->call->output.out);
	switch (confirm(question)) {
	case CONFIRM_YES: return ADMIN_OK;
	case CONFIRM_NO: admin_complain("nothing was done"); return ADMIN_REFUSED;
	default:
		admin_complain("%s Nothing was done: stdin is no terminal to ask on, and --yes was not said",
			       question);
		return ADMIN_USAGE;
	}
}

void cloudstack_print_json(const struct cloudstack *cs, const json_t *object)
{
	cleanup_free char *text = text_memory(json_dumps(object, JSON_INDENT(2)));

	text_put_json(cs->call->output.out, text, strlen(text));
	fputc('\n', cs->call->output.out);
}
