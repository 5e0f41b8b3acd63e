// SPDX-License-Identifier: Apache-2.0
// Finds out which card the GPU is; see the header.
#include "admin/cloudstack/card.h"

#include <ctype.h>
#include <string.h>

#include "admin/cloudstack/cloudstack.h"
#include "admin/text.h"
#include "common/cleanup.h"

char *card_pci_address(const char *pci)
{
	unsigned domain, bus, device, function;
	int n = 0;

	if (sscanf(pci, "%8x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &n) != 4 || pci[n] ||
	    domain > 0xffff)
		return NULL;
	return text_print("%04x:%02x:%02x.%x", domain, bus, device, function);
}

// "0x2330" of the file as "2330"; NULL if it cannot be read.
static char *read_id(const char *address)
{
	cleanup_free char *path = text_print("/sys/bus/pci/devices/%s/device", address);
	FILE *f = fopen(path, "re");
	unsigned id;
	int n;

	if (!f)
		return NULL;
	n = fscanf(f, "0x%4x", &id);
	fclose(f);
	return n == 1 ? text_print("%04x", id) : NULL;
}

static bool is_id(const char *text)
{
	for (size_t i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)text[i]))
			return false;
	}
	return !text[4];
}

// NVIDIA's own part of a name is the vendor's to CloudStack.
static const char *without_vendor(const char *name)
{
	return strncasecmp(name, "NVIDIA ", 7) == 0 ? name + 7 : name;
}

enum admin_exit card_find(struct card *ret, const struct config *c, const json_t *gpu, bool local)
{
	const char *name = without_vendor(cloudstack_text(gpu, "name"));
	cleanup_free char *address = card_pci_address(cloudstack_text(gpu, "pci"));
	const char *missing = NULL;

	*ret = (struct card){ .vendorid = text_print("%s", c->card_vendorid),
			      .vendorname = text_print("%s", c->card_vendorname) };
	if (c->card_deviceid)
		ret->deviceid = text_print("%s", c->card_deviceid);
	else if (local && address)
		ret->deviceid = read_id(address);
	ret->devicename = text_print("%s", c->card_devicename ? c->card_devicename : name);
	if (!ret->deviceid)
		missing = "deviceid (4 hexadecimal digits, as 'lspci -n' has it)";
	else if (!is_id(ret->deviceid) || !is_id(ret->vendorid))
		missing = "vendorid or deviceid of 4 hexadecimal digits";
	else if (!ret->devicename[0])
		missing = "devicename";
	if (!missing)
		return ADMIN_OK;
	admin_complain("which card this GPU is cannot be seen: [card] in %s needs %s", c->path, missing);
	return ADMIN_USAGE;
}

void card_done(struct card *card)
{
	free(card->vendorid);
	free(card->vendorname);
	free(card->deviceid);
	free(card->devicename);
	*card = (struct card){ 0 };
}
