// SPDX-License-Identifier: Apache-2.0
// nvidia-smi --query-gpu and --query-compute-apps: chosen properties as comma-separated values.
#include <stdlib.h>
#include <string.h>

#include "guest/smi/screens.h"

#define MAX_COLUMNS 256

// What --query-compute-apps knows; the facts are those of the GPU that the program is on.
enum app_column { APP_PID, APP_NAME, APP_MEMORY, APP_FACT };
static const struct {
	const char *name, *alias, *unit;
	enum app_column column;
	enum smi_fact_id fact;
} app_columns[] = {
	{ "timestamp", NULL, "", APP_FACT, SMI_TIMESTAMP },
	{ "gpu_name", NULL, "", APP_FACT, SMI_NAME },
	{ "gpu_bus_id", NULL, "", APP_FACT, SMI_BUS_ID },
	{ "gpu_serial", NULL, "", APP_FACT, SMI_SERIAL },
	{ "gpu_uuid", NULL, "", APP_FACT, SMI_UUID },
	{ "pid", NULL, "", APP_PID, SMI_FACTS },
	{ "process_name", "name", "", APP_NAME, SMI_FACTS },
	{ "used_gpu_memory", "used_memory", "MiB", APP_MEMORY, SMI_FACTS },
};
#define N_APP_COLUMNS (sizeof(app_columns) / sizeof(app_columns[0]))

struct columns {
	unsigned int index[MAX_COLUMNS], count;
};

static bool names(const char *word, size_t length, const char *name, const char *alias)
{
	return (name && strlen(name) == length && !strncmp(name, word, length)) ||
	       (alias && strlen(alias) == length && !strncmp(alias, word, length));
}

static unsigned int find_fact(const char *word, size_t length)
{
	unsigned int i;

	for (i = 0; i < SMI_FACTS; i++)
		if (names(word, length, smi_facts[i].name, smi_facts[i].alias))
			break;
	return i;
}

static unsigned int find_app_column(const char *word, size_t length)
{
	unsigned int i;

	for (i = 0; i < N_APP_COLUMNS; i++)
		if (names(word, length, app_columns[i].name, app_columns[i].alias))
			break;
	return i;
}

// The columns that a list names: 0, or an exit status with what is wrong on out. limit is what find answers
// for an unknown name.
static int parse(const char *list, unsigned int (*find)(const char *, size_t), unsigned int limit,
		 struct columns *ret, FILE *out)
{
	const char *p = list;

	ret->count = 0;
	for (;;) {
		size_t length;
		unsigned int i;

		p += strspn(p, " ");
		length = strcspn(p, ",");
		while (length && p[length - 1] == ' ')
			length--;
		i = find(p, length);
		if (i == limit || ret->count == MAX_COLUMNS) {
			fprintf(out, "Field \"%.*s\" is not a valid field to query.\n\n", (int)length, p);
			return SMI_EXIT_USAGE;
		}
		ret->index[ret->count++] = i;
		p += strcspn(p, ",");
		if (!*p)
			return 0;
		p++;
	}
}

static void print_name(FILE *out, bool first, const char *name, const char *unit)
{
	fprintf(out, "%s%s", first ? "" : ", ", name);
	if (unit[0])
		fprintf(out, " [%s]", unit);
}

static void print_value(FILE *out, const struct smi_options *o, bool first, const char *value,
			const char *unit)
{
	fprintf(out, "%s%s", first ? "" : ", ", value ? value : "[N/A]");
	if (value && unit[0] && !o->no_units)
		fprintf(out, " %s", unit);
}

static void print_fact(FILE *out, const struct smi_options *o, const struct smi_gpu *gpu, bool first,
		       enum smi_fact_id id)
{
	const struct smi_fact *f = &smi_facts[id];
	char value[SMI_VALUE_BYTES];

	if (!f->get(gpu, f->arg, value))
		print_value(out, o, first, NULL, f->unit);
	else if (id == SMI_DISPLAY_MODE) // a remark instead of a value
		fprintf(out, "%s[%s]", first ? "" : ", ", value);
	else
		print_value(out, o, first, value, f->unit);
}

int smi_query_gpus(FILE *out, const struct smi_options *o, const struct smi_gpu *gpus, unsigned int count,
		   bool header)
{
	struct columns c;
	int r = parse(o->query, find_fact, SMI_FACTS, &c, out);

	if (r)
		return r;
	for (unsigned int i = 0; header && i < c.count; i++)
		print_name(out, !i, smi_facts[c.index[i]].name, smi_facts[c.index[i]].unit);
	if (header)
		fputc('\n', out);
	for (unsigned int g = 0; g < count; g++) {
		for (unsigned int i = 0; i < c.count; i++)
			print_fact(out, o, &gpus[g], !i, (enum smi_fact_id)c.index[i]);
		fputc('\n', out);
	}
	return 0;
}

static void print_app(FILE *out, const struct smi_options *o, const struct smi_gpu *gpu,
		      const struct columns *c, const struct smi_process *p)
{
	char number[32];

	for (unsigned int i = 0; i < c->count; i++) {
		unsigned int column = c->index[i];

		switch (app_columns[column].column) {
		case APP_FACT: print_fact(out, o, gpu, !i, app_columns[column].fact); break;
		case APP_NAME: print_value(out, o, !i, p->name, ""); break;
		case APP_PID:
			snprintf(number, sizeof(number), "%u", p->pid);
			print_value(out, o, !i, number, "");
			break;
		case APP_MEMORY:
			snprintf(number, sizeof(number), "%llu", smi_mib(p->memory));
			print_value(out, o, !i,
				    p->memory == (unsigned long long)NVML_VALUE_NOT_AVAILABLE ? NULL : number,
				    "MiB");
			break;
		}
	}
	fputc('\n', out);
}

int smi_query_apps(FILE *out, const struct smi_options *o, const struct smi_gpu *gpus, unsigned int count,
		   bool header)
{
	struct columns c;
	int r = parse(o->query, find_app_column, N_APP_COLUMNS, &c, out);

	if (r)
		return r;
	for (unsigned int i = 0; header && i < c.count; i++)
		print_name(out, !i, app_columns[c.index[i]].name, app_columns[c.index[i]].unit);
	if (header)
		fputc('\n', out);
	for (unsigned int g = 0; g < count; g++) {
		struct smi_process *all = NULL;
		unsigned int n = 0;

		smi_processes(&gpus[g], &all, &n);
		for (unsigned int i = 0; i < n; i++)
			if (all[i].type == 'C')
				print_app(out, o, &gpus[g], &c, &all[i]);
		free(all);
	}
	return 0;
}

static void print_help(FILE *out, const char *name, const char *alias, const char *unit)
{
	fprintf(out, "\"%s\"", name);
	if (alias)
		fprintf(out, " or \"%s\"", alias);
	if (unit[0])
		fprintf(out, "  [%s]", unit);
	fputc('\n', out);
}

void smi_query_gpus_help(FILE *out)
{
	fprintf(out, "Properties for --query-gpu (one that is not known is shown as [N/A]):\n\n");
	for (unsigned int i = 0; i < SMI_FACTS; i++)
		if (smi_facts[i].name)
			print_help(out, smi_facts[i].name, smi_facts[i].alias, smi_facts[i].unit);
}

void smi_query_apps_help(FILE *out)
{
	fprintf(out, "Properties for --query-compute-apps, of each program that computes on a GPU:\n\n");
	for (unsigned int i = 0; i < N_APP_COLUMNS; i++)
		print_help(out, app_columns[i].name, app_columns[i].alias, app_columns[i].unit);
}
