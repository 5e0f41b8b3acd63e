// SPDX-License-Identifier: Apache-2.0
// The description of the API (OpenAPI 3.1), made from the routes, the operations with their fields, the
// policy items with their ranges and the kinds of events. Runs in the mediator's loop, and for --help-api.
#include <string.h>

#include "common/limits.h"
#include "mediator/api/internal.h"
#include "mediator/event/ring.h"
#include "mediator/limit/policy.h"

#define VERSION "1"

static const struct control_operation *operation_of(const struct api_route *r)
{
	return r->operation ? control_find(r->operation) : NULL;
}

static json_t *type_schema(enum control_type type)
{
	switch (type) {
	case CONTROL_INTEGER: return json_pack("{s:s}", "type", "integer");
	case CONTROL_BOOLEAN: return json_pack("{s:s}", "type", "boolean");
	case CONTROL_TENANT: return json_pack("{s:[s, s]}", "type", "string", "integer");
	case CONTROL_NAME:
		return json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "^[A-Za-z0-9_-]+$",
				 "maxLength", VGPU_MAX_POLICY_NAME);
	default: return json_pack("{s:s}", "type", "string");
	}
}

static json_t *field_schema(const struct control_field *f)
{
	json_t *schema = type_schema(f->type);

	json_object_set_new(schema, "description", json_string(f->help));
	return schema;
}

static json_t *policy_schema(enum policy_item item)
{
	char range[100];

	policy_print_range(item, range, sizeof(range));
	return json_pack("{s:[s, s], s:s++}", "type", "number", "string", "description", policy_help(item),
			 " Range: ", range);
}

static bool is_in_path(const struct api_route *r, const char *field)
{
	char part[API_PART_BYTES];

	snprintf(part, sizeof(part), "{%s}", field);
	return strstr(r->path, part);
}

static bool takes_body(const struct api_route *r)
{
	return r->method == API_POST || r->method == API_PUT || r->method == API_PATCH;
}

static json_t *parameter(const struct control_field *f, const char *in)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", f->name, "in", in, "required",
			 strcmp(in, "path") == 0 || f->required, "schema", type_schema(f->type),
			 "description", f->help);
}

static json_t *parameters(const struct api_route *r, const struct control_operation *o)
{
	json_t *list = json_array();

	for (const struct control_field *f = o->fields; f->name; f++) {
		if (is_in_path(r, f->name))
			json_array_append_new(list, parameter(f, "path"));
		else if (!takes_body(r))
			json_array_append_new(list, parameter(f, "query"));
	}
	if (r->serves == API_EVENTS)
		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:b, s:{s:s}, s:s}", "name", "Last-Event-ID", "in", "header",
				    "required", 0, "schema", "type", "integer", "description",
				    "Of a stream: those after this event. Else from now on."));
	return list;
}

static json_t *body(const struct api_route *r, const struct control_operation *o)
{
	json_t *properties = json_object(), *required = json_array(), *schema;
	bool needed;

	for (const struct control_field *f = o->fields; f->name; f++) {
		if (is_in_path(r, f->name))
			continue;
		json_object_set_new(properties, f->name, field_schema(f));
		if (f->required)
			json_array_append_new(required, json_string(f->name));
	}
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (o->policy && policy_is_for(i, o->policy))
			json_object_set_new(properties, policy_name(i), policy_schema(i));
	}
	needed = json_array_size(required);
	schema = json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required",
			   required, "additionalProperties", 0);
	return json_pack("{s:b, s:{s:{s:o}}}", "required", needed, "content", "application/json", "schema",
			 schema);
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s:{s:o}}", type, "schema", schema);
}

static json_t *answers(const struct api_route *r)
{
	json_t *problem =
	    json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", "What is wrong.", "content",
		      "application/problem+json", "schema", "$ref", "#/components/schemas/problem");
	static const char *const types[] = {
		[API_OPERATION] = "application/json",
		[API_EVENTS] = "application/json",
		[API_DESCRIPTION] = "application/json",
		[API_METRICS] = "text/plain",
		[API_PAGE] = "text/html",
	};
	bool is_text = r->serves == API_METRICS || r->serves == API_PAGE;
	json_t *good = content(types[r->serves], json_pack("{s:s}", "type", is_text ? "string" : "object"));
	char status[12];

	snprintf(status, sizeof(status), "%u", r->status);
	if (r->serves == API_EVENTS)
		json_object_set_new(good, "text/event-stream",
				    json_pack("{s:{s:s}}", "schema", "type", "string"));
	return json_pack("{s:{s:s, s:o}, s:o}", status, "description", "It is done.", "content", good,
			 "default", problem);
}

static json_t *describe_route(const struct api_route *r)
{
	const struct control_operation *o = operation_of(r);
	json_t *d = json_object();

	if (o) {
		json_object_set_new(d, "operationId", json_string(o->name));
		json_object_set_new(d, "description", json_string(o->help));
		json_object_set_new(d, "x-role", json_string(o->changes ? "admin" : "viewer"));
		json_object_set_new(d, "parameters", parameters(r, o));
		if (takes_body(r))
			json_object_set_new(d, "requestBody", body(r, o));
	} else {
		json_object_set_new(
		    d, "description",
		    json_string(r->serves == API_PAGE ? "The web page." : "This description."));
		json_object_set_new(d, "x-role", json_string("viewer"));
	}
	json_object_set_new(d, "responses", answers(r));
	return d;
}

static json_t *paths(void)
{
	static const char *const words[API_METHODS] = {
		[API_GET] = "get",     [API_POST] = "post",	[API_PUT] = "put",
		[API_PATCH] = "patch", [API_DELETE] = "delete",
	};
	json_t *all = json_object();

	for (const struct api_route *r = api_routes; r->path; r++) {
		json_t *path = json_object_get(all, r->path);

		if (!path) {
			path = json_object();
			json_object_set_new(all, r->path, path);
		}
		json_object_set_new(path, words[r->method], describe_route(r));
	}
	return all;
}

static json_t *event_kinds(void)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < EVENT_KINDS; i++)
		json_object_set_new(all, event_word(i), json_string(event_help(i)));
	return all;
}

static json_t *components(void)
{
	json_t *properties =
	    json_pack("{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:s}}", "type", "type", "string", "title",
		      "type", "string", "status", "type", "integer", "detail", "type", "string", "error",
		      "type", "string", "description",
		      "json, operation, field, value, unknown, state, gpu, limit, permission "
		      "or internal.");
	json_t *problem = json_pack("{s:s, s:o, s:[s, s, s, s, s]}", "type", "object", "properties",
				    properties, "required", "type", "title", "status", "detail", "error");

	return json_pack("{s:{s:o}, s:{s:{s:s, s:s, s:s}}}", "schemas", "problem", problem, "securitySchemes",
			 "token", "type", "http", "scheme", "bearer", "description",
			 "Over TCP. On the unix socket the kernel says who asks.");
}

json_t *api_describe(void)
{
	json_t *info = json_pack(
	    "{s:s, s:s, s:s}", "title", "vgpu-mediator", "version", VERSION, "description",
	    "Sizes are bytes and times nanoseconds, but for names with a unit (_s, _ms). In requests numbers "
	    "can be "
	    "strings with units (\"4G\", \"8 ms\"). x-role is who may: admin, or viewer and admin.");

	return json_pack("{s:s, s:o, s:[{}, {s:[]}], s:o, s:o, s:o}", "openapi", "3.1.0", "info", info,
			 "security", "token", "paths", paths(), "components", components(), "x-event-kinds",
			 event_kinds());
}

void api_print_description(FILE *out)
{
	json_t *all = api_describe();

	json_dumpf(all, out, JSON_INDENT(2));
	fputc('\n', out);
	json_decref(all);
}
