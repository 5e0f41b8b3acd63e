// SPDX-License-Identifier: Apache-2.0
// What vgpu-admin makes of a server's bytes: event streams, metrics, JSON, names. Whatever comes, nothing
// that a terminal acts on goes out, and JSON that was well-formed still means the same.
#include <assert.h>
#include <jansson.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/metrics_text.h"
#include "admin/sse.h"
#include "admin/text.h"
#include "admin/top_model.h"
#include "admin/view.h"
#include "common/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct view_column columns[] = { { "NAME", "name", FORMAT_TEXT, .cut = true },
					      { "HELD", "held_ns.turn", FORMAT_NS, .drop = 1 },
					      { "WHAT", "what", FORMAT_JSON, .cut = true },
					      { 0 } };

static void must_be_harmless(const char *text)
{
	for (; *text; text++)
		assert(*text == '\n' || ((unsigned char)*text >= 0x20 && *text != 0x7f));
}

static bool on_event(void *opaque, const char *type, const char *data)
{
	cleanup_free char *clean = text_clean(data), *clean_type = text_clean(type);

	(void)opaque;
	must_be_harmless(clean);
	must_be_harmless(clean_type);
	return true;
}

static void show(const json_t *answer, char *metrics)
{
	const struct view view = { "tenants", "None.", columns, 0 };
	const struct top_look look = { .width = 90 };
	struct top_sample *sample = top_read(answer, answer, metrics);
	cleanup_free char *text = NULL;
	size_t n = 0;
	struct output o = { .out = text_memory(open_memstream(&text, &n)), .width = 40 };

	if (json_is_object(answer))
		view_print(&view, answer, &o);
	top_print(sample, sample, &look, o.out);
	fclose(o.out);
	must_be_harmless(text);
	top_sample_free(sample);
}

static void print_json(const json_t *answer, const char *bytes, size_t n)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	FILE *out = text_memory(open_memstream(&text, &len));
	json_t *again;

	text_put_json(out, bytes, n);
	fclose(out);
	again = json_loadb(text, len, 0, NULL);
	assert(again && json_equal((json_t *)answer, again));
	json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = text_memory(calloc(1, size + 1));
	json_t *answer;
	struct sse s;

	setlocale(LC_CTYPE, "C.UTF-8");
	text_init();
	memcpy(text, data, size);
	sse_init(&s, on_event, NULL);
	for (size_t at = 0, step = 1; at < size; at += step, step = step % 7 + 1) {
		if (!sse_take(&s, text + at, size - at < step ? size - at : step))
			break;
	}
	sse_done(&s);
	answer = json_loadb(text, size, 0, NULL);
	if (answer)
		print_json(answer, text, size);
	show(answer, text);
	json_decref(answer);
	return 0;
}
