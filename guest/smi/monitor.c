// SPDX-License-Identifier: Apache-2.0
// nvidia-smi dmon and pmon: a line a GPU or a program, again and again; a value that is not known is "-".
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/smi/screens.h"

#define MAX_SAMPLES 128

static const struct {
	enum smi_fact_id fact;
	const char *head, *unit;
} device_columns[] = {
	{ SMI_POWER_DRAW, "pwr", "W" },		  { SMI_TEMPERATURE, "gtemp", "C" },
	{ SMI_TEMPERATURE_MEMORY, "mtemp", "C" }, { SMI_UTILIZATION_GPU, "sm", "%" },
	{ SMI_UTILIZATION_MEMORY, "mem", "%" },	  { SMI_UTILIZATION_ENCODER, "enc", "%" },
	{ SMI_UTILIZATION_DECODER, "dec", "%" },  { SMI_UTILIZATION_JPEG, "jpg", "%" },
	{ SMI_UTILIZATION_OFA, "ofa", "%" },	  { SMI_CLOCK_MEMORY, "mclk", "MHz" },
	{ SMI_CLOCK_SM, "pclk", "MHz" },
};
#define N_DEVICE_COLUMNS (sizeof(device_columns) / sizeof(device_columns[0]))

int smi_monitor_devices(FILE *out, const struct smi_gpu *gpus, unsigned int count, bool heading)
{
	for (int line = 0; heading && line < 2; line++) {
		fprintf(out, line ? "# Idx " : "# gpu ");
		for (size_t i = 0; i < N_DEVICE_COLUMNS; i++)
			fprintf(out, "%6s ", line ? device_columns[i].unit : device_columns[i].head);
		fputc('\n', out);
	}
	for (unsigned int g = 0; g < count; g++) {
		fprintf(out, "%5u ", gpus[g].index);
		for (size_t i = 0; i < N_DEVICE_COLUMNS; i++) {
			const struct smi_fact *f = &smi_facts[device_columns[i].fact];
			char value[SMI_VALUE_BYTES];

			if (f->get(&gpus[g], f->arg, value))
				fprintf(out, "%6d ", (int)strtod(value, NULL));
			else
				fprintf(out, "%6s ", "-");
		}
		fputc('\n', out);
	}
	fflush(out);
	return 0;
}

// The newest sample of a program, NULL: none.
static const nvmlProcessUtilizationSample_t *find_sample(const nvmlProcessUtilizationSample_t *samples,
							 unsigned int n, unsigned int pid)
{
	const nvmlProcessUtilizationSample_t *found = NULL;

	for (unsigned int i = 0; i < n; i++)
		if (samples[i].pid == pid && (!found || samples[i].timeStamp > found->timeStamp))
			found = &samples[i];
	return found;
}

static void print_percent(FILE *out, bool known, unsigned int percent)
{
	if (known && percent)
		fprintf(out, "%6u ", percent);
	else
		fprintf(out, "%6s ", "-");
}

static void print_process(FILE *out, const struct smi_gpu *gpu, const struct smi_process *p,
			  const nvmlProcessUtilizationSample_t *s)
{
	const char *slash = strrchr(p->name, '/');

	fprintf(out, "%5u %10u %5c ", gpu->index, p->pid, p->type);
	print_percent(out, s, s ? s->smUtil : 0);
	print_percent(out, s, s ? s->memUtil : 0);
	print_percent(out, s, s ? s->encUtil : 0);
	print_percent(out, s, s ? s->decUtil : 0);
	print_percent(out, false, 0);
	print_percent(out, false, 0);
	fprintf(out, "   %-15.15s\n", slash ? slash + 1 : p->name);
}

static void print_gpu(FILE *out, const struct smi_gpu *gpu)
{
	nvmlProcessUtilizationSample_t samples[MAX_SAMPLES];
	unsigned int n_samples = MAX_SAMPLES, n = 0;
	struct smi_process *all = NULL;

	if (NVML(nvmlDeviceGetProcessUtilization, gpu->handle, samples, &n_samples, 0ull))
		n_samples = 0;
	smi_processes(gpu, &all, &n);
	for (unsigned int i = 0; i < n; i++)
		print_process(out, gpu, &all[i], find_sample(samples, n_samples, all[i].pid));
	if (!n)
		fprintf(out, "%5u %10s %5s %6s %6s %6s %6s %6s %6s    %-15s\n", gpu->index, "-", "-", "-",
			"-", "-", "-", "-", "-", "-");
	free(all);
}

int smi_monitor_processes(FILE *out, const struct smi_gpu *gpus, unsigned int count, bool heading)
{
	if (heading)
		fprintf(
		    out,
		    "# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command \n"
		    "# Idx           #    C/G      %%      %%      %%      %%      %%      %%    name \n");
	for (unsigned int g = 0; g < count; g++)
		print_gpu(out, &gpus[g]);
	fflush(out);
	return 0;
}
