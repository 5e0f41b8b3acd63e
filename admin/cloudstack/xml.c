// SPDX-License-Identifier: Apache-2.0
// Trees of libxml2; see the header. Tenants may have written part of what is read here (CloudStack's extra
// configuration), so nothing is expanded or fetched.
#include "admin/cloudstack/xml.h"

#include <libxml/parser.h>
#include <libxml/xmlsave.h>
#include <stdlib.h>
#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define X(text) ((const xmlChar *)(text))

static char *own(xmlChar *text)
{
	char *copy = text_print("%s", text ? (const char *)text : "");

	xmlFree(text);
	return copy;
}

// Nothing that is written here has a document type. Without one there are no entities but XML's five.
static bool has_doctype(const char *text, size_t len)
{
	return memmem(text, len, "<!DOCTYPE", 9) || memmem(text, len, "<!ENTITY", 8);
}

// Also what only breaks the rules of namespaces is refused: others might see elements there that we do not.
static xmlDoc *parse(xmlParserCtxt *parser, const char *text, size_t len)
{
	xmlDoc *doc = xmlCtxtReadMemory(parser, text, (int)len, NULL, "UTF-8",
					XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);

	if (doc && parser->nsWellFormed && !doc->intSubset && !doc->extSubset && xmlDocGetRootElement(doc))
		return doc;
	xmlFreeDoc(doc);
	return NULL;
}

xmlDoc *xml_read(const char *text, size_t len, char **ret_why)
{
	xmlParserCtxt *parser;
	xmlDoc *doc;
	const xmlError *e;

	*ret_why = NULL;
	// A zero byte: UTF-16, where the next check would not see.
	if (memchr(text, 0, len) || has_doctype(text, len)) {
		*ret_why = text_print("the XML has a document type or is not UTF-8");
		return NULL;
	}
	parser = text_memory(xmlNewParserCtxt());
	doc = parse(parser, text, len);
	e = xmlCtxtGetLastError(parser);
	if (!doc) {
		cleanup_free char *said = text_print("%s", e && e->message ? e->message : "nothing is there");
		cleanup_free char *line = NULL;

		said[strcspn(said, "\n")] = 0;
		line = text_clean(said);
		*ret_why = text_print("this is not XML: %s", line);
	}
	xmlFreeParserCtxt(parser);
	return doc;
}

char *xml_write(xmlDoc *doc)
{
	xmlBuffer *buffer = text_memory(xmlBufferCreate());
	xmlSaveCtxt *save = text_memory(xmlSaveToBuffer(buffer, "UTF-8", XML_SAVE_NO_DECL));
	char *text;

	xmlSaveDoc(save, doc);
	xmlSaveClose(save);
	text = text_print("%s", (const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}

bool xml_is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !n->ns && xmlStrEqual(n->name, X(name));
}

bool xml_is_qemu(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && n->ns && xmlStrEqual(n->ns->href, X(XML_QEMU_NAMESPACE)) &&
	       (!name || xmlStrEqual(n->name, X(name)));
}

static xmlNode *find(xmlNode *n, const char *name)
{
	while (n && !xml_is(n, name))
		n = n->next;
	return n;
}

xmlNode *xml_child(const xmlNode *n, const char *name)
{
	return n ? find(n->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *n, const char *name)
{
	return find(n->next, name);
}

char *xml_attribute(const xmlNode *n, const char *name)
{
	return own(n ? xmlGetNoNsProp(n, X(name)) : NULL);
}

char *xml_text(const xmlNode *n)
{
	return own(n ? xmlNodeGetContent(n) : NULL);
}

xmlNode *xml_add(xmlNode *parent, const char *name, xmlNs *ns)
{
	xmlNode *n = text_memory(xmlNewDocNode(parent->doc, ns, X(name), NULL));

	return xmlAddChild(parent, n);
}

void xml_set(xmlNode *n, const char *name, const char *value)
{
	text_memory(xmlSetProp(n, X(name), X(value)));
}

void xml_set_text(xmlNode *n, const char *text)
{
	xmlNodeSetContent(n, NULL);
	xmlNodeAddContent(n, X(text));
}

void xml_drop(xmlNode *n)
{
	xmlNode *before = n->prev;

	if (before && xmlIsBlankNode(before)) {
		xmlUnlinkNode(before);
		xmlFreeNode(before);
	}
	xmlUnlinkNode(n);
	xmlFreeNode(n);
}
