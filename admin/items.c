// SPDX-License-Identifier: Apache-2.0
// ITEM=VALUE by the mediator's own table of policies, so that a value is refused here with the words that the
// server would use.
#include "admin/items.h"

#include <stdlib.h>
#include <string.h>

#include "admin/suggest.h"
#include "admin/text.h"
#include "common/cleanup.h"

enum kind { NUMBER, SIZE, TIME, PERCENT, CLASS, PERSONALITY, PROTOCOL, PRIORITY };

static const enum kind kinds[] = {
#define ITEM(NAME, name, whom, kind, ...) [POLICY_##NAME] = kind,
#include "mediator/limit/policy.def"
#undef ITEM
};

enum format items_format(enum policy_item item)
{
	static const enum format formats[] = {
		[NUMBER] = FORMAT_LIMIT,	  [SIZE] = FORMAT_BYTES_LIMIT, [TIME] = FORMAT_NS_LIMIT,
		[PERCENT] = FORMAT_PERCENT_LIMIT, [CLASS] = FORMAT_TEXT,       [PRIORITY] = FORMAT_TEXT,
		[PERSONALITY] = FORMAT_TEXT,	  [PROTOCOL] = FORMAT_TEXT,
	};

	return item == POLICY_COPY_PER_S ? FORMAT_BYTES_RATE_LIMIT : formats[kinds[item]];
}

int items_longest_name(unsigned whom)
{
	size_t most = 0;

	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (policy_is_for(i, whom) && strlen(policy_name(i)) > most)
			most = strlen(policy_name(i));
	}
	return (int)most;
}

static char *unknown(const char *name, unsigned whom, const char *const *fields)
{
	const char *names[POLICY_ITEMS + 16], *near;
	size_t n = 0;

	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (policy_is_for(i, whom))
			names[n++] = policy_name(i);
	}
	for (; fields && *fields && n < sizeof(names) / sizeof(names[0]); fields++)
		names[n++] = *fields;
	near = suggest(name, names, n);
	if (near)
		return text_print("there is no item '%s': do you mean '%s'?", name, near);
	return text_print("there is no item '%s' here: 'vgpu-admin limit items' lists them", name);
}

char *items_take(json_t *object, const char *word, unsigned whom, const char *const *fields)
{
	const char *equals = strchr(word, '=');
	cleanup_free char *name = NULL;
	char error[200];
	struct policy p;
	int item;

	if (!equals || equals == word)
		return text_print("'%s' is not ITEM=VALUE", word);
	name = text_print("%.*s", (int)(equals - word), word);
	if (json_object_get(object, name))
		return text_print("%s is said twice", name);
	for (size_t i = 0; fields && fields[i]; i++) {
		if (strcmp(fields[i], name) == 0) {
			json_object_set_new(object, name, json_string(equals + 1));
			return NULL;
		}
	}
	item = policy_find(name, whom);
	if (item < 0)
		return unknown(name, whom, fields);
	policy_init(&p);
	if (policy_set_text(&p, (enum policy_item)item, equals + 1, error, sizeof(error)) < 0)
		return text_print("%s", error);
	json_object_set_new(object, name, json_string(equals + 1));
	return NULL;
}
