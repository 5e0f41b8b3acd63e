// SPDX-License-Identifier: Apache-2.0
// Operations on what the mediator keeps: store.status, store.backup, usage, audit, tenant.forget. Runs in the
// mediator's loop; answers come from the store's thread.
#include <errno.h>
#include <string.h>

#include "mediator/control/operations.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

static struct store *store_of(struct control_call *c)
{
	struct store *s = c->mediator->record.store;

	if (!s)
		control_fail(c, CONTROL_E_STATE, "nothing is kept (store.path)");
	return s;
}

static json_int_t integer(const struct control_call *c, const char *field, json_int_t otherwise)
{
	const json_t *value = json_object_get(c->request, field);

	return value ? json_integer_value(value) : otherwise;
}

// What could not even be queued is answered now.
static void asked(struct control_call *c, struct control_later *l, int r)
{
	if (r == 0)
		return;
	control_not_later(c, l);
	control_fail(c, r == -ENAMETOOLONG ? CONTROL_E_VALUE : CONTROL_E_STATE, "the store: %s",
		     r == -EIO ? "its disk does not work now (store.status)" : strerror(-r));
}

static bool has_failed(struct control_later *l, int result)
{
	if (result < 0)
		control_finish(l, CONTROL_E_STATE, strerror(-result));
	return result < 0;
}

// ---- status and backup ----

static void status_called(struct control_call *c)
{
	struct store_status status = { 0 };
	struct store *s = c->mediator->record.store;

	if (s)
		store_status(s, &status);
	json_object_set_new(c->answer, "path", json_string(c->mediator->settings->store_path));
	json_object_set_new(c->answer, "state",
			    json_string(!s		  ? "off"
					: status.degraded ? "degraded"
							  : "good"));
	json_object_set_new(c->answer, "text", json_string(status.text));
	json_object_set_new(c->answer, "waiting", json_integer(status.waiting));
	json_object_set_new(c->answer, "transactions", json_integer((json_int_t)status.transactions));
	json_object_set_new(c->answer, "failures", json_integer((json_int_t)status.failures));
	json_object_set_new(c->answer, "refused", json_integer((json_int_t)status.refused));
	json_object_set_new(c->answer, "longest_commit_ns",
			    json_integer((json_int_t)status.longest_commit_ns));
}

static void on_backup(void *opaque, int result)
{
	if (!has_failed(opaque, result))
		control_finish(opaque, NULL, NULL);
}

static void backup_called(struct control_call *c)
{
	const char *path = control_text(c, "path");
	struct store *s = store_of(c);
	struct control_later *l;

	if (!s)
		return;
	if (path[0] != '/') {
		control_fail(c, CONTROL_E_VALUE, "path: not an absolute path");
		return;
	}
	l = control_later(c);
	if (l)
		asked(c, l, store_backup(s, path, on_backup, l));
}

// ---- usage ----

static void on_usage(void *opaque, int result, const struct store_usage *rows, size_t n)
{
	json_t *list;

	if (has_failed(opaque, result))
		return;
	list = json_array();
	for (size_t i = 0; i < n; i++) {
		const struct store_usage *u = &rows[i];

		json_array_append_new(
		    list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tenant", u->tenant, "at",
				    (json_int_t)u->at_s, "gpu_ns", (json_int_t)u->gpu_ns, "turns",
				    (json_int_t)u->turns, "launches", (json_int_t)u->launches, "copy_bytes",
				    (json_int_t)u->copy_bytes, "memory_byte_s", (json_int_t)u->memory_byte_s,
				    "faults", (json_int_t)u->faults));
	}
	json_object_set_new(control_later_answer(opaque), "usage", list);
	control_finish(opaque, NULL, NULL);
}

static int find_step(const char *word)
{
	static const char *const words[] = {
		[STORE_BY_MINUTE] = "minute",
		[STORE_BY_HOUR] = "hour",
		[STORE_BY_DAY] = "day",
	};

	for (int i = 0; i < (int)(sizeof(words) / sizeof(words[0])); i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return -1;
}

static void usage_called(struct control_call *c)
{
	const char *step = control_text(c, "by"), *tenant = control_text(c, "name");
	struct store_usage_ask ask = { .to_s = INT64_MAX };
	json_int_t most = integer(c, "most", STORE_MOST_USAGE);
	struct store *s = store_of(c);
	struct control_later *l;
	int found = step ? find_step(step) : STORE_BY_HOUR;

	if (!s)
		return;
	if (found < 0 || most < 1 || most > STORE_MOST_USAGE) {
		control_fail(c, CONTROL_E_VALUE, "by: minute, hour or day; most: 1 to %d", STORE_MOST_USAGE);
		return;
	}
	ask.step = (enum store_step)found;
	ask.from_s = integer(c, "from", 0);
	ask.to_s = integer(c, "to", INT64_MAX);
	ask.most = (uint32_t)most;
	snprintf(ask.tenant, sizeof(ask.tenant), "%s", tenant ? tenant : "");
	l = control_later(c);
	if (l)
		asked(c, l, store_ask_usage(s, &ask, on_usage, l));
}

// ---- audit ----

// The text is JSON that the store's database made.
static void add_json(json_t *to, const char *name, const char *text)
{
	json_t *value = text[0] ? json_loads(text, 0, NULL) : NULL;

	json_object_set_new(to, name, value ? value : json_null());
}

static void on_audit(void *opaque, int result, const struct store_audit *rows, size_t n)
{
	json_t *list;

	if (has_failed(opaque, result))
		return;
	list = json_array();
	for (size_t i = 0; i < n; i++) {
		const struct store_audit *a = &rows[i];
		json_t *row =
		    json_pack("{s:I, s:I, s:s, s:s, s:s}", "number", (json_int_t)a->id, "at_ms",
			      (json_int_t)a->at_ms, "who", a->who, "what", a->what, "subject", a->subject);

		add_json(row, "before", a->before);
		add_json(row, "after", a->after);
		json_array_append_new(list, row);
	}
	json_object_set_new(control_later_answer(opaque), "audit", list);
	control_finish(opaque, NULL, NULL);
}

static void audit_called(struct control_call *c)
{
	const char *subject = control_text(c, "subject");
	json_int_t most = integer(c, "most", 100), below = integer(c, "below", 0);
	struct store_audit_ask ask = { .below_id = below };
	struct store *s = store_of(c);
	struct control_later *l;

	if (!s)
		return;
	if (most < 1 || most > STORE_MOST_AUDIT || below < 0) {
		control_fail(c, CONTROL_E_VALUE, "most: 1 to %d; below: a number that audit told",
			     STORE_MOST_AUDIT);
		return;
	}
	ask.most = (uint32_t)most;
	snprintf(ask.subject, sizeof(ask.subject), "%s", subject ? subject : "");
	l = control_later(c);
	if (l)
		asked(c, l, store_ask_audit(s, &ask, on_audit, l));
}

static void forget_called(struct control_call *c)
{
	const char *name = control_text(c, "name");
	char its[STORE_NAME_BYTES];
	struct tenant *t;

	if (!store_of(c))
		return;
	record_forget(c->mediator, name);
	for (t = tenant_from_id(c->mediator, 0); t; t = tenant_after(t)) {
		record_tenant_name(t, its);
		if (t->vm[0] && !t->removed && strcmp(its, name) == 0)
			inventory_tenant_forgotten(t);
	}
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field backup_fields[] = {
	{ "path", CONTROL_STRING, true,
	  "The new file, which must not exist; absolute, as the mediator sees it." },
	{ 0 },
};
static const struct control_field usage_fields[] = {
	{ "name", CONTROL_STRING, false,
	  "As the store calls a tenant: uid-1000, or name- and its name. All, if it is not said." },
	{ "by", CONTROL_STRING, false, "minute, hour (if it is not said) or day." },
	{ "from", CONTROL_INTEGER, false, "Seconds since 1970 (UTC)." },
	{ "to", CONTROL_INTEGER, false, "The first second that is not asked for." },
	{ "most", CONTROL_INTEGER, false, "The most rows, the oldest first." },
	{ 0 },
};
static const struct control_field audit_fields[] = {
	{ "subject", CONTROL_STRING, false, "A pool's name, or a tenant's as the store calls it." },
	{ "below", CONTROL_INTEGER, false, "Only rows of a smaller number: the next page." },
	{ "most", CONTROL_INTEGER, false, "The most rows (100), the newest first." },
	{ 0 },
};
static const struct control_field forget_fields[] = {
	{ "name", CONTROL_STRING, true, "As the store calls a tenant: uid-1000, or name- and its name." },
	{ 0 },
};

const struct control_operation control_store_operations[] = {
	{ "store.status", "Whether what is to be kept is kept: off, good or degraded, and why.", no_fields, 0,
	  false, status_called },
	{ "store.backup", "Copies the database to a new file while the mediator runs.", backup_fields, 0,
	  true, backup_called },
	{ "usage", "What tenants used, by minute, hour or day.", usage_fields, 0, false, usage_called },
	{ "audit", "Who changed what, from what to what.", audit_fields, 0, false, audit_called },
	{ "tenant.forget",
	  "What was set by hand for a tenant, its strikes and its usage are no longer kept. One that is "
	  "connected "
	  "keeps what it has until it has gone; a VM's follows its profile again.",
	  forget_fields, 0, true, forget_called },
	{ 0 },
};
