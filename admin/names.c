// SPDX-License-Identifier: Apache-2.0
// `vgpu-admin --names KIND`, which the completion scripts call; see the header.
#include "admin/names.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_S 2l

static const struct {
	const char *text, *path, *list, *name;
} kinds[NAMES_KINDS] = {
	[NAMES_TENANT] = { "tenant", "/v1/tenants", "tenants", "name" },
	[NAMES_POOL] = { "pool", "/v1/pools", "pools", "pool" },
	[NAMES_PROFILE] = { "profile", "/v1/profiles", "profiles", "profile" },
	[NAMES_VM] = { "vm", "/v1/vms", "vms", "vm" },
	[NAMES_SLOT] = { "slot", "/v1/vgpus", "vgpus", "vgpu" },
	[NAMES_SESSION] = { "session", "/v1/sessions", "sessions", "session" },
};

const char *names_kind_text(enum admin_names kind)
{
	return kinds[kind].text;
}

// A tenant's name is its own choice, and shells expand what completion gives them.
static bool is_plain(const char *name)
{
	return name[0] && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@+-") ==
		   strlen(name);
}

static void print(const json_t *value)
{
	const char *name = json_string_value(value);

	if (name && is_plain(name))
		puts(name);
	else if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
}

enum admin_exit names_print(struct admin_call *c, const char *kind)
{
	struct http_answer a = { 0 };
	char *error = NULL;
	json_t *answer = NULL, *row;
	size_t which = 0, i;

	while (which < NAMES_KINDS && !(kinds[which].text && strcmp(kinds[which].text, kind) == 0))
		which++;
	if (which == NAMES_KINDS)
		return ADMIN_USAGE;
	c->http = http_new(&c->target, &error);
	free(error);
	if (!c->http)
		return ADMIN_USAGE;
	http_set_patience(c->http, PATIENCE_S);
	if (http_ask(c->http, "GET", kinds[which].path, NULL, &a) < 0)
		return ADMIN_NO_CONNECTION;
	if (a.status == 200 && a.body)
		answer = json_loadb(a.body, a.len, 0, NULL);
	json_array_foreach(json_object_get(answer, kinds[which].list), i, row)
	    print(json_object_get(row, kinds[which].name));
	json_decref(answer);
	http_answer_done(&a);
	return ADMIN_OK;
}
