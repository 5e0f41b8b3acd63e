// SPDX-License-Identifier: Apache-2.0
// See the header. Pure.
#include "mediator/api/routes.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

const struct api_route api_routes[] = {
	{ API_GET, "/v1/status", "status", 200, 0 },
	{ API_GET, "/v1/gpus", "gpu.list", 200, 0 },
	{ API_GET, "/v1/capacity", "capacity", 200, 0 },
	{ API_GET, "/v1/pools", "pool.list", 200, 0 },
	{ API_POST, "/v1/pools", "pool.add", 201, 0 },
	{ API_GET, "/v1/pools/{pool}", "pool.get", 200, 0 },
	{ API_PATCH, "/v1/pools/{pool}", "pool.set", 200, 0 },
	{ API_DELETE, "/v1/pools/{pool}", "pool.remove", 200, 0 },
	{ API_GET, "/v1/profiles", "profile.list", 200, 0 },
	{ API_POST, "/v1/profiles", "profile.add", 201, 0 },
	{ API_GET, "/v1/profiles/{profile}", "profile.get", 200, 0 },
	{ API_PATCH, "/v1/profiles/{profile}", "profile.set", 200, 0 },
	{ API_DELETE, "/v1/profiles/{profile}", "profile.remove", 200, 0 },
	{ API_GET, "/v1/vms", "vm.list", 200, 0 },
	{ API_POST, "/v1/vms", "vm.add", 201, 0 },
	{ API_GET, "/v1/vms/{vm}", "vm.get", 200, 0 },
	{ API_PATCH, "/v1/vms/{vm}", "vm.set", 200, 0 },
	{ API_DELETE, "/v1/vms/{vm}", "vm.remove", 200, 0 },
	{ API_GET, "/v1/vms/{vm}/registers", "vm.registers", 200, 0 },
	{ API_GET, "/v1/vms/{vm}/use", "vm.use", 200, 0 },
	{ API_GET, "/v1/vgpus", "vgpu.list", 200, 0 },
	{ API_POST, "/v1/vgpus", "vgpu.add", 201, 0 },
	{ API_GET, "/v1/vgpus/{vgpu}", "vgpu.get", 200, 0 },
	{ API_DELETE, "/v1/vgpus/{vgpu}", "vgpu.remove", 200, 0 },
	{ API_PUT, "/v1/vgpus/{vgpu}/vm", "vgpu.assign", 200, 0 },
	{ API_DELETE, "/v1/vgpus/{vgpu}/vm", "vgpu.release", 200, 0 },
	{ API_POST, "/v1/vgpus/{vgpu}/reserve", "slot.reserve", 200, 0 },
	{ API_POST, "/v1/vgpus/{vgpu}/release", "slot.release", 200, 0 },
	{ API_PUT, "/v1/gpu/partition", "slot.partition", 200, 0 },
	{ API_GET, "/v1/tenants", "tenant.list", 200, 0 },
	{ API_GET, "/v1/tenants/{tenant}", "tenant.get", 200, 0 },
	{ API_PATCH, "/v1/tenants/{tenant}", "tenant.set", 200, 0 },
	{ API_POST, "/v1/tenants/{tenant}/disconnect", "tenant.disconnect", 200, 0 },
	{ API_POST, "/v1/tenants/{tenant}/kill", "tenant.kill", 200, 0 },
	{ API_PUT, "/v1/tenants/{tenant}/quarantine", "quarantine.add", 200, 0 },
	{ API_DELETE, "/v1/tenants/{tenant}/quarantine", "quarantine.release", 200, 0 },
	{ API_GET, "/v1/quarantines", "quarantine.list", 200, 0 },
	{ API_GET, "/v1/sessions", "session.list", 200, 0 },
	{ API_DELETE, "/v1/sessions/{session}", "session.end", 200, 0 },
	{ API_GET, "/v1/drain", "drain.get", 200, 0 },
	{ API_PUT, "/v1/drain", "drain.start", 200, 0 },
	{ API_DELETE, "/v1/drain", "drain.stop", 200, 0 },
	{ API_GET, "/v1/migration", "migrate.status", 200, 0 },
	{ API_PUT, "/v1/migration", "migrate.plan", 200, 0 },
	{ API_POST, "/v1/migration/preflight", "migrate.preflight", 200, 0 },
	{ API_POST, "/v1/migration/canary", "migrate.canary", 200, 0 },
	{ API_POST, "/v1/migration/apply", "migrate.apply", 200, 0 },
	{ API_POST, "/v1/migration/rollback", "migrate.rollback", 200, 0 },
	{ API_GET, "/v1/strikes", "strike.list", 200, 0 },
	{ API_GET, "/v1/history", "history", 200, 0 },
	{ API_GET, "/v1/usage", "usage", 200, 0 },
	{ API_GET, "/v1/audit", "audit", 200, 0 },
	{ API_DELETE, "/v1/records/{name}", "tenant.forget", 200, 0 },
	{ API_GET, "/v1/events", "events", 200, API_EVENTS },
	{ API_GET, "/v1/self", "self", 200, 0 },
	{ API_GET, "/v1/config", "config", 200, 0 },
	{ API_GET, "/v1/store", "store.status", 200, 0 },
	{ API_POST, "/v1/store/backup", "store.backup", 201, 0 },
	{ API_GET, "/metrics", "metrics", 200, API_METRICS },
	{ API_GET, "/openapi.json", NULL, 200, API_DESCRIPTION },
	{ API_GET, API_PAGE_PATH, NULL, 200, API_PAGE },
	{ 0 },
};

const char *const api_without_route[] = {
	"operations", // /openapi.json says more
	NULL,
};

static const char *const method_names[API_METHODS] = {
	[API_GET] = "GET",     [API_POST] = "POST",	[API_PUT] = "PUT",
	[API_PATCH] = "PATCH", [API_DELETE] = "DELETE",
};

const char *api_method_name(enum api_method method)
{
	return method_names[method];
}

enum api_method api_method_find(const char *name)
{
	if (strcmp(name, "HEAD") == 0)
		return API_GET;
	for (unsigned i = 0; i < API_METHODS; i++) {
		if (strcmp(method_names[i], name) == 0)
			return i;
	}
	return API_METHODS;
}

void api_print_methods(unsigned methods, char *ret, size_t n)
{
	size_t at = 0;

	ret[0] = 0;
	for (unsigned i = 0; i < API_METHODS && at < n; i++) {
		if (methods & 1u << i)
			at += (size_t)snprintf(ret + at, n - at, "%s%s%s", at ? ", " : "", method_names[i],
					       i == API_GET ? ", HEAD" : "");
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool api_unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		unsigned char c = (unsigned char)*from;

		if (c == '%') {
			int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);

			if (low < 0)
				return false;
			c = (unsigned char)(high << 4 | low);
			from += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return false;
		*to++ = (char)c;
	}
	*to = 0;
	return true;
}

bool api_part_is_field(const char *part, size_t n)
{
	return n > 2 && part[0] == '{' && part[n - 1] == '}';
}

// The value of a part in braces. False: it cannot be one.
static bool take_part(struct api_match *m, const char *name, size_t n_name, const char *value, size_t n_value)
{
	if (!n_value || n_value >= API_PART_BYTES || m->n_parts == API_MOST_PARTS)
		return false;
	snprintf(m->parts[m->n_parts].name, API_PART_BYTES, "%.*s", (int)n_name, name);
	snprintf(m->parts[m->n_parts].value, API_PART_BYTES, "%.*s", (int)n_value, value);
	return api_unescape(m->parts[m->n_parts++].value);
}

static bool path_fits(const char *pattern, const char *path, struct api_match *m)
{
	m->n_parts = 0;
	while (*pattern == '/' && *path == '/') {
		size_t p, n;

		pattern++;
		path++;
		p = strcspn(pattern, "/");
		n = strcspn(path, "/");
		if (api_part_is_field(pattern, p)) {
			if (!take_part(m, pattern + 1, p - 2, path, n))
				return false;
		} else if (p != n || memcmp(pattern, path, n) != 0) {
			return false;
		}
		pattern += p;
		path += n;
	}
	return !*pattern && !*path;
}

void api_match(unsigned method, const char *path, struct api_match *ret)
{
	struct api_match m = { 0 };
	unsigned methods = 0;

	*ret = m;
	for (const struct api_route *r = api_routes; r->path; r++) {
		if (!path_fits(r->path, path, &m))
			continue;
		methods |= 1u << r->method;
		if (r->method == method) {
			*ret = m;
			ret->route = r;
		}
	}
	ret->methods = methods;
}
