// SPDX-License-Identifier: Apache-2.0
// The [pool NAME] and [profile NAME] sections of the mediator's settings; see settings.h. Runs in the
// mediator before the loop starts.
#include <errno.h>
#include <string.h>

#include "mediator/settings.h"

#define DEFAULT_POOL "default"

bool settings_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n && n <= VGPU_MAX_POLICY_NAME &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

static struct named_policy *find(struct named_policy *list, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	}
	return NULL;
}

const struct named_policy *settings_profile(const struct settings *s, const char *name)
{
	return find((struct named_policy *)s->profiles, s->n_profiles, name);
}

static struct named_policy *find_or_add(struct named_policy *list, unsigned *n, unsigned most,
					const char *name)
{
	struct named_policy *p = find(list, *n, name);

	if (p || *n == most)
		return p;
	p = &list[(*n)++];
	memcpy(p->name, name, strlen(name) + 1);
	policy_init(&p->policy);
	return p;
}

int settings_set_named(struct settings *s, const char *section, const char *key, const char *value,
		       char *error, size_t error_bytes)
{
	bool is_pool = strncmp(section, "pool ", 5) == 0;
	const char *name = section + (is_pool ? 5 : 8);
	unsigned whom = is_pool ? POLICY_FOR_POOL : POLICY_FOR_PROFILE;
	struct named_policy *p;
	char why[200];
	int item;

	if (!is_pool && strncmp(section, "profile ", 8) != 0)
		return -ENOENT;
	if (!settings_name_is_valid(name)) {
		snprintf(error, error_bytes, "[%.80s]: a name is 1 to %d of A-Z a-z 0-9 _ -", section,
			 VGPU_MAX_POLICY_NAME);
		return -EINVAL;
	}
	p = is_pool ? find_or_add(s->pools, &s->n_pools, VGPU_MAX_POOLS - 1, name) // and the default one
		    : find_or_add(s->profiles, &s->n_profiles, VGPU_MAX_PROFILES, name);
	if (!p) {
		snprintf(error, error_bytes, "[%s]: there are too many of them (%s)", section,
			 is_pool ? "VGPU_MAX_POOLS" : "VGPU_MAX_PROFILES");
		return -EINVAL;
	}
	item = policy_find(key, whom);
	if (item < 0) {
		snprintf(error, error_bytes, "unknown setting '%.60s.%.60s' (--help-settings lists them)",
			 section, key);
		return -EINVAL;
	}
	p->source = s->from;
	if (policy_set_text(&p->policy, (enum policy_item)item, value, why, sizeof(why)) == 0)
		return 0;
	snprintf(error, error_bytes, "[%s] %s", section, why);
	return -EINVAL;
}

static int check_one(const char *kind, const struct named_policy *p, char *error, size_t error_bytes)
{
	const uint32_t both = 1u << POLICY_WEIGHT | 1u << POLICY_PRIORITY;

	if ((p->policy.given & both) != both)
		return 0;
	snprintf(error, error_bytes, "[%s %s]: weight and priority are two words for one thing", kind,
		 p->name);
	return -EINVAL;
}

int settings_check_named(const struct settings *s, char *error, size_t error_bytes)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < s->n_pools; i++)
		r = check_one("pool", &s->pools[i], error, error_bytes);
	for (unsigned i = 0; r == 0 && i < s->n_profiles; i++)
		r = check_one("profile", &s->profiles[i], error, error_bytes);
	if (r < 0)
		return r;
	if (s->tenant_profile[0] && !settings_profile(s, s->tenant_profile)) {
		snprintf(error, error_bytes, "tenant.profile: there is no [profile %.60s]",
			 s->tenant_profile);
		return -EINVAL;
	}
	if (strcmp(s->tenant_pool, DEFAULT_POOL) != 0 &&
	    !find((struct named_policy *)s->pools, s->n_pools, s->tenant_pool)) {
		snprintf(error, error_bytes, "tenant.pool: there is no [pool %.60s]", s->tenant_pool);
		return -EINVAL;
	}
	return 0;
}
