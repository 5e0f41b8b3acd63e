// SPDX-License-Identifier: Apache-2.0
// The identity device behind its server; see the header. Called by main.c, host.c and, for what a monitor
// asks, server.c.
#include "stub/identity.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "stub/stub.h"

static_assert(TOUCHED_ROWS <= LINK_REGISTERS_MOST, "the mediator takes as many");

// Whether the VM has the device, as is known now.
static bool is_offered(const struct identity *d)
{
	return d->choice == IDENTITY_ALWAYS || (d->choice == IDENTITY_AS_TOLD && d->wanted);
}

// ---- what the server asks for ----

static bool on_accept(struct server *v)
{
	struct identity *d = v->opaque;

	if (!is_offered(d)) {
		log_warning("nvidia: a monitor came, but the VM's personality is custom (vgpu-admin vm set "
			    "VM --personality=nvidia)");
		return false;
	}
	memset(&d->device.touched, 0, sizeof(d->device.touched));
	d->device.setup = d->setup;
	nvidia_reset(&d->device, clock_now_ns());
	return true;
}

static uint64_t on_region_bytes(const struct server *v, uint32_t region)
{
	const struct identity *d = v->opaque;

	return nvidia_region_bytes(&d->device, region);
}

static void on_read(struct server *v, uint32_t region, uint64_t offset, void *to, uint32_t count)
{
	struct identity *d = v->opaque;

	nvidia_read(&d->device, clock_now_ns(), region, offset, to, count);
}

static void on_write(struct server *v, uint32_t region, uint64_t offset, const void *from, uint32_t count)
{
	struct identity *d = v->opaque;

	nvidia_write(&d->device, clock_now_ns(), region, offset, from, count);
}

static void on_reset(struct server *v)
{
	struct identity *d = v->opaque;

	nvidia_reset(&d->device, clock_now_ns());
}

static void on_detach(struct server *v)
{
	struct identity *d = v->opaque;

	irq_done(&d->irq);
}

static int on_map(struct server *v, const struct vfio_user_request *r, int fd, uint64_t *users)
{
	(void)v;
	(void)r;
	(void)users;
	close_fd(&fd); // the device reads no memory
	return 0;
}

static int on_unmap(struct server *v, uint64_t address, uint64_t bytes, uint64_t *users)
{
	(void)v;
	(void)address;
	(void)bytes;
	(void)users;
	return 0;
}

static uint64_t on_busy(const struct server *v, uint64_t users)
{
	(void)v;
	(void)users;
	return 0;
}

static void on_idle(struct server *v)
{
	(void)v; // when this process ends is the transport's business
}

static const struct server_device identity_server = {
	.name = "nvidia",
	.accepts = on_accept,
	.region_bytes = on_region_bytes,
	.read = on_read,
	.write = on_write,
	.reset = on_reset,
	.detach = on_detach,
	.map = on_map,
	.unmap = on_unmap,
	.busy = on_busy,
	.idle = on_idle,
};

// ---- life ----

void identity_init(struct identity *d)
{
	server_init(&d->server, &identity_server, d, &d->irq);
	irq_init(&d->irq);
}

int identity_start(struct stub *s)
{
	struct identity *d = &s->identity;
	int r;

	if (d->choice == IDENTITY_NEVER)
		return 0;
	r = snprintf(d->path, sizeof(d->path), "%s" LINK_IDENTITY_SUFFIX, s->socket_path);
	if (r >= (int)sizeof(d->path)) {
		log_warning("%s" LINK_IDENTITY_SUFFIX " is too long for a socket: there is no second device",
			    s->socket_path);
		d->path[0] = '\0';
		r = d->choice == IDENTITY_ALWAYS ? -ENAMETOOLONG : 0;
		d->choice = IDENTITY_NEVER;
		return r;
	}
	r = server_start(&d->server, s->event, d->path);
	if (r >= 0)
		server_listen(&d->server, d->choice == IDENTITY_ALWAYS);
	return r;
}

void identity_done(struct identity *d)
{
	server_done(&d->server);
}

// ---- the mediator ----

// The uuid's second half, in which those that are made of random numbers have 62 bits of them.
static uint64_t serial_of(const char *vm)
{
	uint64_t serial = 0;

	for (; *vm; vm++)
		if (isxdigit((unsigned char)*vm))
			serial = serial << 4 |
				 (uint64_t)(isdigit((unsigned char)*vm) ? *vm - '0' : (*vm | 32) - 'a' + 10);
	return serial;
}

void identity_tell(struct identity *d, bool nvidia, const char *vm)
{
	if (d->choice == IDENTITY_AS_TOLD && (!d->told || d->wanted != nvidia))
		log_info("the VM's personality is %s", nvidia ? "nvidia" : "custom");
	d->told = true;
	d->wanted = nvidia;
	d->setup.serial = serial_of(vm);
	if (d->choice == IDENTITY_AS_TOLD)
		server_listen(&d->server, true);
}

bool identity_registers(const struct identity *d, uint32_t cookie, unsigned *at, struct link_registers *ret)
{
	const struct touched *t = &d->device.touched;
	unsigned n = t->n - *at < LINK_REGISTERS_MAX ? t->n - *at : LINK_REGISTERS_MAX;

	*ret = (struct link_registers){
		.header = { LINK_MAGIC, LINK_REGISTERS, 0,
			    (uint32_t)(offsetof(struct link_registers, row) + n * sizeof(ret->row[0])),
			    cookie },
		.n = n,
		.left = t->n - *at - n,
		.state = d->server.fd >= 0 ? LINK_REGISTERS_IN_USE
			 : is_offered(d)   ? LINK_REGISTERS_UNUSED
					   : LINK_REGISTERS_NO_DEVICE,
		.more_reads = t->more_reads,
		.more_writes = t->more_writes,
		.aperture_reads = t->aperture_reads,
		.aperture_writes = t->aperture_writes,
		.odd = t->odd,
	};
	for (unsigned i = 0; i < n; i++, (*at)++) {
		const struct touched_row *row = &t->rows[*at];
		struct link_register *r = &ret->row[i];

		r->offset = row->offset;
		r->answer = row->answer;
		r->written = row->written;
		r->reads = row->reads;
		r->writes = row->writes;
		snprintf(r->name, sizeof(r->name), "%s", nvidia_register_name(row->offset));
	}
	return ret->left;
}
