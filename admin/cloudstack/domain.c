// SPDX-License-Identifier: Apache-2.0
// Reads a domain: its mediated devices, the devices that are ours already, and what speaks of either without
// being written by us. Runs in vgpu-admin, as root, for the agent's and libvirt's hooks; a tenant whom
// CloudStack allows extra configuration has written part of the text.
#include "admin/cloudstack/domain.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/xml.h"
#include "admin/text.h"
#include "common/cleanup.h"

bool domain_uuid(const char *text, char ret[static DOMAIN_UUID_BYTES])
{
	size_t digits = 0, at = 0;

	text += strspn(text, " \t\r\n");
	for (; *text && !isspace((unsigned char)*text); text++) {
		if (*text == '-')
			continue;
		if (!isxdigit((unsigned char)*text) || digits == 32)
			return false;
		if (digits == 8 || digits == 12 || digits == 16 || digits == 20)
			ret[at++] = '-';
		ret[at++] = (char)tolower((unsigned char)*text);
		digits++;
	}
	text += strspn(text, " \t\r\n");
	ret[digits == 32 ? at : 0] = 0;
	return digits == 32 && !*text;
}

__attribute__((format(printf, 2, 3))) static void call_strange(struct domain *d, const char *format, ...)
{
	va_list args;
	cleanup_free char *text = NULL;

	if (d->strange)
		return;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	d->strange = text_clean(text_memory(text));
}

// ---- host devices ----

static unsigned long number(const xmlNode *n, const char *attribute)
{
	cleanup_free char *text = xml_attribute(n, attribute);

	return strtoul(text, NULL, 0);
}

static bool is_host_bridge(const xmlNode *hostdev)
{
	const xmlNode *at = xml_child(xml_child(hostdev, "source"), "address");

	return at && !number(at, "domain") && !number(at, "bus") && !number(at, "slot") &&
	       !number(at, "function");
}

static bool is_type(const xmlNode *n, const char *type)
{
	cleanup_free char *is = xml_attribute(n, "type");

	return strcmp(is, type) == 0;
}

// False: there are too many.
static bool take_mdev(struct domain *d, xmlNode *hostdev)
{
	xmlNode *source = xml_child(hostdev, "source"), *address = xml_child(source, "address");
	cleanup_free char *uuid = xml_attribute(address, "uuid");

	if (!address || xml_next(source, "source") || xml_next(address, "address"))
		call_strange(d, "a mediated hostdev without one address");
	if (d->n_mdevs == DOMAIN_MOST_VGPUS)
		return false;
	if (domain_uuid(uuid, d->mdevs[d->n_mdevs].uuid))
		d->mdevs[d->n_mdevs++].hostdev = hostdev;
	return true;
}

static bool take_hostdevs(struct domain *d, const xmlNode *devices)
{
	for_each_child(hostdev, devices, "hostdev")
	{
		if (is_type(hostdev, "pci"))
			d->host_bridge |= is_host_bridge(hostdev);
		if (is_type(hostdev, "mdev") && !take_mdev(d, hostdev))
			return false;
	}
	return true;
}

// ---- PCI addresses ----

static void take_address(struct domain *d, const char *text)
{
	unsigned long slot = strtoul(text, NULL, 0);

	if (slot < 32)
		d->addresses |= 1u << slot;
}

static void take_addresses(struct domain *d, const xmlNode *devices)
{
	for (const xmlNode *n = devices->children; n; n = n->next) {
		for_each_child(address, n, "address")
		{
			cleanup_free char *slot = xml_attribute(address, "slot");

			if (is_type(address, "pci") && !number(address, "domain") && !number(address, "bus"))
				take_address(d, slot);
		}
	}
}

// ---- QEMU's arguments, and whatever else might name our sockets ----

static bool speaks_of_us(const char *text)
{
	return strstr(text, "vfio-user") || strstr(text, DOMAIN_STUBS);
}

// JSON can write a letter in several ways; here it is read.
static bool json_speaks_of_us(const json_t *j)
{
	const char *key;
	const json_t *value;
	size_t i;

	if (json_is_string(j))
		return speaks_of_us(json_string_value(j));
	json_array_foreach((json_t *)j, i, value)
	{
		if (json_speaks_of_us(value))
			return true;
	}
	json_object_foreach((json_t *)j, key, value)
	{
		if (speaks_of_us(key) || json_speaks_of_us(value))
			return true;
	}
	return false;
}

// Whether it is a device exactly as it is written in rewrite.c; then it is noted.
static bool take_ours(struct domain *d, const json_t *j)
{
	const char *driver, *id, *bus, *addr, *type, *path;
	char *end;
	unsigned long n;

	if (json_unpack((json_t *)j, "{s:s,s:s,s:s,s:s,s:{s:s,s:s!}!}", "driver", &driver, "id", &id, "bus",
			&bus, "addr", &addr, "socket", "type", &type, "path", &path) < 0)
		return false;
	if (strcmp(driver, "vfio-user-pci") != 0 || strcmp(type, "unix") != 0 || path[0] != '/' ||
	    strncmp(id, "vgpu", 4) != 0 || !isdigit((unsigned char)id[4]))
		return false;
	n = strtoul(id + 4, &end, 10);
	if (*end || n >= DOMAIN_MOST_VGPUS || d->n_sockets == DOMAIN_MOST_VGPUS)
		return false;
	if (n >= d->next_id)
		d->next_id = (unsigned)n + 1;
	d->sockets[d->n_sockets++] = text_print("%s", path);
	return true;
}

static void take_argument(struct domain *d, const char *before, const char *value)
{
	const char *text = value + strspn(value, " \t\r\n"), *addr = strstr(value, "addr=");
	json_t *j = *text == '{' ? json_loads(text, 0, NULL) : NULL;

	if (j && json_is_string(json_object_get(j, "addr")))
		take_address(d, json_string_value(json_object_get(j, "addr")));
	else if (!j && addr)
		take_address(d, addr + 5);
	// QEMU reads more as JSON than is JSON: what cannot be read here and has letters in disguise is not
	// ours.
	if (!j && *text == '{' && strchr(text, '\\'))
		call_strange(d, "an argument for QEMU cannot be read: %.200s", value);
	else if (j ? json_speaks_of_us(j) && (strcmp(before, "-device") != 0 || !take_ours(d, j))
		   : speaks_of_us(value))
		call_strange(d, "an argument for QEMU is not vgpu's: %.200s", value);
	json_decref(j);
}

static void take_arguments(struct domain *d, const xmlNode *commandline)
{
	char *before = text_print("%s", "");

	for (const xmlNode *n = commandline->children; n; n = n->next) {
		char *value;

		if (!xml_is_qemu(n, "arg"))
			continue;
		value = xml_attribute(n, "value");
		take_argument(d, before, value);
		free(before);
		before = value;
	}
	free(before);
}

// Everything below n but the arguments for QEMU, which were looked at.
static void look_for_strange(struct domain *d, const xmlNode *n)
{
	for (const xmlNode *child = n->children; child && !d->strange; child = child->next) {
		if (child->type != XML_ELEMENT_NODE) {
			if (child->content && speaks_of_us((const char *)child->content))
				call_strange(d, "<%s> names a socket of vgpu", (const char *)n->name);
			continue;
		}
		for (const xmlAttr *a = child->properties; a && !xml_is_qemu(child, "arg"); a = a->next) {
			cleanup_free char *value = xml_text((const xmlNode *)a);

			if (speaks_of_us(value))
				call_strange(d, "<%s> names a socket of vgpu: %.200s",
					     (const char *)child->name, value);
		}
		look_for_strange(d, child);
	}
}

// ---- the whole ----

// The text of the only element of that name; what comes twice could be one thing for us and another for
// libvirt.
static char *only(struct domain *d, const xmlNode *root, const char *name)
{
	const xmlNode *n = xml_child(root, name);

	if (n && xml_next(n, name))
		call_strange(d, "the domain has two elements <%s>", name);
	return xml_text(n);
}

static void take_identity(struct domain *d, const xmlNode *root)
{
	cleanup_free char *uuid = only(d, root, "uuid");

	if (!domain_uuid(uuid, d->uuid))
		d->uuid[0] = 0;
	d->name = only(d, root, "name");
}

static bool take_all(struct domain *d, const xmlNode *root)
{
	take_identity(d, root);
	for (const xmlNode *n = root->children; n; n = n->next) {
		if (xml_is_qemu(n, "commandline"))
			take_arguments(d, n);
		if (xml_is(n, "devices")) {
			take_addresses(d, n);
			if (!take_hostdevs(d, n))
				return false;
		}
		if (xml_is(n, "devices") || xml_is_qemu(n, NULL))
			look_for_strange(d, n);
	}
	return true;
}

struct domain *domain_read(const char *xml, size_t len, size_t most, char **ret_why)
{
	struct domain *d;
	xmlDoc *doc;
	const xmlNode *root;

	*ret_why = NULL;
	if (len > most) {
		*ret_why = text_print("the domain's XML has more than %zu bytes", most);
		return NULL;
	}
	doc = xml_read(xml, len, ret_why);
	if (!doc)
		return NULL;
	root = xmlDocGetRootElement(doc);
	d = text_memory(calloc(1, sizeof(*d)));
	d->doc = doc;
	if (!xml_is(root, "domain"))
		*ret_why = text_print("this is no domain but <%s>", (const char *)root->name);
	else if (!take_all(d, root))
		*ret_why = text_print("the domain has more than %d mediated devices", DOMAIN_MOST_VGPUS);
	if (*ret_why) {
		domain_free(d);
		return NULL;
	}
	return d;
}

void domain_free(struct domain *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_sockets; i++)
		free(d->sockets[i]);
	xmlFreeDoc(d->doc);
	free(d->name);
	free(d->strange);
	free(d);
}

bool domain_concerns_us(const struct domain *d)
{
	return d->n_mdevs || d->n_sockets;
}
