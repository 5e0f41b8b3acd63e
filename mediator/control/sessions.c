// SPDX-License-Identifier: Apache-2.0
// Operations on connections of programs: session.list, session.end. Runs in the mediator's loop.
#include "mediator/control/operations.h"
#include "mediator/session/session.h"
#include "mediator/use/use.h"
#include "protocol/control/control.h"

static json_t *library_name(uint32_t library)
{
	return library ? json_string(use_library_text(library)) : json_null();
}

static json_t *describe(const struct session *s)
{
	json_t *o = json_object(), *channels = json_array();
	struct session_view v;

	session_view(s, &v);
	for (unsigned i = 0; i < v.n_shown; i++)
		json_array_append_new(channels, json_integer((json_int_t)v.channels[i]));
	control_set_count(o, "session", v.id);
	json_object_set_new(o, "tenant", json_integer(v.tenant->id));
	json_object_set_new(o, "name", json_string(v.tenant->name));
	json_object_set_new(o, "uid", json_integer(v.uid));
	json_object_set_new(o, "pid", v.pid > 0 ? json_integer(v.pid) : json_null());
	json_object_set_new(o, "kind", json_string(v.vm ? "vm" : v.ready ? "program" : "new"));
	json_object_set_new(o, "library", library_name(v.library));
	json_object_set_new(o, "since_s", json_real((double)v.came_us / 1e6));
	json_object_set_new(o, "channels", channels);
	return o;
}

static void list_called(struct control_call *c)
{
	bool some = json_object_get(c->request, "tenant");
	struct tenant *t = some ? control_tenant(c, "tenant") : NULL;
	json_t *rows = json_array();
	struct session *s;

	for (s = session_after(c->mediator, NULL); s && !c->error; s = session_after(c->mediator, s)) {
		if (!t || session_tenant(s) == t)
			json_array_append_new(rows, describe(s));
	}
	json_object_set_new(c->answer, "sessions", rows);
}

static void end_called(struct control_call *c)
{
	json_int_t id = json_integer_value(json_object_get(c->request, "session"));
	struct session *s = session_after(c->mediator, NULL);
	struct session_view v = { 0 };

	for (; s; s = session_after(c->mediator, s)) {
		session_view(s, &v);
		if (id > 0 && v.id == (uint64_t)id)
			break;
	}
	if (!s) {
		control_fail(c, CONTROL_E_UNKNOWN, "there is no session %" JSON_INTEGER_FORMAT, id);
		return;
	}
	json_object_set_new(c->answer, "channels", json_integer(v.n_channels));
	session_end(s);
}

static const struct control_field list_fields[] = {
	{ "tenant", CONTROL_TENANT, false, "Only those of this tenant (name or id)." },
	{ 0 },
};
static const struct control_field end_fields[] = {
	{ "session", CONTROL_INTEGER, true, "Its number, as session.list tells it." },
	{ 0 },
};

const struct control_operation control_session_operations[] = {
	{ "session.list",
	  "Connections of programs and stubs: whose, since when (seconds since 1970), and the channels that "
	  "were opened "
	  "over each. \"kind\": vm (of a stub), program, or new (it has not said HELLO yet). "
	  "\"library\": which of ours a program says that it is: libcuda, libvgpu, libnvidia-ml, or null.",
	  list_fields, 0, false, list_called },
	{ "session.end",
	  "Ends a connection: its channels end, and so do tenants that were made over it. The program may "
	  "connect again. "
	  "\"channels\" in the answer: how many there were.",
	  end_fields, 0, true, end_called },
	{ 0 },
};
