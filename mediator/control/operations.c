// SPDX-License-Identifier: Apache-2.0
// Requests of operators: parsed, checked against the table, given to their handler. What an operator
// sends is checked like a tenant's bytes: depth before the parser sees it, then types, ranges and unknown
// fields. Runs in the mediator's loop.
#include "mediator/control/operations.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "mediator/complain.h"
#include "mediator/control/control.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

static void list_operations(struct control_call *c);
static void say_self(struct control_call *c);

static const struct control_field no_fields[] = { { 0 } };
static const struct control_operation own_operations[] = {
	{ "operations", "What can be asked, as --help-control lists it.", no_fields, 0, false,
	  list_operations },
	{ "self", "Who asks, as the audit calls it, and its role: admin or viewer.", no_fields, 0, false,
	  say_self },
	{ 0 },
};

static const struct control_operation *const lists[] = {
	own_operations,
	control_status_operations,
	control_pool_operations,
	control_tenant_operations,
	control_watch_operations,
	control_store_operations,
	control_gpu_operations,
	control_profile_operations,
	control_config_operations,
	control_history_operations,
	control_event_operations,
	control_metrics_operations,
	control_vm_operations,
	control_vgpu_operations,
	control_slot_operations,
	control_drain_operations,
	control_session_operations,
	control_migrate_operations,
};
#define N_LISTS (sizeof(lists) / sizeof(lists[0]))

const struct control_operation *control_find(const char *name)
{
	for (size_t i = 0; i < N_LISTS; i++) {
		for (const struct control_operation *o = lists[i]; o->name; o++) {
			if (strcmp(o->name, name) == 0)
				return o;
		}
	}
	return NULL;
}

// ---- for handlers ----

void control_fail(struct control_call *c, const char *error, const char *format, ...)
{
	va_list args;

	c->error = error;
	va_start(args, format);
	vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
}

const char *control_text(const struct control_call *c, const char *field)
{
	return json_string_value(json_object_get(c->request, field));
}

static struct tenant *tenant_by_name(struct control_call *c, const char *name)
{
	struct tenant *t, *found = NULL;
	unsigned n = 0;

	for (t = tenant_from_id(c->mediator, 0); t; t = tenant_after(t)) {
		if (t->removed || strcmp(t->name, name) != 0)
			continue;
		found = t;
		n++;
	}
	if (n == 1)
		return found;
	if (n)
		control_fail(c, CONTROL_E_UNKNOWN, "%u tenants are called '%.64s': say the id", n, name);
	else
		control_fail(c, CONTROL_E_UNKNOWN, "there is no tenant '%.64s'", name);
	return NULL;
}

struct tenant *control_tenant(struct control_call *c, const char *field)
{
	const json_t *value = json_object_get(c->request, field);
	json_int_t id = json_integer_value(value);
	struct tenant *t = NULL;

	if (json_is_string(value))
		return tenant_by_name(c, json_string_value(value));
	if (id > 0 && id <= UINT32_MAX)
		t = tenant_from_id(c->mediator, (uint32_t)id);
	if (t && t->id == (uint32_t)id && !t->removed)
		return t;
	control_fail(c, CONTROL_E_UNKNOWN, "there is no tenant %" JSON_INTEGER_FORMAT, id);
	return NULL;
}

struct pool *control_pool(struct control_call *c, const char *field)
{
	const char *name = control_text(c, field);
	struct pool *p = pool_find(c->mediator, name);

	if (!p)
		control_fail(c, CONTROL_E_UNKNOWN, "there is no pool '%.64s'", name);
	return p;
}

void control_set_count(json_t *to, const char *name, uint64_t value)
{
	json_object_set_new(to, name, json_integer((json_int_t)(value <= INT64_MAX ? value : INT64_MAX)));
}

static void add_item(json_t *to, const struct policy *p, enum policy_item i)
{
	const char *word = policy_word(p, i);
	double number = policy_number(p, i);

	if (word)
		json_object_set_new(to, policy_name(i), json_string(word));
	else if (i == POLICY_GPU_CAP || i == POLICY_SHARE || i == POLICY_OBJECTS)
		json_object_set_new(to, policy_name(i), json_real(number));
	else
		control_set_count(to, policy_name(i), p->value[i]);
}

void control_add_policy(json_t *to, const struct policy *p, unsigned whom)
{
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (policy_is_for(i, whom) && i != POLICY_PRIORITY)
			add_item(to, p, i);
	}
}

void control_add_given(json_t *to, const struct policy *p, unsigned whom)
{
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (policy_is_for(i, whom) && i != POLICY_PRIORITY && p->given & 1u << i)
			add_item(to, p, i);
	}
}

// ---- checking ----

static const struct control_field *field_of(const struct control_operation *o, const char *name)
{
	for (const struct control_field *f = o->fields; f->name; f++) {
		if (strcmp(f->name, name) == 0)
			return f;
	}
	return NULL;
}

static bool type_fits(const struct control_field *f, const json_t *value)
{
	switch (f->type) {
	case CONTROL_STRING: return json_is_string(value);
	case CONTROL_NAME: return json_is_string(value) && settings_name_is_valid(json_string_value(value));
	case CONTROL_TENANT: return json_is_string(value) || json_is_integer(value);
	case CONTROL_INTEGER: return json_is_integer(value);
	case CONTROL_BOOLEAN: return json_is_boolean(value);
	}
	return false;
}

const char *control_type_name(enum control_type type)
{
	static const char *const names[] = {
		[CONTROL_STRING] = "a string",
		[CONTROL_NAME] = "a name of A-Z a-z 0-9 _ -",
		[CONTROL_TENANT] = "a tenant's name or id",
		[CONTROL_INTEGER] = "an integer",
		[CONTROL_BOOLEAN] = "true or false",
	};

	return names[type];
}

static void take_policy(struct control_call *c, enum policy_item item, const json_t *value)
{
	char why[sizeof(c->text)];
	int r;

	if (json_is_string(value)) {
		r = policy_set_text(&c->policy, item, json_string_value(value), why, sizeof(why));
	} else if (json_is_number(value)) {
		r = policy_set_number(&c->policy, item, json_number_value(value), why, sizeof(why));
	} else {
		control_fail(c, CONTROL_E_VALUE, "%s: not a number or a string", policy_name(item));
		return;
	}
	if (r < 0)
		control_fail(c, CONTROL_E_VALUE, "%s", why);
}

static void check_field(struct control_call *c, const struct control_operation *o, const char *name,
			const json_t *value)
{
	const struct control_field *f = field_of(o, name);
	int item;

	if (strcmp(name, "op") == 0)
		return;
	if (strcmp(name, "id") == 0) {
		if (!json_is_string(value) && !json_is_integer(value))
			control_fail(c, CONTROL_E_VALUE, "id: not a string or an integer");
		return;
	}
	if (f) {
		if (!type_fits(f, value))
			control_fail(c, CONTROL_E_VALUE, "%s: not %s", name, control_type_name(f->type));
		return;
	}
	item = o->policy ? policy_find(name, o->policy) : -1;
	if (item < 0)
		control_fail(c, CONTROL_E_FIELD, "%s has no field '%.64s'", o->name, name);
	else
		take_policy(c, (enum policy_item)item, value);
}

static void check(struct control_call *c, const struct control_operation *o)
{
	const uint32_t both = 1u << POLICY_WEIGHT | 1u << POLICY_PRIORITY;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)c->request, name, value)
	{
		check_field(c, o, name, value);
		if (c->error)
			return;
	}
	for (const struct control_field *f = o->fields; f->name; f++) {
		if (f->required && !json_object_get(c->request, f->name)) {
			control_fail(c, CONTROL_E_FIELD, "%s needs the field '%s'", o->name, f->name);
			return;
		}
	}
	if ((c->policy.given & both) == both)
		control_fail(c, CONTROL_E_VALUE, "weight and priority are two words for one thing");
}

// ---- requests ----

json_t *control_error(const char *error, const char *text)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "error", error, "text", text);
}

// Counts it.
static json_t *refused(struct mediator *m, const char *error, const char *text)
{
	metrics_refused_control(m, error);
	return control_error(error, text);
}

// Without a parser, which would follow any depth.
static bool too_deep(const char *line, size_t len)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string && line[i] == '\\')
			i++;
		else if (line[i] == '"')
			in_string = !in_string;
		else if (!in_string && (line[i] == '{' || line[i] == '['))
			depth++;
		else if (!in_string && (line[i] == '}' || line[i] == ']') && depth)
			depth--;
		if (depth > VGPU_MAX_CONTROL_DEPTH)
			return true;
	}
	return false;
}

static void say_change(const struct control_call *c)
{
	char raw[VGPU_MAX_LOG_LINE], clean[VGPU_MAX_LOG_LINE];
	size_t n = json_dumpb(c->request, raw, sizeof(raw), JSON_COMPACT | JSON_PRESERVE_ORDER);

	log_sanitize(clean, sizeof(clean), raw, n < sizeof(raw) ? n : 0);
	if (n >= sizeof(raw))
		snprintf(clean, sizeof(clean), "(a long request)");
	if (c->error) {
		complain("%s: %s: refused: %s", c->peer->who, clean, c->text);
		return;
	}
	log_info("%s: %s", c->peer->who, clean);
	event_publish(c->mediator, EVENT_OPERATOR, NULL,
		      json_pack("{s:s, s:s}", "who", c->peer->who, "operation", c->operation->name), "%s",
		      clean);
}

static void on_kept(void *opaque, int result)
{
	json_object_set_new(control_later_answer(opaque), "kept", json_boolean(result == 0));
	control_finish(opaque, NULL, NULL);
}

// The answer to a change is sent when the store has it on the disk, or says that the disk does not work now.
static void wait_until_kept(struct control_call *c)
{
	struct control_later *l;
	int r;

	l = control_later(c);
	if (!l)
		return;
	r = record_settled(c->mediator, on_kept, l);
	if (r < 0) {
		control_not_later(c, l);
		json_object_set_new(c->answer, "kept", json_false());
	}
}

static void handle(struct control_call *c, const struct control_operation *o)
{
	const struct record *r = &c->mediator->record;
	uint64_t changes = r->changes;

	record_by(c->mediator, c->peer->who);
	o->handler(c);
	record_by(c->mediator, NULL);
	if (!c->error && !c->later && r->changes != changes)
		wait_until_kept(c);
}

static void perform(struct control_call *c)
{
	const char *name = control_text(c, "op");
	const struct control_operation *o = name ? control_find(name) : NULL;

	if (!o) {
		if (name)
			control_fail(c, CONTROL_E_OPERATION, "there is no operation '%.64s'", name);
		else
			control_fail(c, CONTROL_E_FIELD, "a request needs the field 'op', a string");
		return;
	}
	c->operation = o;
	policy_init(&c->policy);
	if (c->peer->role < (o->changes ? CONTROL_ADMIN : CONTROL_VIEWER))
		control_fail(c, CONTROL_E_PERMISSION, "%s is for admins", o->name);
	else
		check(c, o);
	if (!c->error)
		handle(c, o);
	if (o->changes && !c->again)
		say_change(c);
}

// What is sent; NULL: later, or no memory.
static json_t *conclude(struct control_call *c)
{
	json_t *answer = c->answer, *id = json_object_get(c->request, "id");

	if (c->error) {
		json_decref(c->answer);
		answer = refused(c->mediator, c->error, c->text);
	}
	if (answer && (json_is_string(id) || json_is_integer(id)))
		json_object_set(answer, "id", id);
	return answer;
}

json_t *control_parse(struct mediator *m, const char *text, size_t len, json_t **ret_error)
{
	json_error_t error;
	json_t *request;

	if (too_deep(text, len)) {
		*ret_error = refused(m, CONTROL_E_JSON, "too deep (VGPU_MAX_CONTROL_DEPTH)");
		return NULL;
	}
	request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (request && json_is_object(request))
		return request;
	*ret_error = refused(m, CONTROL_E_JSON, request ? "not an object" : error.text);
	json_decref(request);
	return NULL;
}

json_t *control_perform(struct mediator *m, const struct control_peer *peer, const json_t *request,
			bool *later)
{
	struct control_call c = { .mediator = m, .peer = peer, .request = request };

	m->metrics.messages[METRICS_FROM_OPERATOR]++;
	c.answer = json_pack("{s:b}", "ok", 1);
	if (c.answer)
		perform(&c);
	*later = c.later;
	return conclude(&c);
}

json_t *control_answer(struct mediator *m, const struct control_peer *peer, const char *line, size_t len,
		       bool *later)
{
	json_t *answer = NULL, *request = control_parse(m, line, len, &answer);

	*later = false;
	if (request)
		answer = control_perform(m, peer, request, later);
	json_decref(request);
	return answer;
}

// ---- requests that wait for the sensor: their handler is called again ----

struct control_retry {
	LIST_ENTRY(control_retry) link;
	struct control_later *later;
	const struct control_operation *operation;
	json_t *request;
	struct policy policy;
	struct control_peer peer;
};

bool control_device_known(struct control_call *c)
{
	struct sensor *x = &c->mediator->sensor;
	uint64_t now = clock_now_ns();
	struct control_retry *r;

	sensor_want(x, now);
	if (x->board.known)
		return true;
	if (sensor_settled(x, now)) {
		control_fail(c, CONTROL_E_GPU,
			     "which GPU this mediator has is not known: its sensor does not run");
		return false;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		control_fail(c, CONTROL_E_LIMIT, "no memory");
		return false;
	}
	r->operation = c->operation;
	r->policy = c->policy;
	r->peer = *c->peer;
	r->request = json_incref((json_t *)c->request);
	r->later = control_later(c);
	if (!r->later) {
		json_decref(r->request);
		free(r);
		return false;
	}
	c->again = true;
	LIST_INSERT_HEAD(&c->mediator->control.retries, r, link);
	return false;
}

static void retry_free(struct control_retry *r)
{
	LIST_REMOVE(r, link);
	json_decref(r->request);
	free(r);
}

static void retry(struct mediator *m, struct control_retry *r)
{
	struct control_call c = {
		.mediator = m,
		.peer = &r->peer,
		.request = r->request,
		.policy = r->policy,
		.operation = r->operation,
	};

	if (!control_not_later_any_more(r->later, &c))
		return; // nobody waits for it any more, so it is not done
	handle(&c, r->operation);
	if (r->operation->changes)
		say_change(&c);
	if (!c.later)
		r->peer.door->answer(r->peer.link, conclude(&c));
}

void control_device_news(struct mediator *m)
{
	struct control *c = &m->control;
	struct control_retry *r;

	// One that waits again is not among those that are settled.
	while (c->mediator && (m->sensor.board.known || sensor_settled(&m->sensor, clock_now_ns())) &&
	       (r = LIST_FIRST(&c->retries))) {
		struct control_retry copy = *r;

		LIST_REMOVE(r, link);
		free(r);
		retry(m, &copy);
		json_decref(copy.request);
	}
}

void control_retries_done(struct control *c)
{
	struct control_retry *r;

	while ((r = LIST_FIRST(&c->retries))) {
		control_finish(r->later, CONTROL_E_STATE, "the mediator is going away");
		retry_free(r);
	}
}

// ---- documentation ----

static json_t *describe(const struct control_operation *o)
{
	json_t *fields = json_object();

	for (const struct control_field *f = o->fields; f->name; f++)
		json_object_set_new(fields, f->name,
				    json_pack("{s:s, s:b, s:s}", "type", control_type_name(f->type),
					      "required", f->required, "help", f->help));
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		char range[100];

		if (!policy_is_for(i, o->policy))
			continue;
		policy_print_range(i, range, sizeof(range));
		json_object_set_new(
		    fields, policy_name(i),
		    json_pack("{s:s, s:b, s:s}", "type", range, "required", 0, "help", policy_help(i)));
	}
	return json_pack("{s:s, s:o}", "help", o->help, "fields", fields);
}

void control_each(void (*each)(void *opaque, const struct control_operation *o), void *opaque)
{
	for (size_t i = 0; i < N_LISTS; i++) {
		for (const struct control_operation *o = lists[i]; o->name; o++)
			each(opaque, o);
	}
}

static void add_description(void *all, const struct control_operation *o)
{
	json_object_set_new(all, o->name, describe(o));
}

static void say_self(struct control_call *c)
{
	json_object_set_new(c->answer, "who", json_string(c->peer->who));
	json_object_set_new(c->answer, "role",
			    json_string(c->peer->role == CONTROL_ADMIN ? "admin" : "viewer"));
}

static void list_operations(struct control_call *c)
{
	json_t *all = json_object();

	control_each(add_description, all);
	json_object_set_new(c->answer, "operations", all);
}

static void print_plain(FILE *out, const char *help)
{
	fprintf(out, "      %s\n", help);
}

static void print_operation(void *out, const struct control_operation *o)
{
	fprintf(out, "\n%s\n  %s\n", o->name, o->help);
	for (const struct control_field *f = o->fields; f->name; f++)
		fprintf(out, "  %s: %s%s\n      %s\n", f->name, control_type_name(f->type),
			f->required ? ", required" : "", f->help);
	if (o->policy)
		policy_print_help(out, o->policy, print_plain);
}

void control_print_help(FILE *out)
{
	fprintf(out,
		"Operations of the control socket: one JSON object on a line, \"op\" names the operation.\n");
	control_each(print_operation, out);
}
