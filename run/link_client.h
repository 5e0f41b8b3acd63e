// SPDX-License-Identifier: Apache-2.0
// A small blocking client of the mediator's socket for operators: hello, make a tenant, ask for the status.
// Used by vgpu-run and vgpu-demo. Every wait is bounded (LINK_CLIENT_WAIT_S).
#ifndef VGPU_RUN_LINK_CLIENT_H
#define VGPU_RUN_LINK_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/host/link.h"

#define LINK_CLIENT_WAIT_S 10

struct link_client {
	int fd; // -1: not connected
	uint32_t cookie;
	char error[LINK_TEXT_BYTES + 64]; // why the last call failed
};

struct link_report {
	struct link_status_row *rows; // n_rows of them
	size_t n_rows;
	struct link_status_end end;
};

// Connects and says hello. 0; -errno of connect() when nobody answers there; -EPROTO when the mediator
// refuses or answers nonsense. error is set, c->fd is -1 then.
int link_client_open(struct link_client *c, const char *path);
void link_client_close(struct link_client *c);

// Makes a tenant that lives as long as this connection; ret_path: where its programs connect. 0; -EPERM if
// this user may not; -EPROTO for any other refusal, with error.
int link_client_make_tenant(struct link_client *c, const char *name, uint32_t weight, uint64_t memory,
			    uint32_t *ret_id, char ret_path[static 108]);

// The same by profile and pool (NULL: none said). weight 0, memory LINK_AS_PROFILE: as the profile says.
int link_client_make_tenant_as(struct link_client *c, const char *name, const char *profile, const char *pool,
			       uint32_t weight, uint64_t memory, uint32_t *ret_id, char ret_path[static 108]);

// All tenants. The rows are the caller's (link_report_done). As link_client_make_tenant.
int link_client_status(struct link_client *c, struct link_report *ret);
void link_report_done(struct link_report *r);

// The row of a tenant, NULL if there is none.
const struct link_status_row *link_report_find(const struct link_report *r, uint32_t tenant_id);

#endif
