// SPDX-License-Identifier: Apache-2.0
// What /etc/vgpu/cloudstack.conf says: where CloudStack's API is, with whose keys, and which of our profiles
// are offered as what.
#ifndef VGPU_ADMIN_CLOUDSTACK_CONFIG_H
#define VGPU_ADMIN_CLOUDSTACK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_PATH	      "/etc/vgpu/cloudstack.conf"
#define CONFIG_MOST_OFFERINGS 64

// [offering PROFILE]
struct config_offering {
	char *profile;
	char *name, *displaytext, *hosttags;	   // NULL: not said
	unsigned long cpunumber, cpuspeed, memory; // MHz, MB; 0: not said
	bool offerha;
};

struct config {
	char *path;
#define TEXT(section, key, member, otherwise)		     char *member;
#define NUMBER(section, key, member, otherwise, least, most) unsigned long member;
#include "admin/cloudstack/config.def"
#undef TEXT
#undef NUMBER
	struct config_offering offering[CONFIG_MOST_OFFERINGS];
	size_t n_offerings;
};

// NULL, or what is wrong (to be freed). The config is to be given back in either case.
char *config_read(struct config *c, const char *path);
void config_done(struct config *c);

#endif
