// SPDX-License-Identifier: Apache-2.0
// The little that is needed of libxml2's trees, with the program's end in place of failed allocations.
#ifndef VGPU_ADMIN_CLOUDSTACK_XML_H
#define VGPU_ADMIN_CLOUDSTACK_XML_H

#include <libxml/tree.h>
#include <stdbool.h>

#define XML_QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

// NULL with why (to be freed): not well-formed, or with a document type.
xmlDoc *xml_read(const char *text, size_t len, char **ret_why);
char *xml_write(xmlDoc *doc); // UTF-8 without a declaration; to be freed

// Elements of libvirt's own, which are in no namespace, and those of its pass-through for QEMU.
bool xml_is(const xmlNode *n, const char *name);
bool xml_is_qemu(const xmlNode *n, const char *name);
xmlNode *xml_child(const xmlNode *n, const char *name); // the first of that name; n may be NULL
xmlNode *xml_next(const xmlNode *n, const char *name);	// among those that follow it

// To be freed by free(); "": there is none.
char *xml_attribute(const xmlNode *n, const char *name); // n may be NULL
char *xml_text(const xmlNode *n);			 // n may be NULL

xmlNode *xml_add(xmlNode *parent, const char *name, xmlNs *ns);
void xml_set(xmlNode *n, const char *name, const char *value);
void xml_set_text(xmlNode *n, const char *text);
void xml_drop(xmlNode *n); // with the blanks before it

#define for_each_child(child, parent, name) \
	for (xmlNode *child = xml_child(parent, name); child; child = xml_next(child, name))

#endif
