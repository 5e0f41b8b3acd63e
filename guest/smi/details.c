// SPDX-License-Identifier: Apache-2.0
// nvidia-smi -q: everything about each GPU, a line a fact, whole or by sections (-d). The lines are in
// details.def.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/smi/screens.h"

// Sections of -d. GENERAL is what only the whole shows.
enum section {
	GENERAL = 1 << 0,
	MEMORY = 1 << 1,
	UTILIZATION = 1 << 2,
	ECC = 1 << 3,
	TEMPERATURE = 1 << 4,
	POWER = 1 << 5,
	CLOCK = 1 << 6,
	COMPUTE = 1 << 7,
	PIDS = 1 << 8,
	PERFORMANCE = 1 << 9,
	RETIREMENT = 1 << 10,
	ACCOUNTING = 1 << 11,
	ENCODER = 1 << 12,
	FBC = 1 << 13,
	REMAPPER = 1 << 14,
	GSP_FIRMWARE = 1 << 15,
};

// Sections that the driver's tool has and of which nothing is known here show nothing.
static const struct {
	const char *name;
	unsigned int bit;
} sections[] = {
	{ "MEMORY", MEMORY },
	{ "UTILIZATION", UTILIZATION },
	{ "ECC", ECC },
	{ "TEMPERATURE", TEMPERATURE },
	{ "POWER", POWER },
	{ "CLOCK", CLOCK },
	{ "COMPUTE", COMPUTE },
	{ "PIDS", PIDS },
	{ "PERFORMANCE", PERFORMANCE },
	{ "PAGE_RETIREMENT", RETIREMENT },
	{ "ACCOUNTING", ACCOUNTING },
	{ "ENCODER_STATS", ENCODER },
	{ "FBC_STATS", FBC },
	{ "ROW_REMAPPER", REMAPPER },
	{ "GSP_FIRMWARE_VERSION", GSP_FIRMWARE },
	{ "SUPPORTED_CLOCKS", 0 },
	{ "SUPPORTED_GPU_TARGET_TEMP", 0 },
	{ "VOLTAGE", 0 },
	{ "POWER_SMOOTHING", 0 },
	{ "POWER_PROFILES", 0 },
};

enum line_kind { LINE_HEAD, LINE_FACT, LINE_NONE };

static const struct line {
	unsigned int sections;
	int depth;
	const char *label, *unit;
	enum line_kind kind;
	enum smi_fact_id fact;
} lines[] = {
#define HEAD(section, depth, label)		{ section, depth, label, "", LINE_HEAD, SMI_FACTS },
#define LINE(section, depth, label, fact, unit) { section, depth, label, unit, LINE_FACT, SMI_##fact },
#define NONE(section, depth, label)		{ section, depth, label, "", LINE_NONE, SMI_FACTS },
#include "guest/smi/details.def"
#undef HEAD
#undef LINE
#undef NONE
};

#define COLON	      55 // column of the colon
#define PROCESS_COLON 42
#define INDENT(depth) (4 * (depth))

static void print_value(FILE *out, int depth, int colon, const char *label, const char *value)
{
	fprintf(out, "%*s%-*s: %s\n", INDENT(depth), "", colon - INDENT(depth), label, value);
}

static void print_line(FILE *out, const struct smi_gpu *gpu, const struct line *l)
{
	const struct smi_fact *f = &smi_facts[l->fact];
	char value[SMI_VALUE_BYTES], text[SMI_VALUE_BYTES + 16];

	if (l->kind == LINE_HEAD) {
		fprintf(out, "%*s%s\n", INDENT(l->depth), "", l->label);
		return;
	}
	if (l->kind == LINE_NONE || !f->get(gpu, f->arg, value))
		snprintf(text, sizeof(text), "N/A");
	else if (l->unit[0])
		snprintf(text, sizeof(text), "%s%s", value, l->unit);
	else
		snprintf(text, sizeof(text), "%s%s%s", value, f->unit[0] ? " " : "", f->unit);
	print_value(out, l->depth, COLON, l->label, text);
}

static void print_processes(FILE *out, const struct smi_gpu *gpu)
{
	struct smi_process *all = NULL;
	unsigned int count = 0;
	nvmlReturn_t result = smi_processes(gpu, &all, &count);

	if (result || !count)
		print_value(out, 1, COLON, "Processes", result ? "N/A" : "None");
	else
		fprintf(out, "%*sProcesses\n", INDENT(1), "");
	for (unsigned int i = 0; i < count; i++) {
		char number[32], used[32] = "N/A";
		char type[2] = { all[i].type, 0 };

		snprintf(number, sizeof(number), "%u", all[i].pid);
		if (all[i].memory != (unsigned long long)NVML_VALUE_NOT_AVAILABLE)
			snprintf(used, sizeof(used), "%llu MiB", smi_mib(all[i].memory));
		print_value(out, 2, PROCESS_COLON, "GPU instance ID", "N/A");
		print_value(out, 2, PROCESS_COLON, "Compute instance ID", "N/A");
		print_value(out, 2, PROCESS_COLON, "Process ID", number);
		print_value(out, 3, PROCESS_COLON, "Type", type);
		print_value(out, 3, PROCESS_COLON, "Name", all[i].name);
		print_value(out, 3, PROCESS_COLON, "Used GPU Memory", used);
	}
	free(all);
}

static void print_gpu(FILE *out, const struct smi_gpu *gpu, unsigned int wanted)
{
	char bus_id[SMI_VALUE_BYTES];

	smi_fact_text(gpu, SMI_BUS_ID, bus_id);
	fprintf(out, "GPU %s\n", bus_id);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (lines[i].sections & wanted)
			print_line(out, gpu, &lines[i]);
	if (wanted & (GENERAL | PIDS))
		print_processes(out, gpu);
	fputc('\n', out);
}

// The sections that a list like MEMORY,ECC names, 0: it names an unknown one.
static int parse_sections(const char *list, unsigned int *ret)
{
	const char *p = list;

	*ret = 0;
	for (;;) {
		size_t length = strcspn(p, ","), i;

		for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
			if (strlen(sections[i].name) == length && !strncmp(sections[i].name, p, length))
				break;
		if (i == sizeof(sections) / sizeof(sections[0]))
			return 0;
		*ret |= sections[i].bit;
		if (!p[length])
			return 1;
		p += length + 1;
	}
}

int smi_details(FILE *out, const struct smi_options *o, const struct smi_gpu *gpus, unsigned int count)
{
	char when[64], driver[SMI_VALUE_BYTES], number[32];
	unsigned int wanted = GENERAL, all = 0;

	if (o->display && !parse_sections(o->display, &wanted)) {
		fprintf(out, "Failed to parse --display/-d flags\n");
		return SMI_EXIT_USAGE;
	}
	smi_date(when, sizeof(when));
	smi_fact_text(NULL, SMI_DRIVER_VERSION, driver);
	NVML(nvmlDeviceGetCount_v2, &all);
	fprintf(out, "\n==============NVSMI LOG==============\n\n");
	print_value(out, 0, COLON, "Timestamp", when);
	print_value(out, 0, COLON, "Driver Version", driver);
	smi_cuda_version(number, sizeof(number));
	print_value(out, 0, COLON, "CUDA Version", number);
	fputc('\n', out);
	snprintf(number, sizeof(number), "%u", all);
	print_value(out, 0, COLON, "Attached GPUs", number);
	for (unsigned int i = 0; i < count; i++)
		print_gpu(out, &gpus[i], wanted);
	return 0;
}
