// SPDX-License-Identifier: Apache-2.0
// Bills: sums of the mediator's records by VM. vgpu-admin cloudstack usage calls it.
#include "admin/cloudstack/bill.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/cloudstack/cloudstack.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define RECORD_OF_VM "vm-"

static const char *const sums[] = { "gpu_ns", "memory_byte_s", "launches", "copy_bytes", "faults" };
static const char *const columns[] = { "vm",	     "name",	 "instance", "account",	      "project",
				       "domain",     "offering", "gpu_ns",   "memory_byte_s", "launches",
				       "copy_bytes", "faults" };

#define N_SUMS	  (sizeof(sums) / sizeof(sums[0]))
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

void bill_add(json_t *bill, const json_t *usage)
{
	const char *record = cloudstack_text(usage, "tenant");
	const char *vm = record + sizeof(RECORD_OF_VM) - 1;
	json_t *row;

	if (strncmp(record, RECORD_OF_VM, sizeof(RECORD_OF_VM) - 1) != 0)
		return;
	row = json_object_get(bill, vm);
	if (!row) {
		row = json_object();
		json_object_set_new(bill, vm, row);
	}
	for (size_t i = 0; i < N_SUMS; i++) {
		json_int_t sum = json_integer_value(json_object_get(row, sums[i]));

		if (__builtin_add_overflow(sum, json_integer_value(json_object_get(usage, sums[i])), &sum))
			sum = INT64_MAX;
		json_object_set_new(row, sums[i], json_integer(sum));
	}
}

static json_t *find_vm(const json_t *vms, const char *id)
{
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
	{
		if (strcasecmp(cloudstack_text(vm, "id"), id) == 0)
			return vm;
	}
	return NULL;
}

static void tell(json_t *row, const char *id, const json_t *vm)
{
	static const char *const fields[][2] = {
		{ "name", "displayname" }, { "instance", "instancename" },
		{ "account", "account" },  { "project", "project" },
		{ "domain", "domain" },	   { "offering", "serviceofferingname" },
	};

	json_object_set_new(row, "vm", json_string(id));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		json_t *value = vm ? json_object_get(vm, fields[i][1]) : NULL;

		json_object_set(row, fields[i][0], value ? value : json_null());
	}
}

static int by_gpu_time(const void *a, const void *b)
{
	json_int_t one = json_integer_value(json_object_get(*(json_t *const *)a, "gpu_ns")),
		   other = json_integer_value(json_object_get(*(json_t *const *)b, "gpu_ns"));

	return (one < other) - (one > other);
}

json_t *bill_rows(const json_t *bill, const json_t *vms)
{
	size_t n = 0;
	json_t **sorted = text_memory(calloc(json_object_size(bill) + 1, sizeof(json_t *))), *row,
	       *rows = json_array();
	const char *id;

	json_object_foreach((json_t *)bill, id, row)
	{
		tell(row, id, find_vm(vms, id));
		sorted[n++] = row;
	}
	qsort(sorted, n, sizeof(*sorted), by_gpu_time);
	for (size_t i = 0; i < n; i++)
		json_array_append(rows, sorted[i]);
	free(sorted);
	return rows;
}

static void put_text(FILE *out, const char *text)
{
	cleanup_free char *clean = text_clean(text);

	fputs(strchr("=+-@", clean[0]) && clean[0] ? "\"'" : "\"", out);
	for (const char *p = clean; *p; p++)
		fprintf(out, *p == '"' ? "\"%c" : "%c", *p);
	fputc('"', out);
}

void bill_print_csv(const json_t *rows, FILE *out)
{
	json_t *row;
	size_t n;

	for (size_t i = 0; i < N_COLUMNS; i++)
		fprintf(out, "%s%s", i ? "," : "", columns[i]);
	fputs("\r\n", out);
	json_array_foreach(rows, n, row)
	{
		for (size_t i = 0; i < N_COLUMNS; i++) {
			const json_t *value = json_object_get(row, columns[i]);

			if (i)
				fputc(',', out);
			if (json_is_integer(value))
				fprintf(out, "%lld", (long long)json_integer_value(value));
			else if (json_is_string(value))
				put_text(out, json_string_value(value));
		}
		fputs("\r\n", out);
	}
}
