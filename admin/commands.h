// SPDX-License-Identifier: Apache-2.0
// Names of all commands, each once: a file cmd_NAME.c each.
#ifndef VGPU_ADMIN_COMMANDS_H
#define VGPU_ADMIN_COMMANDS_H

#include "admin/command.h"

#define ADMIN_COMMANDS(C) \
	C(status)         \
	C(top)            \
	C(gpu)            \
	C(pool)           \
	C(tenant)         \
	C(profile)        \
	C(vm)             \
	C(slot)           \
	C(limit)          \
	C(usage)          \
	C(session)        \
	C(quarantine)     \
	C(events)         \
	C(audit)          \
	C(drain)          \
	C(backup)         \
	C(config)         \
	C(image)          \
	C(migrate)        \
	C(cloudstack)     \
	C(help)

#define COMMAND(name) extern const struct admin_command admin_command_##name;
ADMIN_COMMANDS(COMMAND)
#undef COMMAND

#endif
