// SPDX-License-Identifier: Apache-2.0
// Any domain's XML, with all its mediated devices taken for ours: what comes out can be read again, has none
// of them, has a device each, and is not changed by doing it again.
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/domain.h"
#include "admin/text.h"
#include "common/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *rewrite_all(struct domain *d, size_t *ret_n)
{
	static const char *const sockets[] = { "/run/vgpu-stub/0.sock", "/s/\xc3\xa9'\"<&>.sock" };
	static char uuids[DOMAIN_MOST_VGPUS][DOMAIN_UUID_BYTES];
	struct domain_plan plan = { .emulator = "/opt/q&u'", .n = d->n_mdevs };
	cleanup_free char *why = NULL;
	char *text;

	if (d->n_sockets + d->n_mdevs > DOMAIN_MOST_VGPUS)
		plan.n = 0;
	for (size_t i = 0; i < plan.n; i++) {
		memcpy(uuids[i], d->mdevs[i].uuid, DOMAIN_UUID_BYTES);
		plan.vgpus[i].vgpu = uuids[i];
		plan.vgpus[i].socket = sockets[i % 2];
	}
	*ret_n = plan.n;
	text = domain_rewrite(d, &plan, &why);
	assert(!text == !!why);
	return text;
}

static struct domain *read_text(const char *xml, size_t len)
{
	cleanup_free char *why = NULL;
	struct domain *d = domain_read(xml, len, DOMAIN_MOST_BYTES, &why);

	assert(!d == !!why);
	return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct domain *d = read_text((const char *)data, size), *after;
	size_t n, had, mdevs, none;
	cleanup_free char *text = NULL, *again = NULL;

	if (!d)
		return 0;
	had = d->n_sockets;
	mdevs = d->n_mdevs;
	text = d->strange ? NULL : rewrite_all(d, &n);
	domain_free(d);
	if (!text)
		return 0;
	assert(strlen(text) <= DOMAIN_MOST_OUTPUT);
	after = read_text(text, strlen(text));
	assert(after && !after->strange && after->n_sockets == had + n && after->n_mdevs == mdevs - n);
	if (!after->n_mdevs)
		again = rewrite_all(after, &none);
	assert(after->n_mdevs || !again || strcmp(again, text) == 0);
	domain_free(after);
	return 0;
}
