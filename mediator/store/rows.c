// SPDX-License-Identifier: Apache-2.0
// GPUs, pools, profiles, VMs, slots, tenants and the migration run: rows with a key, each kind described once
// in the table below. Runs in the store's thread.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/store/tables.h"

#define COLUMNS 13

struct column {
	enum { NONE, TEXT, REFERENCE, LONG_TEXT, NUMBER } kind; // LONG_TEXT has STORE_TEXT_BYTES
	size_t offset;						// in struct store_row
};

#define AT(field) offsetof(struct store_row, field)

// put's parameters are the key and then the columns, and so are load's results.
static const struct kind {
	const char *name;
	struct column columns[COLUMNS];
	const char *put, *json, *remove, *load;
} kinds[STORE_KINDS] = {
	[STORE_GPU] = {
		"gpu", { { TEXT, AT(gpu.name) }, { NUMBER, AT(gpu.memory_bytes) }, { REFERENCE, AT(gpu.pci) },
			 { NUMBER, AT(gpu.pci_id) } },
		// Where it is becomes known later than what it is, at each start, and is not forgotten meanwhile.
		"INSERT INTO gpu (uuid, name, memory_bytes, pci, pci_id) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT "
		"(uuid) DO UPDATE SET name = excluded.name, memory_bytes = excluded.memory_bytes, "
		"pci_id = CASE WHEN excluded.pci IS NULL THEN pci_id ELSE excluded.pci_id END, "
		"pci = coalesce(excluded.pci, pci)",
		"SELECT json_object('name', name, 'memory_bytes', memory_bytes, 'pci', pci) FROM gpu WHERE uuid = ?1",
		"DELETE FROM gpu WHERE uuid = ?1",
		"SELECT uuid, name, memory_bytes, pci, pci_id FROM gpu",
	},
	[STORE_POOL] = {
		"pool", { { REFERENCE, AT(pool.gpu) } },
		"INSERT INTO pool (name, gpu) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET gpu = excluded.gpu",
		"SELECT json_object('gpu', gpu) FROM pool WHERE name = ?1",
		"DELETE FROM pool WHERE name = ?1",
		"SELECT name, gpu FROM pool",
	},
	[STORE_PROFILE] = {
		"profile", { { NUMBER, AT(profile.memory_bytes) } },
		"INSERT INTO profile (name, memory_bytes) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET "
		"memory_bytes = excluded.memory_bytes",
		"SELECT json_object('memory_bytes', memory_bytes) FROM profile WHERE name = ?1",
		"DELETE FROM profile WHERE name = ?1",
		"SELECT name, memory_bytes FROM profile",
	},
	[STORE_VM] = {
		"vm", { { TEXT, AT(vm.name) }, { REFERENCE, AT(vm.pool) }, { REFERENCE, AT(vm.profile) },
			{ TEXT, AT(vm.personality) }, { TEXT, AT(vm.protocol) } },
		"INSERT INTO vm (uuid, name, pool, profile, personality, protocol) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
		"ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, pool = excluded.pool, "
		"profile = excluded.profile, personality = excluded.personality, protocol = excluded.protocol",
		"SELECT json_object('name', name, 'pool', pool, 'profile', profile, 'personality', personality, "
		"'protocol', protocol) FROM vm WHERE uuid = ?1",
		"DELETE FROM vm WHERE uuid = ?1",
		"SELECT uuid, name, pool, profile, personality, protocol FROM vm",
	},
	[STORE_SLOT] = {
		"slot", { { TEXT, AT(slot.gpu) }, { TEXT, AT(slot.profile) }, { NUMBER, AT(slot.number) },
			  { REFERENCE, AT(slot.vm) }, { TEXT, AT(slot.state) }, { REFERENCE, AT(slot.boot) },
			  { NUMBER, AT(slot.with_vm) } },
		"INSERT INTO slot (uuid, gpu, profile, number, vm, state, boot, with_vm) VALUES (?1, ?2, ?3, ?4, ?5, "
		"?6, ?7, ?8) ON CONFLICT (uuid) DO UPDATE SET gpu = excluded.gpu, profile = excluded.profile, "
		"number = excluded.number, vm = excluded.vm, state = excluded.state, boot = excluded.boot, "
		"with_vm = excluded.with_vm",
		// Without the state: what a stub does is not a change that somebody made.
		"SELECT json_object('gpu', gpu, 'profile', profile, 'number', number, 'vm', vm, 'reserved', "
		"json(CASE WHEN boot IS NULL THEN 'false' ELSE 'true' END)) FROM slot WHERE uuid = ?1",
		"DELETE FROM slot WHERE uuid = ?1",
		"SELECT uuid, gpu, profile, number, vm, state, boot, with_vm FROM slot",
	},
	[STORE_TENANT] = {
		"tenant", { { REFERENCE, AT(tenant.pool) } },
		"INSERT INTO tenant (name, pool, seen) VALUES (?1, ?2, unixepoch()) ON CONFLICT (name) DO UPDATE "
		"SET pool = excluded.pool",
		"SELECT json_object('pool', pool) FROM tenant WHERE name = ?1",
		"DELETE FROM tenant WHERE name = ?1",
		// The others have nothing to be remembered here.
		"SELECT name, pool FROM tenant WHERE pool IS NOT NULL",
	},
	[STORE_MIGRATION] = {
		"migration", { { TEXT, AT(migration.target) }, { TEXT, AT(migration.state) }, { NUMBER, AT(migration.began_s) },
			       { NUMBER, AT(migration.ended_s) }, { NUMBER, AT(migration.groups) },
			       { NUMBER, AT(migration.begun) }, { LONG_TEXT, AT(migration.why) } },
		"INSERT INTO migration (key, target, state, began, ended, groups, begun, why) VALUES (?1, ?2, ?3, ?4, ?5, "
		"?6, ?7, ?8) ON CONFLICT (key) DO UPDATE SET target = excluded.target, state = excluded.state, "
		"began = excluded.began, ended = excluded.ended, groups = excluded.groups, begun = excluded.begun, "
		"why = excluded.why",
		"SELECT json_object('target', target, 'state', state, 'groups', groups, 'begun', begun, 'why', "
		"substr(why, 1, 200)) FROM migration WHERE key = ?1",
		"DELETE FROM migration WHERE key = ?1",
		"SELECT key, target, state, began, ended, groups, begun, why FROM migration",
	},
	[STORE_MIGRATION_VM] = {
		"migration_vm", { { TEXT, AT(migration_vm.was) }, { NUMBER, AT(migration_vm.group) },
				  { TEXT, AT(migration_vm.state) }, { NUMBER, AT(migration_vm.since_s) },
				  { NUMBER, AT(migration_vm.moved_s) }, { NUMBER, AT(migration_vm.started_s) },
				  { NUMBER, AT(migration_vm.strikes_before) }, { NUMBER, AT(migration_vm.strikes_at_start) },
				  { TEXT, AT(migration_vm.report) }, { NUMBER, AT(migration_vm.report_s) },
				  { TEXT, AT(migration_vm.machine) }, { LONG_TEXT, AT(migration_vm.report_why) },
				  { LONG_TEXT, AT(migration_vm.why) } },
		"INSERT INTO migration_vm (vm, was, group_number, state, since, moved, started, strikes_before, "
		"strikes_at_start, report, report_at, machine, report_why, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
		"?10, ?11, ?12, ?13, ?14) ON CONFLICT (vm) DO UPDATE SET was = excluded.was, group_number = "
		"excluded.group_number, state = excluded.state, since = excluded.since, moved = excluded.moved, "
		"started = excluded.started, strikes_before = excluded.strikes_before, strikes_at_start = "
		"excluded.strikes_at_start, report = excluded.report, report_at = excluded.report_at, machine = "
		"excluded.machine, report_why = excluded.report_why, why = excluded.why",
		"SELECT json_object('was', was, 'group', group_number, 'state', state, 'report', report, 'report_why', "
		"substr(report_why, 1, 200), 'why', substr(why, 1, 200)) FROM migration_vm WHERE vm = ?1",
		"DELETE FROM migration_vm WHERE vm = ?1",
		"SELECT vm, was, group_number, state, since, moved, started, strikes_before, strikes_at_start, report, "
		"report_at, machine, report_why, why FROM migration_vm",
	},
};

static struct db_value value_of(const struct store_row *row, const struct column *c)
{
	const void *place = (const char *)row + c->offset;

	switch (c->kind) {
	case TEXT:
	case LONG_TEXT: return (struct db_value)STR(place);
	case REFERENCE: return (struct db_value)REF(place);
	case NUMBER: return (struct db_value)NUM(*(const uint64_t *)place);
	case NONE: break;
	}
	return (struct db_value){ DB_END, 0, NULL };
}

static int check(struct database *d, const struct store_row *row)
{
	for (const struct column *c = kinds[row->kind].columns; c < kinds[row->kind].columns + COLUMNS; c++) {
		if (c->kind == NUMBER && *(const uint64_t *)((const char *)row + c->offset) > INT64_MAX) {
			snprintf(d->error, sizeof(d->error), "a number is above 2^63-1");
			return -EINVAL;
		}
	}
	return 0;
}

static int record(struct database *d, const struct change *c, enum store_kind kind, const char *verb,
		  const char *key, const char *before, const char *after)
{
	char what[32];

	snprintf(what, sizeof(what), "%s.%s", kinds[kind].name, verb);
	return audit_add(d, c, what, key, before, after);
}

int rows_put(struct database *d, const struct change *c, const struct store_row *row)
{
	const struct kind *k = &kinds[row->kind];
	struct db_value values[COLUMNS + 2] = { STR(row->key) };
	char before[STORE_JSON_BYTES], after[STORE_JSON_BYTES];
	int r = check(d, row);

	for (unsigned i = 0; i < COLUMNS; i++)
		values[i + 1] = value_of(row, &k->columns[i]);
	if (r == 0)
		r = audit_json(d, before, k->json, STR(row->key));
	if (r == 0)
		r = db_run_values(d, k->put, values);
	if (r == 0)
		r = audit_json(d, after, k->json, STR(row->key));
	return r < 0 ? r : record(d, c, row->kind, "set", row->key, before, after);
}

static int remove_what_belongs(struct database *d, const struct change *c, enum store_kind kind,
			       const char *key)
{
	int64_t id;
	int r;

	if (kind == STORE_POOL)
		return limits_remove(d, c, STORE_OF_POOL, key);
	if (kind == STORE_PROFILE)
		return limits_remove(d, c, STORE_OF_PROFILE, key);
	if (kind != STORE_TENANT)
		return 0;
	r = db_number(d, &id, "SELECT id FROM tenant WHERE name = ?1", STR(key));
	if (r > 0)
		r = tenants_remove(d, id);
	return r < 0 ? r : limits_remove(d, c, STORE_OF_TENANT, key);
}

int rows_remove(struct database *d, const struct change *c, enum store_kind kind, const char *key)
{
	char before[STORE_JSON_BYTES];
	int r = audit_json(d, before, kinds[kind].json, STR(key));

	if (r < 0)
		return r;
	if (!before[0]) {
		snprintf(d->error, sizeof(d->error), "there is no such %s", kinds[kind].name);
		return -ENOENT;
	}
	r = remove_what_belongs(d, c, kind, key);
	if (r == 0)
		r = db_run(d, kinds[kind].remove, STR(key));
	if (r == -ENOENT) { // a reference, here to what was to go
		snprintf(d->error, sizeof(d->error), "something refers to this %s", kinds[kind].name);
		r = -EBUSY;
	}
	return r < 0 ? r : record(d, c, kind, "remove", key, before, "");
}

static void fill(struct store_row *row, const struct kind *k, sqlite3_stmt *s)
{
	db_text(s, 0, row->key, sizeof(row->key));
	for (int i = 0; i < COLUMNS; i++) {
		void *place = (char *)row + k->columns[i].offset;

		if (k->columns[i].kind == NUMBER)
			*(uint64_t *)place = db_unsigned(s, i + 1);
		else if (k->columns[i].kind == LONG_TEXT)
			db_text(s, i + 1, place, STORE_TEXT_BYTES);
		else if (k->columns[i].kind != NONE)
			db_text(s, i + 1, place, STORE_NAME_BYTES);
	}
}

int rows_load(struct database *d, void (*found)(void *opaque, const struct store_row *row), void *opaque)
{
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		sqlite3_stmt *s;
		int r = db_ask(d, &s, kinds[kind].load);

		while (r >= 0 && (r = db_next(d, s)) > 0) {
			struct store_row row = { .kind = kind };

			fill(&row, &kinds[kind], s);
			found(opaque, &row);
		}
		if (r < 0)
			return r;
	}
	return 0;
}
