// SPDX-License-Identifier: Apache-2.0
// Channels of virtual machines; see the header. Called by channel.c and by requests in the mediator's loop.
// Guest memory is never mapped or read here, and neither is the list of its pieces.
#include "mediator/channel_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/channel.h"
#include "mediator/memory.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

#define ASSIGN_OWN_FDS 4

static_assert(ASSIGN_OWN_FDS + CHANNEL_VM_FDS + LINK_MAX_GUEST_MEMORY <= SEQPACKET_MAX_FDS, "ASSIGN_VM");

int channel_vm_take(struct channel_vm *vm, const struct link_channel_open_vm *open, const int *fds,
		    unsigned n_fds, char *error)
{
	struct link_geometry g;

	*vm = (struct channel_vm){
		.is = true,
		.pid = open->pid,
		.extents = open->extents,
		.arena_bytes = open->arena_bytes,
	};
	memory_geometry(0, &g);
	if (open->channel_bytes != g.channel_bytes) {
		snprintf(error, LINK_TEXT_BYTES, "this mediator's channels have another size");
		return LINK_E_VERSION;
	}
	log_sanitize(vm->name, sizeof(vm->name), open->name, strlen(open->name));
	for (; vm->n_fds < n_fds; vm->n_fds++) {
		vm->fds[vm->n_fds] = fcntl(fds[vm->n_fds], F_DUPFD_CLOEXEC, 0);
		if (vm->fds[vm->n_fds] < 0) {
			snprintf(error, LINK_TEXT_BYTES, "the mediator has no file descriptors left");
			channel_vm_done(vm);
			return LINK_E_LIMIT;
		}
	}
	return 0;
}

int channel_vm_assign(struct channel *c)
{
	struct channel_vm *vm = &c->vm;
	unsigned n_fds = ASSIGN_OWN_FDS + vm->n_fds;
	struct link_assign_vm m = {
		.assign = {
			.header = { LINK_MAGIC, LINK_ASSIGN_VM, (uint16_t)n_fds, sizeof(m), 0 },
			.channel_id = c->id,
			.tenant_id = c->tenant->id,
			.device = (uint32_t)c->mediator->settings->gpu_device,
			.geometry = c->geometry,
			.spin_ns = c->mediator->settings->executor_spin,
		},
		.extents = vm->extents,
	};
	int fds[SEQPACKET_MAX_FDS] = { c->doorbell_fd, c->seat.page_fd, c->seat.kick_fd, c->tenant->page_fd };
	int r;

	memcpy(fds + ASSIGN_OWN_FDS, vm->fds, vm->n_fds * sizeof(fds[0]));
	r = seqpacket_send(c->process.link_fd, &m, sizeof(m), fds, n_fds, MSG_DONTWAIT);
	return r;
}

void channel_vm_answer(struct channel *c)
{
	struct link_channel_ok m = {
		.header = { LINK_MAGIC, LINK_CHANNEL_OK, 2, sizeof(m), c->cookie },
		.channel_id = c->id,
		.geometry = c->geometry,
	};
	int fds[2] = { c->doorbell_fd, c->process.pidfd };

	session_send(c->session, &m, sizeof(m), fds, 2);
}

void channel_vm_tell_gone(struct channel *c)
{
	struct link_channel_gone m = {
		.header = { LINK_MAGIC, LINK_CHANNEL_GONE, 0, sizeof(m), 0 },
		.channel_id = c->id,
	};

	session_send(c->session, &m, sizeof(m), NULL, 0);
}

void channel_vm_done(struct channel_vm *vm)
{
	while (vm->n_fds)
		close_fd(&vm->fds[--vm->n_fds]);
}
