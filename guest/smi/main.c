// SPDX-License-Identifier: Apache-2.0
// nvidia-smi: shows what NVML tells, in the formats of the driver's own tool. An ordinary program of the
// tenant: it has no rights beyond libnvidia-ml.so.1's.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/smi/options.h"
#include "guest/smi/screens.h"

#define HEADING_EVERY 16 // lines of dmon and pmon between two headings
#define MAX_GPUS      64

struct gpus {
	struct smi_gpu gpu[MAX_GPUS];
	unsigned int count;
};

static nvmlReturn_t add(struct gpus *g, nvmlDevice_t handle)
{
	unsigned int index = 0;
	nvmlReturn_t result = NVML(nvmlDeviceGetIndex, handle, &index);

	if (!result && g->count < MAX_GPUS)
		g->gpu[g->count++] = (struct smi_gpu){ .handle = handle, .index = index };
	return result;
}

// A GPU by what -i calls it: an index, a UUID or a PCI bus id.
static nvmlReturn_t find(const char *word, nvmlDevice_t *ret)
{
	char *end;
	unsigned long index = strtoul(word, &end, 10);

	if (end != word && !*end)
		return NVML(nvmlDeviceGetHandleByIndex_v2, (unsigned int)index, ret);
	if (!strncmp(word, "GPU-", 4))
		return NVML(nvmlDeviceGetHandleByUUID, word, ret);
	return NVML(nvmlDeviceGetHandleByPciBusId_v2, word, ret);
}

static nvmlReturn_t find_all(struct gpus *g)
{
	unsigned int count = 0;
	nvmlReturn_t result = NVML(nvmlDeviceGetCount_v2, &count);

	for (unsigned int i = 0; !result && i < count && i < MAX_GPUS; i++) {
		nvmlDevice_t handle;

		result = NVML(nvmlDeviceGetHandleByIndex_v2, i, &handle);
		if (!result)
			result = add(g, handle);
	}
	return result;
}

static nvmlReturn_t find_named(struct gpus *g, const char *list)
{
	char *words = strdup(list), *rest = words, *word;
	nvmlReturn_t result = words ? NVML_SUCCESS : NVML_ERROR_MEMORY;

	while (!result && (word = strsep(&rest, ","))) {
		nvmlDevice_t handle;

		result = find(word, &handle);
		if (!result)
			result = add(g, handle);
	}
	free(words);
	return result;
}

static int find_gpus(struct gpus *g, const struct smi_options *o, FILE *out)
{
	nvmlReturn_t result = o->id ? find_named(g, o->id) : find_all(g);

	if (!result && g->count)
		return 0;
	if (!result || result == NVML_ERROR_INVALID_ARGUMENT || result == NVML_ERROR_NOT_FOUND) {
		fprintf(out, "No devices were found\n");
		return SMI_EXIT_NO_DEVICE;
	}
	fprintf(out, "Unable to determine the device handle for GPU %s: %s\n", o->id ? o->id : "0",
		smi_nvml_text(result));
	return result == NVML_ERROR_GPU_IS_LOST ? (int)NVML_ERROR_GPU_IS_LOST : SMI_EXIT_NO_DRIVER;
}

static int print_screen(FILE *out, const struct smi_options *o, const struct gpus *g, unsigned int round)
{
	bool heading = round % HEADING_EVERY == 0, header = !o->no_header && !round;

	switch (o->screen) {
	case SMI_LIST: return smi_list(out, g->gpu, g->count);
	case SMI_DETAILS: return smi_details(out, o, g->gpu, g->count);
	case SMI_QUERY_GPUS: return smi_query_gpus(out, o, g->gpu, g->count, header);
	case SMI_QUERY_APPS: return smi_query_apps(out, o, g->gpu, g->count, header);
	case SMI_MONITOR_DEVICES: return smi_monitor_devices(out, g->gpu, g->count, heading);
	case SMI_MONITOR_PROCESSES: return smi_monitor_processes(out, g->gpu, g->count, heading);
	default: return smi_summary(out, g->gpu, g->count);
	}
}

static void nap(unsigned int ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static int print_rounds(FILE *out, const struct smi_options *o, const struct gpus *g)
{
	for (unsigned int round = 0;; round++) {
		int r = print_screen(out, o, g, round);

		if (fflush(out) == EOF)
			return SMI_EXIT_USAGE;
		if (r || !o->loop_ms || (o->rounds && round + 1 >= o->rounds))
			return r;
		nap(o->loop_ms);
	}
}

static int print_versions(FILE *out)
{
	char nvml[NVML_NVML_VERSION_BYTES] = "N/A", driver[SMI_VALUE_BYTES], cuda[32];

	const char *shown = nvml;
	char *dot;

	NVML(nvmlSystemGetNVMLVersion, nvml, sizeof(nvml));
	// "13.580.159.04": the interface's version, then the driver's, of which two parts are shown.
	dot = strchr(nvml, '.');
	if (dot) {
		shown = dot + 1;
		dot = strchr(shown, '.');
		dot = dot ? strchr(dot + 1, '.') : NULL;
		if (dot)
			*dot = 0;
	}
	smi_fact_text(NULL, SMI_DRIVER_VERSION, driver);
	smi_cuda_version(cuda, sizeof(cuda));
	fprintf(out,
		"NVIDIA-SMI version  : %s\nNVML version        : %s\nDRIVER version      : %s\nCUDA Version  "
		"      : %s\n"
		"vgpu version        : %s\n",
		driver, shown, driver, cuda, VGPU_VERSION);
	return 0;
}

static int run(FILE *out, const struct smi_options *o)
{
	struct gpus g = { .count = 0 };
	nvmlReturn_t result = smi_nvml_open();
	int r;

	if (result == NVML_ERROR_LIBRARY_NOT_FOUND) {
		fprintf(out, "NVIDIA-SMI has failed: there is no libnvidia-ml.so.1 on this system.\n");
		return SMI_EXIT_NO_LIBRARY;
	}
	if (result) {
		fprintf(out, "NVIDIA-SMI has failed: no GPU's driver answers (%s).\n", smi_nvml_text(result));
		return SMI_EXIT_NO_DRIVER;
	}
	if (o->screen == SMI_VERSION)
		r = print_versions(out);
	else {
		r = find_gpus(&g, o, out);
		if (!r)
			r = print_rounds(out, o, &g);
	}
	smi_nvml_close();
	return r;
}

// What needs no GPU; -1: the rest.
static int print_help(FILE *out, const struct smi_options *o)
{
	switch (o->screen) {
	case SMI_HELP: smi_options_help(out); return 0;
	case SMI_QUERY_GPUS_HELP: smi_query_gpus_help(out); return 0;
	case SMI_QUERY_APPS_HELP: smi_query_apps_help(out); return 0;
	default: return -1;
	}
}

static int run_to_file(const struct smi_options *o)
{
	FILE *out = fopen(o->file, "we");
	int r;

	if (!out) {
		printf("ERROR: cannot write %s: %s\n", o->file, strerror(errno));
		return SMI_EXIT_USAGE;
	}
	r = print_help(out, o);
	if (r < 0)
		r = run(out, o);
	return fclose(out) == EOF ? SMI_EXIT_USAGE : r;
}

int main(int argc, char **argv)
{
	struct smi_options o;
	int r = smi_options_parse(&o, argc, argv, stdout);

	if (r)
		return r;
	if (o.file)
		return run_to_file(&o);
	r = print_help(stdout, &o);
	return r < 0 ? run(stdout, &o) : r;
}
