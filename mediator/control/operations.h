// SPDX-License-Identifier: Apache-2.0
// Operations: what operators can ask and change, over the control socket and over the HTTP API. Each file
// that has some exports a list of them, ended by one without a name; operations.c has the table of lists. A
// request comes to its handler checked: allowed to who asks, fields known, required ones there, types right,
// policy values in range.
#ifndef VGPU_MEDIATOR_CONTROL_OPERATIONS_H
#define VGPU_MEDIATOR_CONTROL_OPERATIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "mediator/limit/policy.h"
#include "mediator/store/store.h"

struct mediator;
struct tenant;
struct pool;

enum control_type {
	CONTROL_STRING,
	CONTROL_NAME,	// of a pool or profile
	CONTROL_TENANT, // its id (integer) or its name, if one tenant only has that
	CONTROL_INTEGER,
	CONTROL_BOOLEAN,
};

struct control_field {
	const char *name; // NULL ends a list
	enum control_type type;
	bool required;
	const char *help;
};

// Each may what those before it may.
enum control_role {
	CONTROL_STRANGER,
	CONTROL_VIEWER, // operations that change nothing
	CONTROL_ADMIN,
};

struct control_later; // an answer that waits for something

// One of the ways in; how answers that come later find their connection.
struct control_door {
	// The connection waits for that answer; NULL: not any more.
	void (*await)(void *link, struct control_later *l);
	void (*answer)(void *link, json_t *answer); // it is there; takes it over
};

// Who asks.
struct control_peer {
	enum control_role role;
	char who[STORE_WHO_BYTES]; // for the log and the audit: user or token, and door
	const struct control_door *door;
	void *link; // the door's connection; for answers that come later
};

struct control_call {
	struct mediator *mediator;
	const struct control_peer *peer;
	const json_t *request;
	struct policy policy; // what was given of the operation's policy fields
	json_t *answer;	      // an object for the handler to add to
	const char *error;    // CONTROL_E_*; NULL: ok
	bool later;	      // a handler took control_later()
	bool again;	      // and will be called again
	const struct control_operation *operation;
	char text[256];
};

struct control_operation {
	const char *name; // NULL ends a list
	const char *help;
	const struct control_field *fields;
	unsigned policy; // enum policy_for: fields of mediator/limit/policy.def that are taken too
	bool changes;	 // something: for admins only, and worth a line in the log
	void (*handler)(struct control_call *c);
};

extern const struct control_operation control_status_operations[];
extern const struct control_operation control_pool_operations[];
extern const struct control_operation control_tenant_operations[];
extern const struct control_operation control_watch_operations[];
extern const struct control_operation control_store_operations[];
extern const struct control_operation control_history_operations[];
extern const struct control_operation control_gpu_operations[];
extern const struct control_operation control_profile_operations[];
extern const struct control_operation control_config_operations[];
extern const struct control_operation control_event_operations[];
extern const struct control_operation control_metrics_operations[];
extern const struct control_operation control_vm_operations[];
extern const struct control_operation control_vgpu_operations[];
extern const struct control_operation control_slot_operations[];
extern const struct control_operation control_drain_operations[];
extern const struct control_operation control_session_operations[];
extern const struct control_operation control_migrate_operations[];

// The request of len bytes, from anybody: a new object. NULL with the answer that says what is wrong with it.
json_t *control_parse(struct mediator *m, const char *text, size_t len, json_t **ret_error);
// Answers a request, "op" and its fields: a new object, {"ok": true, ...} or as control_error(). NULL without
// memory or, then later is set, when control_finish() will answer.
json_t *control_perform(struct mediator *m, const struct control_peer *peer, const json_t *request,
			bool *later);
// Both, for doors that have the request as text.
json_t *control_answer(struct mediator *m, const struct control_peer *peer, const char *line, size_t len,
		       bool *later);
json_t *control_error(const char *error, const char *text);

// ---- answers that wait for something. The connection is not read meanwhile; it may go.

// Takes c->answer over; NULL without memory (then the error is said).
struct control_later *control_later(struct control_call *c);
// Within the handler: the answer comes now after all.
void control_not_later(struct control_call *c, struct control_later *l);
json_t *control_later_answer(struct control_later *l); // to add to
// Sends the answer, or the error if there is one, and frees l. Not within the handler.
void control_finish(struct control_later *l, const char *error, const char *text);
// Doors: the connection that waits is gone.
void control_later_gone(struct control_later *l);
// The connection that waits for it (of c's peer), which the answer no longer belongs to: into c, as if its
// handler had just been called. False: the connection has gone. Frees l.
bool control_not_later_any_more(struct control_later *l, struct control_call *c);

// ---- for doors and documentation

// NULL: there is none of that name.
const struct control_operation *control_find(const char *name);
void control_each(void (*each)(void *opaque, const struct control_operation *o), void *opaque);
const char *control_type_name(enum control_type type);

// ---- for handlers

__attribute__((format(printf, 3, 4))) void control_fail(struct control_call *c, const char *error,
							const char *format, ...);
// NULL: the field is not there.
const char *control_text(const struct control_call *c, const char *field);
// The tenant or pool that the field names; NULL with the error said.
struct tenant *control_tenant(struct control_call *c, const char *field);
struct pool *control_pool(struct control_call *c, const char *field);
// Whether what the card is is known. False: the handler returns, and is called again when it is, or the error
// was said.
bool control_device_known(struct control_call *c);
// As status shows them.
json_t *control_describe_tenant(struct tenant *t, uint64_t now_ns);
json_t *control_describe_pool(struct pool *p, uint64_t now_ns);
void control_add_drain(json_t *to, struct mediator *m);
// Up to INT64_MAX.
void control_set_count(json_t *to, const char *name, uint64_t value);
// Adds the values of the items for whom, in base units and percent.
void control_add_policy(json_t *to, const struct policy *p, unsigned whom);
// Only those that were given.
void control_add_given(json_t *to, const struct policy *p, unsigned whom);

#endif
