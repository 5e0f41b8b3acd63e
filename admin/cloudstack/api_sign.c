// SPDX-License-Identifier: Apache-2.0
// Signatures of CloudStack's API, version 3: HMAC-SHA1 of the sorted query in lower case (no version has
// another hash), with a time after which the request is refused. vgpu-admin's client calls it.
#include "admin/cloudstack/api_sign.h"

#include <ctype.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define SHA1_BYTES 20

static struct api_parameter *find(const struct api_request *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->parameter[i].name, name) == 0)
			return (struct api_parameter *)&r->parameter[i];
	}
	return NULL;
}

void api_set(struct api_request *r, const char *name, const char *format, ...)
{
	struct api_parameter *p = find(r, name);
	va_list args;
	char *value;

	va_start(args, format);
	if (vasprintf(&value, format, args) < 0)
		text_memory(NULL);
	va_end(args);
	if (!p) {
		if (r->n == API_MOST_PARAMETERS)
			abort(); // the callers are ours
		p = &r->parameter[r->n++];
		p->name = name;
	} else {
		free(p->value);
	}
	p->value = value;
}

const char *api_get(const struct api_request *r, const char *name)
{
	const struct api_parameter *p = find(r, name);

	return p ? p->value : NULL;
}

void api_request_done(struct api_request *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->parameter[i].value);
	*r = (struct api_request){ 0 };
}

char *api_encode(const char *value)
{
	char *out = text_memory(malloc(3 * strlen(value) + 1)), *p = out;

	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if ((c < 0x80 && isalnum(c)) || strchr("-._*", c))
			*p++ = (char)c;
		else
			p += snprintf(p, 4, "%%%02X", c);
	}
	*p = 0;
	return out;
}

char *api_expires(long long now_s, unsigned seconds)
{
	time_t at = (time_t)(now_s + seconds);
	struct tm tm;
	char text[40];

	if (!gmtime_r(&at, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+0000", &tm))
		abort(); // no clock goes that far
	return text_print("%s", text);
}

static int by_name(const void *a, const void *b)
{
	const struct api_parameter *one = a, *other = b;

	return strcmp(one->name, other->name);
}

char *api_query(const struct api_request *r)
{
	struct api_request sorted = *r; // its values stay the request's
	char *text = NULL;
	size_t n = 0;
	FILE *out = text_memory(open_memstream(&text, &n));

	qsort(sorted.parameter, sorted.n, sizeof(sorted.parameter[0]), by_name);
	for (size_t i = 0; i < sorted.n; i++) {
		cleanup_free char *value = api_encode(sorted.parameter[i].value);

		fprintf(out, "%s%s=%s", i ? "&" : "", sorted.parameter[i].name, value);
	}
	if (fclose(out) != 0)
		text_memory(NULL);
	return text;
}

char *api_sign(const char *query, const char *secret)
{
	cleanup_free char *lower = text_print("%s", query);
	unsigned char digest[SHA1_BYTES];
	gnutls_datum_t bytes = { digest, sizeof(digest) }, base64;
	char *text;

	for (char *p = lower; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 'a' - 'A' : *p);
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA1, secret, strlen(secret), lower, strlen(lower), digest) < 0)
		return NULL;
	if (gnutls_base64_encode2(&bytes, &base64) < 0)
		return NULL;
	text = text_print("%.*s", (int)base64.size, (const char *)base64.data);
	gnutls_free(base64.data);
	return text;
}

char *api_form(const struct api_request *r, const char *secret)
{
	cleanup_free char *query = api_query(r);
	cleanup_free char *signature = api_sign(query, secret);
	cleanup_free char *encoded = signature ? api_encode(signature) : NULL;

	return encoded ? text_print("%s&signature=%s", query, encoded) : NULL;
}
