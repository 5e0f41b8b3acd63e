// SPDX-License-Identifier: Apache-2.0
// The GPU as CloudStack tells cards apart: by its PCI vendor and device.
#ifndef VGPU_ADMIN_CLOUDSTACK_CARD_H
#define VGPU_ADMIN_CLOUDSTACK_CARD_H

#include <jansson.h>
#include <stdbool.h>

#include "admin/call.h"
#include "admin/cloudstack/config.h"

struct card {
	char *vendorid, *vendorname, *deviceid, *devicename;
};

// From the configuration, else from what the mediator says of the GPU and, if it is on this host, from sysfs.
// Says what is missing.
enum admin_exit card_find(struct card *ret, const struct config *c, const json_t *gpu, bool local);
void card_done(struct card *card);
// "00000000:3b:00.0", as NVML has it, as sysfs has it; to be freed. NULL: it is none.
char *card_pci_address(const char *pci);

#endif
