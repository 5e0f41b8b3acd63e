// SPDX-License-Identifier: Apache-2.0
// Tenants as usage and strikes name them, and what grows old of them. Runs in the store's thread.
#include <stdio.h>

#include "common/limits.h"
#include "mediator/store/tables.h"

#define DAY_S  86400
#define SEEN_S 3600 // how exact "seen" is

// Stands for those that are too many. No tenant has the name: theirs have a prefix.
#define OTHERS "others"

static int make(struct database *d, const char *name, int64_t now_s, int64_t *ret)
{
	int r = db_run(d, "INSERT INTO tenant (name, seen) VALUES (?1, ?2)", STR(name), NUM(now_s));

	if (r == 0)
		*ret = sqlite3_last_insert_rowid(d->db);
	return r;
}

static int find(struct database *d, const char *name, int64_t *ret)
{
	return db_number(d, ret, "SELECT id FROM tenant WHERE name = ?1", STR(name));
}

int tenants_id(struct database *d, const char *name, int64_t now_s, int64_t *ret)
{
	int64_t count;
	int r = find(d, name, ret);

	if (r > 0)
		return db_run(d, "UPDATE tenant SET seen = ?2 WHERE id = ?1 AND seen < ?2 - ?3", NUM(*ret),
			      NUM(now_s), NUM(SEEN_S));
	if (r == 0)
		r = db_number(d, &count, "SELECT count(*) FROM tenant");
	if (r < 0)
		return r;
	if (count < VGPU_MAX_STORED_TENANTS)
		return make(d, name, now_s, ret);
	r = find(d, OTHERS, ret);
	if (r < 0)
		return r;
	return r > 0 ? 0 : make(d, OTHERS, now_s, ret);
}

int tenants_remove(struct database *d, int64_t id)
{
	int r = db_run(d, "DELETE FROM usage_minute WHERE tenant = ?1", NUM(id));

	r = r < 0 ? r : db_run(d, "DELETE FROM usage_hour WHERE tenant = ?1", NUM(id));
	r = r < 0 ? r : db_run(d, "DELETE FROM usage_day WHERE tenant = ?1", NUM(id));
	r = r < 0 ? r : db_run(d, "DELETE FROM use_library WHERE tenant = ?1", NUM(id));
	r = r < 0 ? r : db_run(d, "DELETE FROM use_feature WHERE tenant = ?1", NUM(id));
	r = r < 0 ? r : db_run(d, "DELETE FROM strike WHERE tenant = ?1", NUM(id));
	r = r < 0 ? r : db_run(d, "DELETE FROM strike_count WHERE tenant = ?1", NUM(id));
	r = r < 0 ? r : db_run(d, "DELETE FROM quarantine WHERE tenant = ?1", NUM(id));
	return r < 0 ? r : db_run(d, "DELETE FROM tenant WHERE id = ?1", NUM(id));
}

// It has nothing left, and nobody set anything for it.
static int remove_forgotten(struct database *d, int64_t id, int64_t before_s)
{
	int64_t forgotten;
	int r = db_number(d, &forgotten,
			  "SELECT 1 FROM tenant t WHERE id = ?1 AND seen < ?2 AND pool IS NULL "
			  "AND NOT EXISTS (SELECT 1 FROM limits WHERE scope = 'tenant' AND owner = t.name) "
			  "AND NOT EXISTS (SELECT 1 FROM quarantine WHERE tenant = ?1 AND ended IS NULL) "
			  "AND NOT EXISTS (SELECT 1 FROM usage_day WHERE tenant = ?1) "
			  "AND NOT EXISTS (SELECT 1 FROM usage_hour WHERE tenant = ?1) "
			  "AND NOT EXISTS (SELECT 1 FROM usage_minute WHERE tenant = ?1)",
			  NUM(id), NUM(before_s));

	return r > 0 ? tenants_remove(d, id) : r;
}

static int64_t cutoff(int64_t now_s, uint32_t days)
{
	return days ? now_s - (int64_t)days * DAY_S : INT64_MIN;
}

int tenants_prune(struct database *d, const struct store_config *keep, int64_t now_s, int64_t *id)
{
	int64_t audit_s = cutoff(now_s, keep->audit_days);
	int r = db_number(d, id, "SELECT id FROM tenant WHERE id > ?1 ORDER BY id LIMIT 1", NUM(*id));

	if (r <= 0) {
		*id = 0;
		return r;
	}
	r = db_run(d, "DELETE FROM usage_minute WHERE tenant = ?1 AND at < ?2", NUM(*id),
		   NUM(cutoff(now_s, keep->minutes_days)));
	r = r < 0 ? r
		  : db_run(d, "DELETE FROM usage_hour WHERE tenant = ?1 AND at < ?2", NUM(*id),
			   NUM(cutoff(now_s, keep->hours_days)));
	r = r < 0 ? r
		  : db_run(d, "DELETE FROM usage_day WHERE tenant = ?1 AND at < ?2", NUM(*id),
			   NUM(cutoff(now_s, keep->days_days)));
	r = r < 0 ? r : db_run(d, "DELETE FROM strike WHERE tenant = ?1 AND at < ?2", NUM(*id), NUM(audit_s));
	r = r < 0 ? r
		  : db_run(d, "DELETE FROM quarantine WHERE tenant = ?1 AND ended < ?2", NUM(*id),
			   NUM(audit_s));
	return r < 0 ? r : remove_forgotten(d, *id, cutoff(now_s, keep->days_days));
}
