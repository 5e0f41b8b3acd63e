// SPDX-License-Identifier: Apache-2.0
// Blocking operator's client; see the header. Runs in vgpu-run and vgpu-demo.
#include "run/link_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"

#define MAX_ROWS 65536

union answer {
	struct link_header header;
	struct link_hello_ok hello;
	struct link_tenant_ok tenant;
	struct link_status_row row;
	struct link_status_end end;
	struct link_error error;
	char bytes[LINK_MAX_PACKET];
};

static int fail(struct link_client *c, int r, const char *text)
{
	snprintf(c->error, sizeof(c->error), "%s", text);
	return r;
}

static int receive(struct link_client *c, union answer *a)
{
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	int n;

	// A mediator that took the place of another may answer something earlier once more.
	do {
		n = seqpacket_recv(c->fd, a, sizeof(*a), fds, &n_fds, 0);
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
	} while (n >= (int)sizeof(a->header) && a->header.cookie && a->header.cookie < c->cookie);
	if (n == 0)
		return fail(c, -ECONNABORTED, "the mediator closed the connection");
	if (n == -EAGAIN)
		return fail(c, -EPROTO, "the mediator does not answer");
	if (n < 0)
		return fail(c, -EPROTO, strerror(-n));
	if ((size_t)n < sizeof(a->header) || a->header.magic != LINK_MAGIC || a->header.length != (uint32_t)n)
		return fail(c, -EPROTO, "the mediator's answer is malformed");
	if (a->header.type != LINK_ERROR)
		return 0;
	if ((size_t)n != sizeof(a->error) || !memchr(a->error.text, 0, sizeof(a->error.text)))
		return fail(c, -EPROTO, "the mediator's error is malformed");
	return fail(c, a->error.code == LINK_E_PERMISSION ? -EPERM : -EPROTO, a->error.text);
}

static int expect(struct link_client *c, union answer *a, enum link_type type, size_t bytes)
{
	int r = receive(c, a);

	if (r < 0)
		return r;
	if (a->header.type != type || a->header.length != bytes || a->header.cookie != c->cookie)
		return fail(c, -EPROTO, "the mediator's answer belongs to something else");
	return 0;
}

static struct link_header header(struct link_client *c, enum link_type type, size_t bytes)
{
	return (struct link_header){ LINK_MAGIC, (uint16_t)type, 0, (uint32_t)bytes, ++c->cookie };
}

static int send_packet(struct link_client *c, const void *packet, size_t bytes)
{
	int r = seqpacket_send(c->fd, packet, bytes, NULL, 0, 0);

	// A refusal may already wait in the socket: reading it explains more than the failed send.
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return fail(c, -EPROTO, strerror(-r));
	return 0;
}

static int greet(struct link_client *c, const char *path)
{
	struct timeval wait = { .tv_sec = LINK_CLIENT_WAIT_S };
	struct link_hello hello;
	union answer a;
	int r;

	*c = (struct link_client){ .fd = -1 };
	r = seqpacket_connect_within(path, LINK_CLIENT_WAIT_S * NSEC_PER_SEC);
	if (r < 0)
		return fail(c, r, strerror(-r));
	c->fd = r;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	hello = (struct link_hello){
		.header = header(c, LINK_HELLO, sizeof(hello)),
		.version_min = LINK_VERSION,
		.version_max = LINK_VERSION,
	};
	r = send_packet(c, &hello, sizeof(hello));
	if (r == 0)
		r = expect(c, &a, LINK_HELLO_OK, sizeof(a.hello));
	if (r == 0)
		return 0;
	link_client_close(c);
	return r == -ECONNABORTED ? r : -EPROTO;
}

int link_client_open(struct link_client *c, const char *path)
{
	int r = greet(c, path);

	// A mediator that is killed just then takes a connection with it that the next one knows nothing of.
	for (unsigned i = 1; i < LINK_GREETINGS && r == -ECONNABORTED; i++)
		r = greet(c, path);
	return r == -ECONNABORTED ? -EPROTO : r;
}

void link_client_close(struct link_client *c)
{
	close_fd(&c->fd);
}

static int ask_for_tenant(struct link_client *c, const void *request, uint32_t bytes, uint32_t *ret_id,
			  char ret_path[static 108])
{
	union answer a;
	int r = send_packet(c, request, bytes);

	if (r == 0)
		r = expect(c, &a, LINK_TENANT_OK, sizeof(a.tenant));
	if (r < 0)
		return r;
	if (!memchr(a.tenant.path, 0, sizeof(a.tenant.path)))
		return fail(c, -EPROTO, "the mediator's answer is malformed");
	*ret_id = a.tenant.tenant_id;
	memcpy(ret_path, a.tenant.path, sizeof(a.tenant.path));
	return 0;
}

int link_client_make_tenant(struct link_client *c, const char *name, uint32_t weight, uint64_t memory,
			    uint32_t *ret_id, char ret_path[static 108])
{
	struct link_tenant_create create = {
		.header = header(c, LINK_TENANT_CREATE, sizeof(create)),
		.weight = weight,
		.memory_quota = memory,
	};

	snprintf(create.name, sizeof(create.name), "%s", name);
	return ask_for_tenant(c, &create, sizeof(create), ret_id, ret_path);
}

int link_client_make_tenant_as(struct link_client *c, const char *name, const char *profile, const char *pool,
			       uint32_t weight, uint64_t memory, uint32_t *ret_id, char ret_path[static 108])
{
	struct link_tenant_create_as create = {
		.header = header(c, LINK_TENANT_CREATE_AS, sizeof(create)),
		.weight = weight,
		.memory_quota = memory,
	};

	snprintf(create.name, sizeof(create.name), "%s", name);
	snprintf(create.profile, sizeof(create.profile), "%s", profile ? profile : "");
	snprintf(create.pool, sizeof(create.pool), "%s", pool ? pool : "");
	return ask_for_tenant(c, &create, sizeof(create), ret_id, ret_path);
}

static int add_row(struct link_report *r, const struct link_status_row *row)
{
	struct link_status_row *grown;

	// Doubles at powers of two.
	if (!(r->n_rows & (r->n_rows - 1))) {
		grown = reallocarray(r->rows, r->n_rows ? r->n_rows * 2 : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		r->rows = grown;
	}
	r->rows[r->n_rows] = *row;
	r->rows[r->n_rows++].name[LINK_NAME_BYTES - 1] = 0;
	return 0;
}

int link_client_status(struct link_client *c, struct link_report *ret)
{
	struct link_status status = { .header = header(c, LINK_STATUS, sizeof(status)) };
	struct link_report report = { 0 };
	union answer a;
	int r = send_packet(c, &status, sizeof(status));

	while (r == 0) {
		r = receive(c, &a);
		if (r < 0)
			break;
		if (a.header.cookie != c->cookie) {
			r = fail(c, -EPROTO, "the mediator's answer belongs to something else");
		} else if (a.header.type == LINK_STATUS_ROW && a.header.length == sizeof(a.row) &&
			   report.n_rows < MAX_ROWS) {
			r = add_row(&report, &a.row);
		} else if (a.header.type == LINK_STATUS_END && a.header.length == sizeof(a.end)) {
			a.end.backend[sizeof(a.end.backend) - 1] = 0;
			a.end.device[sizeof(a.end.device) - 1] = 0;
			report.end = a.end;
			*ret = report;
			return 0;
		} else {
			r = fail(c, -EPROTO, "the mediator's answer is malformed");
		}
	}
	link_report_done(&report);
	return r;
}

void link_report_done(struct link_report *r)
{
	free(r->rows);
	*r = (struct link_report){ 0 };
}

const struct link_status_row *link_report_find(const struct link_report *r, uint32_t tenant_id)
{
	for (size_t i = 0; i < r->n_rows; i++) {
		if (r->rows[i].tenant_id == tenant_id)
			return &r->rows[i];
	}
	return NULL;
}
