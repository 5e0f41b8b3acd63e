// SPDX-License-Identifier: Apache-2.0
// Requests about slots; see the header. The hooks say what went wrong themselves: where it ends up (the
// agent's log, libvirt's error) is not a terminal.
#include "admin/cloudstack/slots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define LONGEST_ASK_S 10

static json_t *read_answer(struct slots *s, const struct http_answer *a, char **ret_why)
{
	json_t *j = a->body ? json_loadb(a->body, a->len, 0, NULL) : NULL;
	const char *detail = json_string_value(json_object_get(j, "detail"));

	if (a->status == 200 && json_is_object(j))
		return j;
	if (a->status != 200 && detail)
		*ret_why = text_clean(detail);
	else
		*ret_why = text_print("%s: what answers there is no mediator's API (status %ld)",
				      http_place(s->call->http), a->status);
	json_decref(j);
	return NULL;
}

static json_t *ask(struct slots *s, const char *method, const char *path, const json_t *body, char **ret_why)
{
	cleanup_free char *text = body ? text_memory(json_dumps(body, JSON_COMPACT)) : NULL;
	uint64_t now_ns = clock_now_ns();
	long left_s = s->until_ns > now_ns ? (long)((s->until_ns - now_ns) / NSEC_PER_SEC) + 1 : 0;
	struct http_answer a;
	json_t *j = NULL;

	*ret_why = NULL;
	if (!left_s) {
		*ret_why = text_print("there was no time left to ask the mediator");
		return NULL;
	}
	http_set_patience(s->call->http, left_s < LONGEST_ASK_S ? left_s : LONGEST_ASK_S);
	if (http_ask(s->call->http, method, path, text, &a) < 0)
		*ret_why = text_print("%s", http_failure(s->call->http));
	else
		j = read_answer(s, &a, ret_why);
	http_answer_done(&a);
	return j;
}

static char *text_of(const json_t *row, const char *field)
{
	const char *text = json_string_value(json_object_get(row, field));

	return text_print("%s", text ? text : "");
}

static void take_row(struct slots *s, const json_t *row)
{
	struct slot *slot = &s->slot[s->n];
	cleanup_free char *vgpu = text_of(row, "vgpu"), *vm = text_of(row, "vm");

	if (!domain_uuid(vgpu, slot->vgpu))
		return;
	domain_uuid(vm, slot->vm);
	slot->name = text_of(row, "name");
	slot->state = text_of(row, "state");
	s->n++;
}

bool slots_list(struct slots *s, struct admin_call *c, uint64_t until_ns, char **ret_why)
{
	const json_t *row;
	json_t *j, *rows;
	size_t i;

	*s = (struct slots){ .call = c, .until_ns = until_ns };
	*ret_why = NULL;
	if (!c->http)
		c->http = http_new(&c->target, ret_why);
	j = c->http ? ask(s, "GET", "/v1/vgpus", NULL, ret_why) : NULL;
	if (!j)
		return false;
	rows = json_object_get(j, "vgpus");
	if (!json_is_array(rows)) {
		*ret_why = text_print("%s: what answers there is no mediator's API", http_place(c->http));
		json_decref(j);
		return false;
	}
	s->slot = text_memory(calloc(json_array_size(rows) + 1, sizeof(*s->slot)));
	json_array_foreach(rows, i, row) take_row(s, row);
	json_decref(j);
	return true;
}

void slots_done(struct slots *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->slot[i].name);
		free(s->slot[i].state);
	}
	free(s->slot);
	*s = (struct slots){ 0 };
}

struct slot *slots_find(const struct slots *s, const char *vgpu)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->slot[i].vgpu, vgpu) == 0)
			return &s->slot[i];
	}
	return NULL;
}

static json_t *act(struct slots *s, const char *vgpu, const char *what, const json_t *body, char **ret_why)
{
	cleanup_free char *path = text_print("/v1/vgpus/%s/%s", vgpu, what);

	return ask(s, "POST", path, body, ret_why);
}

// The socket's path goes to QEMU, which would cut a longer one or take another for an abstract name.
static bool is_socket_path(const char *path)
{
	return path[0] == '/' && strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path) &&
	       !strpbrk(path, "\n\r\t");
}

char *slots_reserve(struct slots *s, const char *vgpu, const char *vm, const char *name, char **ret_nvidia,
		    char **ret_why)
{
	json_t *body = text_memory(json_pack("{s:s,s:s}", "vm", vm, "name", name));
	json_t *j = act(s, vgpu, "reserve", body, ret_why);
	cleanup_free char *owner = j ? text_of(j, "vm") : NULL;
	char *socket = j ? text_of(j, "socket") : NULL, owner_uuid[DOMAIN_UUID_BYTES];
	char *nvidia =
	    json_is_string(json_object_get(j, "nvidia_socket")) ? text_of(j, "nvidia_socket") : NULL;

	json_decref(body);
	json_decref(j);
	*ret_nvidia = NULL;
	if (!socket)
		return NULL;
	if (domain_uuid(owner, owner_uuid) && strcmp(owner_uuid, vm) == 0 && is_socket_path(socket) &&
	    (!nvidia || is_socket_path(nvidia))) {
		*ret_nvidia = nvidia;
		return socket;
	}
	free(socket);
	free(nvidia);
	*ret_why = text_print("the mediator's answer names no socket for this VM");
	return NULL;
}

bool slots_release(struct slots *s, const char *vgpu, const char *vm, bool *ret_kept, char **ret_why)
{
	json_t *body = text_memory(json_pack("{s:s}", "vm", vm));
	json_t *j = act(s, vgpu, "release", body, ret_why);
	cleanup_free char *owner = text_of(j, "vm");
	char owner_uuid[DOMAIN_UUID_BYTES];
	bool done = j;

	*ret_kept = domain_uuid(owner, owner_uuid) && strcmp(owner_uuid, vm) == 0;
	json_decref(body);
	json_decref(j);
	return done;
}

// Marks the device that has the socket as found.
static void mark(const struct domain *d, const char *socket, bool *found)
{
	for (size_t i = 0; i < d->n_sockets; i++) {
		if (!found[i] && strcmp(d->sockets[i], socket) == 0) {
			found[i] = true;
			return; // a second device with it stays without
		}
	}
}

// A reservation that is there is asked for again, since its answer tells the socket; others are left alone.
bool slots_are_of(struct slots *s, const struct domain *d, char **ret_why)
{
	bool found[DOMAIN_MOST_VGPUS] = { 0 };

	*ret_why = NULL;
	for (size_t i = 0; i < s->n && d->uuid[0] && d->n_sockets; i++) {
		cleanup_free char *socket = NULL, *nvidia = NULL;

		if (strcmp(s->slot[i].vm, d->uuid) != 0)
			continue;
		socket = slots_reserve(s, s->slot[i].vgpu, d->uuid, d->name, &nvidia, ret_why);
		if (!socket)
			return false;
		mark(d, socket, found);
		if (nvidia)
			mark(d, nvidia, found);
	}
	for (size_t i = 0; i < d->n_sockets; i++) {
		if (!found[i]) {
			cleanup_free char *path = text_clean(d->sockets[i]);

			*ret_why = text_print("no vGPU with the socket %s is reserved for this VM", path);
			return false;
		}
	}
	return true;
}
