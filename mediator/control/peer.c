// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/control/peer.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

#define MOST_GROUPS 256 // of a user; one with more is not looked at further

int peer_find_group(const char *setting, const char *name, gid_t *ret)
{
	const struct group *g;

	*ret = PEER_NO_GROUP;
	if (!name[0])
		return 0;
	errno = 0;
	g = getgrnam(name);
	if (!g) {
		log_error("%s: there is no group '%s'", setting, name);
		return errno ? -errno : -ENOENT;
	}
	*ret = g->gr_gid;
	return 0;
}

static bool is_member(int fd, gid_t primary, gid_t group)
{
	gid_t groups[MOST_GROUPS];
	socklen_t len = sizeof(groups);

	if (group == PEER_NO_GROUP)
		return false;
	if (primary == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

void peer_read_socket(int fd, const struct peer_groups *groups, const char *door, struct control_peer *ret)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	ret->role = CONTROL_STRANGER;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0) {
		snprintf(ret->who, sizeof(ret->who), "somebody (%s)", door);
		return;
	}
	snprintf(ret->who, sizeof(ret->who), "uid %u pid %d (%s)", who.uid, (int)who.pid, door);
	if (who.uid == 0 || who.uid == geteuid() || is_member(fd, who.gid, groups->admins))
		ret->role = CONTROL_ADMIN;
	else if (is_member(fd, who.gid, groups->viewers))
		ret->role = CONTROL_VIEWER;
}
