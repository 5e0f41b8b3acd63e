// SPDX-License-Identifier: Apache-2.0
// Puts virtual GPUs of ours into a domain in place of mediated devices, and the shared memory that they need.
// Whatever is there already is kept or added to, so that doing it twice is doing it once.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/domain.h"
#include "admin/cloudstack/xml.h"
#include "admin/text.h"
#include "common/cleanup.h"

// libvirt hands out slots from below and does not know this device, so it goes to the highest. q35 has 0x1f.
#define HIGHEST_SLOT 0x1e
#define LOWEST_SLOT  0x10
// Of q35, where libvirt puts USB controllers when nobody says where.
#define Q35_USB ((1u << 0x1d) | (1u << 0x1a))

static char *no_vgpu(const char *what, const char *value)
{
	cleanup_free char *clean = text_clean(value);

	return text_print("a vGPU cannot be in a VM whose %s is %s", what, clean);
}

// The bus that devices stand on, or NULL with why.
static const char *bus_of(const xmlNode *root, char **ret_why)
{
	const xmlNode *type = xml_child(xml_child(root, "os"), "type");
	cleanup_free char *machine = xml_attribute(type, "machine"), *arch = xml_attribute(type, "arch");

	if (arch[0] && strcmp(arch, "x86_64") != 0) {
		*ret_why = no_vgpu("architecture", arch);
		return NULL;
	}
	if (strstr(machine, "q35"))
		return "pcie.0";
	if (!machine[0] || strcmp(machine, "pc") == 0 || strncmp(machine, "pc-i440fx", 9) == 0)
		return "pci.0";
	*ret_why = no_vgpu("machine type", machine);
	return NULL;
}

static void reserve_q35(struct domain *d, const xmlNode *root)
{
	d->addresses |= Q35_USB;
	for_each_child(devices, root, "devices")
	{
		for_each_child(controller, devices, "controller")
		{
			cleanup_free char *model = xml_attribute(controller, "model");

			if (strcmp(model, "dmi-to-pci-bridge") == 0) // libvirt's place for it
				d->addresses |= 1u << 0x1e;
		}
	}
}

static int free_slot(struct domain *d)
{
	for (int slot = HIGHEST_SLOT; slot >= LOWEST_SLOT; slot--) {
		if (!(d->addresses & (1u << slot))) {
			d->addresses |= 1u << slot;
			return slot;
		}
	}
	return -1;
}

// ---- memory ----

static xmlNode *add_memory_backing(xmlNode *root)
{
	static const char *const behind[] = { "currentMemory", "memory", "uuid", "name" };
	xmlNode *at = NULL, *backing = xml_add(root, "memoryBacking", NULL);

	for (size_t i = 0; !at && i < sizeof(behind) / sizeof(behind[0]); i++)
		at = xml_child(root, behind[i]);
	return at ? xmlAddNextSibling(at, backing) : backing;
}

// The only element of that name in all of them: libvirt takes the first it finds.
static xmlNode *make_only(xmlNode *root, xmlNode *backing, const char *name)
{
	xmlNode *kept = xml_child(backing, name), *n;

	for_each_child(other, root, "memoryBacking")
	{
		while ((n = xml_child(other, name)) != NULL) {
			if (n == kept && (n = xml_next(kept, name)) == NULL)
				break;
			xml_drop(n);
		}
	}
	return kept ? kept : xml_add(backing, name, NULL);
}

static void share_memory(xmlNode *root)
{
	xmlNode *backing = xml_child(root, "memoryBacking");

	if (!backing)
		backing = add_memory_backing(root);
	xml_set(make_only(root, backing, "source"), "type", "memfd");
	xml_set(make_only(root, backing, "access"), "mode", "shared");
	for_each_child(cpu, root, "cpu")
	{
		for_each_child(numa, cpu, "numa")
		{
			for_each_child(cell, numa, "cell") xml_set(cell, "memAccess", "shared");
		}
	}
}

// ---- the devices ----

// What there is last, to come behind everything else; else a new one.
static xmlNode *command_line(xmlNode *root)
{
	xmlNode *found = NULL;
	xmlNs *ns;

	for (xmlNode *n = root->children; n; n = n->next) {
		if (xml_is_qemu(n, "commandline"))
			found = n;
	}
	if (found)
		return found;
	found = xml_add(root, "commandline", NULL);
	ns = xmlSearchNsByHref(root->doc, root, (const xmlChar *)XML_QEMU_NAMESPACE);
	if (!ns || !ns->prefix)
		ns = text_memory(
		    xmlNewNs(found, (const xmlChar *)XML_QEMU_NAMESPACE, (const xmlChar *)"qemu"));
	xmlSetNs(found, ns);
	return found;
}

static void add_argument(xmlNode *line, const char *value)
{
	xml_set(xml_add(line, "arg", line->ns), "value", value);
}

static bool add_device(struct domain *d, xmlNode *line, const char *bus, const char *socket, char **ret_why)
{
	int slot = free_slot(d);
	cleanup_free char *id = text_print("vgpu%u", d->next_id++), *addr = text_print("0x%x", slot);
	cleanup_free char *text = NULL;
	json_t *j;

	if (slot < 0) {
		*ret_why =
		    text_print("the VM has no PCI slot from 0x%x to 0x%x free", LOWEST_SLOT, HIGHEST_SLOT);
		return false;
	}
	j = json_pack("{s:s,s:s,s:s,s:s,s:{s:s,s:s}}", "driver", "vfio-user-pci", "id", id, "bus", bus,
		      "addr", addr, "socket", "type", "unix", "path", socket);
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	if (!text) {
		*ret_why = text_print("the socket's path is not UTF-8");
		return false;
	}
	add_argument(line, "-device");
	add_argument(line, text);
	return true;
}

static bool drop_hostdev(struct domain *d, const char *vgpu)
{
	for (size_t i = 0; i < d->n_mdevs; i++) {
		if (strcmp(d->mdevs[i].uuid, vgpu) != 0)
			continue;
		xml_drop(d->mdevs[i].hostdev);
		d->mdevs[i] = d->mdevs[--d->n_mdevs];
		return true;
	}
	return false;
}

static bool replace(struct domain *d, xmlNode *root, const struct domain_plan *plan, char **ret_why)
{
	const char *bus = bus_of(root, ret_why);
	xmlNode *line;

	if (!bus)
		return false;
	if (strcmp(bus, "pcie.0") == 0)
		reserve_q35(d, root);
	line = command_line(root);
	for (size_t i = 0; i < plan->n; i++) {
		if (!drop_hostdev(d, plan->vgpus[i].vgpu)) {
			*ret_why = text_print("the domain does not have the vGPU %s", plan->vgpus[i].vgpu);
			return false;
		}
		if (!add_device(d, line, bus, plan->vgpus[i].socket, ret_why))
			return false;
		if (plan->vgpus[i].nvidia && !add_device(d, line, bus, plan->vgpus[i].nvidia, ret_why))
			return false;
	}
	return true;
}

static void set_emulator(xmlNode *root, const char *path)
{
	xmlNode *devices = xml_child(root, "devices");
	bool there = false;

	for_each_child(more, root, "devices")
	{
		for_each_child(emulator, more, "emulator")
		{
			xml_set_text(emulator, path);
			there = true;
		}
	}
	if (!there && devices)
		xml_set_text(xml_add(devices, "emulator", NULL), path);
}

char *domain_rewrite(struct domain *d, const struct domain_plan *plan, char **ret_why)
{
	xmlNode *root = xmlDocGetRootElement(d->doc);
	char *text;

	*ret_why = NULL;
	if (!replace(d, root, plan, ret_why))
		return NULL;
	share_memory(root);
	if (plan->emulator)
		set_emulator(root, plan->emulator);
	text = xml_write(d->doc);
	if (strlen(text) <= DOMAIN_MOST_OUTPUT)
		return text;
	free(text);
	*ret_why = text_print("with the vGPU the domain's XML has more than %d bytes", DOMAIN_MOST_OUTPUT);
	return NULL;
}
