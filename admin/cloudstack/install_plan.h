// SPDX-License-Identifier: Apache-2.0
// Which files of vgpu go where on a CloudStack host, and what is to be done about what lies there
// already. Pure.
#ifndef VGPU_ADMIN_CLOUDSTACK_INSTALL_PLAN_H
#define VGPU_ADMIN_CLOUDSTACK_INSTALL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "admin/cloudstack/tree.h"

#define INSTALL_AGENT_PROPERTIES "/etc/cloudstack/agent/agent.properties"
#define INSTALL_DISCOVERY	 "/etc/cloudstack/agent/gpudiscovery.sh"
#define INSTALL_GUARD		 "/etc/libvirt/hooks/qemu.d/50-vgpu"
#define INSTALL_SETTINGS	 "/etc/vgpu/cloudstack-hooks.env"
#define INSTALL_TIMER		 "vgpu-cloudstack-reconcile.timer"

#define INSTALL_MOST_ITEMS 8

struct install_item {
	const char *source; // below the folder that the files come from
	char *path;	    // where it goes
	char *backup;	    // where what is in its way goes; none of libvirt's or the agent's programs then
	mode_t mode;
	bool settings; // the operator's to change: written only where there is none
};

struct install_plan {
	struct install_item item[INSTALL_MOST_ITEMS];
	size_t n;
	char *groovy, *groovy_backup; // a script of the agent that would run before ours
};

// By what agent.properties says (NULL: its defaults). Null, or what is wrong with it (to be freed).
// It is to be ended in either case.
char *install_plan_make(struct install_plan *p, const char *properties);
void install_plan_done(struct install_plan *p);
// The item that goes to path, or NULL.
const struct install_item *install_plan_find(const struct install_plan *p, const char *path);

enum install_state {
	INSTALL_NEW,	 // nothing is there
	INSTALL_SAME,	 // what is wanted is there
	INSTALL_OLDER,	 // install's or a copy of the file's, and to be written again
	INSTALL_KEPT,	 // settings that are there
	INSTALL_EDITED,	 // install's, and changed since
	INSTALL_FOREIGN, // somebody else's
	INSTALL_BLOCKED, // a folder or the like, which is never replaced
};

// plain: the file as it comes; sealed: as it is written.
enum install_state install_judge(const struct install_item *item, const char *plain, size_t plain_n,
				 const char *sealed, size_t sealed_n, const struct tree_file *found,
				 uid_t owner);

// "lines 3-5 of 20 become 4": what of old differs from new, from the first line to the last. To be
// freed.
char *install_difference(const char *old, const char *new);

#endif
