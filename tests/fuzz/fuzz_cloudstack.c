// SPDX-License-Identifier: Apache-2.0
// What vgpu-admin makes of the bytes of a management server: there is either an object or a reason, a reason
// is harmless on a terminal, and rows and bills come of whatever the object holds.
#include <assert.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/api_answer.h"
#include "admin/cloudstack/bill.h"
#include "admin/cloudstack/compare.h"
#include "admin/text.h"
#include "common/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_harmless(const char *text)
{
	for (; *text; text++)
		assert((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void look_at_reason(struct api_error *e, bool wanted)
{
	assert(!wanted == !e->text && !wanted == !e->code);
	if (e->text)
		must_be_harmless(e->text);
	api_error_done(e);
}

static void join(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "gpudevice");
	json_t *rows = compare_rows(list, json_object_get(answer, "vgpus")), *row, *bill = json_object();
	size_t i, left = 0;
	cleanup_free char *text = NULL;
	size_t n = 0;
	FILE *out = text_memory(open_memstream(&text, &n));

	json_array_foreach(rows, i, row) left += compare_is_left_over(row);
	assert(left <= compare_differences(rows)); // what prune deletes is a difference
	json_decref(rows);
	json_array_foreach(list, i, row) bill_add(bill, row);
	rows = bill_rows(bill, list);
	assert(json_array_size(rows) == json_object_size(bill));
	bill_print_csv(rows, out);
	fclose(out);
	json_decref(rows);
	json_decref(bill);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_error error;
	json_t *answer;

	setlocale(LC_CTYPE, "C.UTF-8");
	text_init();
	for (long status = 200; status <= 530; status += 330) {
		enum api_job job;

		answer = api_answer_read((const char *)data, size, status, &error);
		assert(!answer || (json_is_object(answer) && status == 200));
		look_at_reason(&error, !answer);
		if (!answer)
			continue;
		job = api_job_read(answer, &error);
		look_at_reason(&error, job == API_JOB_FAILED);
		join(answer);
		json_decref(answer);
	}
	return 0;
}
