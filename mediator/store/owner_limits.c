// SPDX-License-Identifier: Apache-2.0
// Limits that were set by hand, of pools, profiles and tenants. Runs in the store's thread.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/store/tables.h"

static const char *const scopes[STORE_SCOPES] = {
	[STORE_OF_POOL] = "pool",
	[STORE_OF_PROFILE] = "profile",
	[STORE_OF_TENANT] = "tenant",
};

static int find_scope(const char *word)
{
	for (int i = 0; i < STORE_SCOPES; i++) {
		if (strcmp(scopes[i], word) == 0)
			return i;
	}
	return -1;
}

// All of an owner's limits, since one alone says little. No row when there are none.
static int json(struct database *d, char ret[STORE_JSON_BYTES], enum store_scope scope, const char *owner)
{
	return audit_json(d, ret,
			  "SELECT json_group_object(name, value) FROM (SELECT name, value FROM limits WHERE "
			  "scope = ?1 AND owner = ?2 ORDER BY name) HAVING count(*) > 0",
			  STR(scopes[scope]), STR(owner));
}

static int change_limit(struct database *d, const struct store_limits *l, const struct store_limit *limit)
{
	if (limit->unset)
		return db_run(d, "DELETE FROM limits WHERE scope = ?1 AND owner = ?2 AND name = ?3",
			      STR(scopes[l->scope]), STR(l->owner), STR(limit->name));
	if (limit->value > INT64_MAX) {
		snprintf(d->error, sizeof(d->error), "a limit is above 2^63-1");
		return -EINVAL;
	}
	return db_run(
	    d,
	    "INSERT INTO limits (scope, owner, name, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (scope, "
	    "owner, name) DO UPDATE SET value = excluded.value",
	    STR(scopes[l->scope]), STR(l->owner), STR(limit->name), NUM(limit->value));
}

static int record(struct database *d, const struct change *c, enum store_scope scope, const char *owner,
		  const char *before)
{
	char after[STORE_JSON_BYTES], what[32];
	int r = json(d, after, scope, owner);

	if (r < 0)
		return r;
	snprintf(what, sizeof(what), "%s.limits", scopes[scope]);
	return audit_add(d, c, what, owner, before, after);
}

int limits_set(struct database *d, const struct change *c, const struct store_limits *limits)
{
	char before[STORE_JSON_BYTES];
	int r = json(d, before, limits->scope, limits->owner);

	for (uint32_t i = 0; r == 0 && i < limits->n; i++)
		r = change_limit(d, limits, &limits->list[i]);
	return r < 0 ? r : record(d, c, limits->scope, limits->owner, before);
}

int limits_remove(struct database *d, const struct change *c, enum store_scope scope, const char *owner)
{
	char before[STORE_JSON_BYTES];
	int r = json(d, before, scope, owner);

	if (r == 0)
		r = db_run(d, "DELETE FROM limits WHERE scope = ?1 AND owner = ?2", STR(scopes[scope]),
			   STR(owner));
	return r < 0 ? r : record(d, c, scope, owner, before);
}

static int load_owner(struct database *d, struct store_limits *l)
{
	sqlite3_stmt *s;
	int r = db_ask(d, &s, "SELECT name, value FROM limits WHERE scope = ?1 AND owner = ?2 LIMIT ?3",
		       STR(scopes[l->scope]), STR(l->owner), NUM(STORE_MOST_LIMITS));

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_limit *limit = &l->list[l->n++];

		db_text(s, 0, limit->name, sizeof(limit->name));
		limit->value = db_unsigned(s, 1);
	}
	return r;
}

int limits_load(struct database *d, void (*found)(void *opaque, const struct store_limits *limits),
		void *opaque)
{
	sqlite3_stmt *s;
	int r = db_ask(d, &s, "SELECT DISTINCT scope, owner FROM limits");

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_limits l = { 0 };
		char scope[16];
		int i;

		db_text(s, 0, scope, sizeof(scope));
		db_text(s, 1, l.owner, sizeof(l.owner));
		i = find_scope(scope);
		if (i < 0)
			continue;
		l.scope = (enum store_scope)i;
		r = load_owner(d, &l);
		if (r < 0) {
			db_end(s);
			break;
		}
		found(opaque, &l);
	}
	return r;
}
