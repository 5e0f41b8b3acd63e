// SPDX-License-Identifier: Apache-2.0
// What the subcommands of vgpu-admin cloudstack that ask CloudStack's API share. The subcommands themselves
// are listed in admin/cmd_cloudstack.c.
#ifndef VGPU_ADMIN_CLOUDSTACK_CLOUDSTACK_H
#define VGPU_ADMIN_CLOUDSTACK_CLOUDSTACK_H

#include <jansson.h>

#include "admin/call.h"
#include "admin/cloudstack/api_client.h"

#define CLOUDSTACK_CONFIG_OPTION                                                       \
	{ "config",                                                                    \
	  "FILE",                                                                      \
	  NULL,                                                                        \
	  TYPE_TEXT,                                                                   \
	  NAMES_FILE,                                                                  \
	  NULL,                                                                        \
	  "Where CloudStack's API is and with whose keys. Nobody else may be able to " \
	  "read it. Default: " CONFIG_PATH "." }

struct cloudstack {
	struct admin_call *call;
	struct config config;
	struct api *api;
};

// Reads the configuration and asks nobody yet. It is to be ended in either case.
enum admin_exit cloudstack_begin(struct cloudstack *cs, struct admin_call *call);
void cloudstack_end(struct cloudstack *cs);

// All lists are arrays, to be given back when the result is ADMIN_OK.
enum admin_exit cloudstack_hosts(struct cloudstack *cs, json_t **ret);
// The host by its name, address or id; NULL: this one (host of the configuration, else as it calls itself).
enum admin_exit cloudstack_host(struct cloudstack *cs, const char *name, json_t **ret);
enum admin_exit cloudstack_devices(struct cloudstack *cs, const json_t *host, json_t **ret);
// A list of the mediator's: "/v1/vgpus" and the field "vgpus".
enum admin_exit cloudstack_mediator_list(struct cloudstack *cs, const char *path, const char *field,
					 json_t **ret);
// Asks, unless --yes was said.
enum admin_exit cloudstack_confirm(const struct cloudstack *cs, const char *question);
void cloudstack_print_json(const struct cloudstack *cs, const json_t *object);

// A field's text; "" if it has none. Belongs to the object.
const char *cloudstack_text(const json_t *object, const char *field);

// The actions.
int cloudstack_status(struct admin_call *c);
int cloudstack_setup(struct admin_call *c);
int cloudstack_usage(struct admin_call *c);
int cloudstack_drain(struct admin_call *c);
int cloudstack_prune(struct admin_call *c);
int cloudstack_reconcile(struct admin_call *c);

#endif
