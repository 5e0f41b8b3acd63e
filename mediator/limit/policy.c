// SPDX-License-Identifier: Apache-2.0
// Policies by the table policy.def; see the header. Used by the mediator's configuration and control socket.
#include "mediator/limit/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/units.h"

enum whom {
	PROFILE = POLICY_FOR_PROFILE,
	TENANT = POLICY_FOR_TENANT | PROFILE,
	POOL = POLICY_FOR_POOL,
	BOTH = TENANT | POOL
};
enum kind { NUMBER, SIZE, TIME, PERCENT, PRIORITY, CLASS, PERSONALITY, PROTOCOL };

struct item {
	const char *name;
	unsigned whom;
	enum kind kind;
	uint64_t value, least, most;
	const char *help;
};

static const struct item items[] = {
#define ITEM(NAME, name, whom, kind, value, least, most, help) \
	{ #name, whom, kind, value, least, most, help },
#include "mediator/limit/policy.def"
#undef ITEM
};

// By value; the rest of each list is NULL.
static const char *const words[][4] = {
	[CLASS] = { "normal", "latency" },
	[PERSONALITY] = { "custom", "nvidia" },
	[PROTOCOL] = { "any", "custom", "cuda" },
};
static const struct {
	const char *name;
	uint64_t weight;
} priorities[] = { { "low", 50 }, { "medium", 100 }, { "high", 200 } };

// Numbers beyond this are not exact as a double, as JSON has them.
#define MOST_EXACT 9007199254740992.0

static bool is_word(const struct item *t)
{
	return t->kind >= CLASS;
}

void policy_init(struct policy *p)
{
	p->given = 0;
	for (unsigned i = 0; i < POLICY_ITEMS; i++)
		p->value[i] = items[i].value;
}

int policy_find(const char *name, unsigned whom)
{
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if ((items[i].whom & whom) && strcmp(items[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

const char *policy_name(enum policy_item item)
{
	return items[item].name;
}

bool policy_is_for(enum policy_item item, unsigned whom)
{
	return items[item].whom & whom;
}

const char *policy_help(enum policy_item item)
{
	return items[item].help;
}

static void print_value(enum policy_item item, uint64_t value, char *ret, size_t n)
{
	const struct item *t = &items[item];

	if (t->kind == PERCENT)
		snprintf(ret, n, "%g", (double)value / 100);
	else if (t->kind == SIZE && value == UINT64_MAX)
		snprintf(ret, n, "2^64-1");
	else
		unit_print(ret, n,
			   t->kind == SIZE   ? unit_sizes
			   : t->kind == TIME ? unit_times
					     : unit_none,
			   value);
}

void policy_print_range(enum policy_item item, char *ret, size_t n)
{
	const struct item *t = &items[item];
	char least[40], most[40];

	if (is_word(t)) {
		const char *const *w = words[t->kind];

		snprintf(ret, n, "%s|%s%s%s", w[0], w[1], w[2] ? "|" : "", w[2] ? w[2] : "");
	} else if (t->kind == PRIORITY) {
		snprintf(ret, n, "low|medium|high");
	} else {
		print_value(item, t->least, least, sizeof(least));
		print_value(item, t->most, most, sizeof(most));
		snprintf(ret, n, "%s%s to %s%s", t->value < t->least ? "0 or " : "", least, most,
			 t->kind == PERCENT ? " percent" : "");
	}
}

static int refuse(enum policy_item item, const char *text, char *error, size_t error_bytes)
{
	char range[100];

	policy_print_range(item, range, sizeof(range));
	snprintf(error, error_bytes, "%s: '%.60s' is not %s", items[item].name, text, range);
	return -EINVAL;
}

static bool take(struct policy *p, enum policy_item item, uint64_t value)
{
	const struct item *t = &items[item];

	if ((value < t->least && value != t->value) || value > t->most)
		return false;
	p->value[item] = value;
	p->given |= 1u << item;
	return true;
}

static int set(struct policy *p, enum policy_item item, uint64_t value, const char *text, char *error,
	       size_t error_bytes)
{
	return take(p, item, value) ? 0 : refuse(item, text, error, error_bytes);
}

static int set_priority(struct policy *p, enum policy_item item, const char *text, char *error,
			size_t error_bytes)
{
	for (size_t i = 0; i < sizeof(priorities) / sizeof(priorities[0]); i++) {
		if (strcmp(text, priorities[i].name) != 0)
			continue;
		p->value[item] = priorities[i].weight;
		p->given |= 1u << item;
		return 0;
	}
	return refuse(item, text, error, error_bytes);
}

static int set_word(struct policy *p, enum policy_item item, const char *text, char *error,
		    size_t error_bytes)
{
	const char *const *w = words[items[item].kind];

	for (uint64_t i = 0; w[i]; i++) {
		if (strcmp(text, w[i]) == 0)
			return policy_set_value(p, item, i);
	}
	return refuse(item, text, error, error_bytes);
}

// Percent with up to two digits behind the point. 0 or -EINVAL.
static int parse_percent(const char *text, uint64_t *ret)
{
	double number;
	char *end;

	if (!strchr("0123456789", text[0]) || strspn(text, "0123456789.") != strlen(text))
		return -EINVAL;
	number = strtod(text, &end);
	if (*end || !(number <= 100) || fabs(number * 100 - round(number * 100)) > 1e-6)
		return -EINVAL;
	*ret = (uint64_t)llround(number * 100);
	return 0;
}

int policy_set_text(struct policy *p, enum policy_item item, const char *text, char *error,
		    size_t error_bytes)
{
	const struct item *t = &items[item];
	uint64_t value;
	int r;

	if (t->kind == PRIORITY)
		return set_priority(p, item, text, error, error_bytes);
	if (is_word(t))
		return set_word(p, item, text, error, error_bytes);
	if (t->kind == TIME && strcmp(text, "0") == 0)
		return set(p, item, 0, text, error, error_bytes);
	if (t->kind == PERCENT)
		r = text[0] ? parse_percent(text, &value) : -EINVAL;
	else
		r = unit_parse(text, 10,
			       t->kind == SIZE	 ? unit_sizes
			       : t->kind == TIME ? unit_times
						 : unit_none,
			       &value);
	return r < 0 ? refuse(item, text, error, error_bytes) : set(p, item, value, text, error, error_bytes);
}

int policy_set_number(struct policy *p, enum policy_item item, double number, char *error, size_t error_bytes)
{
	const struct item *t = &items[item];
	double scaled = t->kind == PERCENT ? number * 100 : number;
	char text[40];

	snprintf(text, sizeof(text), "%.17g", number);
	if (is_word(t) || t->kind == PRIORITY || !(scaled >= 0) || scaled > MOST_EXACT ||
	    fabs(scaled - round(scaled)) > 1e-6)
		return refuse(item, text, error, error_bytes);
	return set(p, item, (uint64_t)llround(scaled), text, error, error_bytes);
}

int policy_set_value(struct policy *p, enum policy_item item, uint64_t value)
{
	if (items[item].kind == PRIORITY)
		return -EINVAL;
	if (!is_word(&items[item]))
		return take(p, item, value) ? 0 : -EINVAL;
	if (value >= sizeof(words[0]) / sizeof(words[0][0]) || !words[items[item].kind][value])
		return -EINVAL;
	p->value[item] = value;
	p->given |= 1u << item;
	return 0;
}

void policy_merge(struct policy *p, const struct policy *change)
{
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (change->given & 1u << i)
			p->value[i] = change->value[i];
	}
	p->given |= change->given;
	if (change->given & 1u << POLICY_PRIORITY) {
		p->value[POLICY_WEIGHT] = change->value[POLICY_PRIORITY];
		p->given = (p->given & ~(1u << POLICY_PRIORITY)) | 1u << POLICY_WEIGHT;
	}
}

double policy_number(const struct policy *p, enum policy_item item)
{
	return items[item].kind == PERCENT ? (double)p->value[item] / 100 : (double)p->value[item];
}

const char *policy_word(const struct policy *p, enum policy_item item)
{
	return is_word(&items[item]) ? words[items[item].kind][p->value[item]] : NULL;
}

void policy_print_help(FILE *out, unsigned whom, void (*print_help)(FILE *out, const char *help))
{
	char value[40], range[100];

	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (!(items[i].whom & whom))
			continue;
		policy_print_range(i, range, sizeof(range));
		print_value(i, items[i].value, value, sizeof(value));
		if (is_word(&items[i]))
			snprintf(value, sizeof(value), "%s", words[items[i].kind][items[i].value]);
		if (items[i].kind == PRIORITY)
			fprintf(out, "  %s        %s\n", items[i].name, range);
		else
			fprintf(out, "  %s = %s        %s\n", items[i].name, value, range);
		print_help(out, items[i].help);
	}
}
