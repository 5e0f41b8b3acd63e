// SPDX-License-Identifier: Apache-2.0
// nvidia-smi without arguments: the table of GPUs and the table of processes; and -L. Every column is where
// the driver's own tool has it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/smi/screens.h"

#define NAME_COLUMN    27 // longer names end in dots
#define PROCESS_COLUMN 38
#define PROCESS_NAME   32 // longer ones begin with dots

static const char wide_line[] =
    "+-----------------------------------------------------------------------------------------+";
static const char cells_line[] =
    "+-----------------------------------------+------------------------+----------------------+";

void smi_date(char *text, size_t bytes)
{
	time_t now = time(NULL);
	struct tm tm;

	strftime(text, bytes, "%a %b %e %H:%M:%S %Y", localtime_r(&now, &tm));
}

void smi_cuda_version(char *text, size_t bytes)
{
	int version = 0;

	if (NVML(nvmlSystemGetCudaDriverVersion_v2, &version))
		snprintf(text, bytes, "N/A");
	else
		snprintf(text, bytes, "%d.%d", version / 1000, version % 1000 / 10);
}

static void print_head(FILE *out)
{
	char when[64], driver[SMI_VALUE_BYTES], cuda[32];

	smi_date(when, sizeof(when));
	smi_fact_text(NULL, SMI_DRIVER_VERSION, driver);
	smi_cuda_version(cuda, sizeof(cuda));
	fprintf(out, "%s       \n%s\n", when, wide_line);
	fprintf(out, "| NVIDIA-SMI %-22.22s Driver Version: %-14.14s CUDA Version: %-8.8s |\n", driver,
		driver, cuda);
	fprintf(out, "%s\n", cells_line);
	fprintf(
	    out,
	    "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |\n"
	    "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |\n"
	    "|                                         |                        |               MIG M. |\n"
	    "|=========================================+========================+======================|\n");
}

// The value of a fact with something right behind it, or "N/A" alone.
static void value_with(const struct smi_gpu *gpu, enum smi_fact_id id, const char *behind, char *ret,
		       size_t bytes)
{
	char value[SMI_VALUE_BYTES];

	if (smi_facts[id].get(gpu, smi_facts[id].arg, value))
		snprintf(ret, bytes, "%.20s%s", value, behind);
	else
		snprintf(ret, bytes, "N/A");
}

// Watts as whole numbers: the column has no room for more.
static void watts(const struct smi_gpu *gpu, enum smi_fact_id id, char *ret, size_t bytes)
{
	char value[SMI_VALUE_BYTES];

	if (smi_facts[id].get(gpu, smi_facts[id].arg, value))
		snprintf(ret, bytes, "%dW", (int)strtod(value, NULL));
	else
		snprintf(ret, bytes, "N/A");
}

// "On" or "Off" of a fact that is Enabled or Disabled.
static const char *on_off(const struct smi_gpu *gpu, enum smi_fact_id id)
{
	char value[SMI_VALUE_BYTES];

	if (!smi_facts[id].get(gpu, smi_facts[id].arg, value))
		return "N/A";
	return strcmp(value, "Enabled") ? "Off" : "On";
}

static void print_first_row(FILE *out, const struct smi_gpu *gpu)
{
	char name[SMI_VALUE_BYTES], bus_id[SMI_VALUE_BYTES], ecc[SMI_VALUE_BYTES] = "Off";

	smi_fact_text(gpu, SMI_NAME, name);
	if (strlen(name) > NAME_COLUMN)
		memcpy(name + NAME_COLUMN - 3, "...", 4);
	smi_fact_text(gpu, SMI_BUS_ID, bus_id);
	if (strcmp(on_off(gpu, SMI_ECC_MODE), "Off"))
		smi_fact_text(gpu, SMI_ECC_UV_TOTAL, ecc);
	fprintf(out, "| %3u  %-30s %-3s |   %16s %-3s | %20s |\n", gpu->index, name,
		on_off(gpu, SMI_PERSISTENCE_MODE), bus_id, on_off(gpu, SMI_DISPLAY_ACTIVE), ecc);
}

static void print_second_row(FILE *out, const struct smi_gpu *gpu)
{
	char fan[16], temperature[16], state[SMI_VALUE_BYTES], draw[16], limit[16], used[32], total[32],
	    load[16];
	char mode[SMI_VALUE_BYTES];

	value_with(gpu, SMI_FAN_SPEED, "%", fan, sizeof(fan));
	value_with(gpu, SMI_TEMPERATURE, "C", temperature, sizeof(temperature));
	smi_fact_text(gpu, SMI_PERFORMANCE_STATE, state);
	watts(gpu, SMI_POWER_DRAW, draw, sizeof(draw));
	watts(gpu, SMI_POWER_LIMIT_ENFORCED, limit, sizeof(limit));
	value_with(gpu, SMI_MEMORY_USED, "MiB", used, sizeof(used));
	value_with(gpu, SMI_MEMORY_TOTAL, "MiB", total, sizeof(total));
	value_with(gpu, SMI_UTILIZATION_GPU, "%", load, sizeof(load));
	smi_fact_text(gpu, SMI_COMPUTE_MODE, mode);
	if (!strcmp(mode, "Exclusive_Process"))
		snprintf(mode, sizeof(mode), "E. Process");
	fprintf(out, "| %3s  %4s    %-3s%15s / %5s |%11s / %9s |%8s %12s |\n", fan, temperature, state, draw,
		limit, used, total, load, mode);
}

static void print_gpu(FILE *out, const struct smi_gpu *gpu)
{
	char mig[SMI_VALUE_BYTES];

	print_first_row(out, gpu);
	print_second_row(out, gpu);
	smi_fact_text(gpu, SMI_MIG_MODE, mig);
	fprintf(out, "|                                         |                        |%21s |\n%s\n", mig,
		cells_line);
}

static void print_process(FILE *out, const struct smi_gpu *gpu, const struct smi_process *p)
{
	char name[PROCESS_NAME + 1], used[32] = "N/A";
	size_t length = strlen(p->name);

	if (length > PROCESS_NAME)
		snprintf(name, sizeof(name), "...%.*s", PROCESS_NAME - 3,
			 p->name + length - (PROCESS_NAME - 3));
	else
		snprintf(name, sizeof(name), "%.*s", PROCESS_NAME, p->name);
	if (p->memory != (unsigned long long)NVML_VALUE_NOT_AVAILABLE)
		snprintf(used, sizeof(used), "%lluMiB", smi_mib(p->memory));
	fprintf(out, "|%5u   N/A  N/A%16u      %c   %-*s%8s |\n", gpu->index, p->pid, p->type, PROCESS_COLUMN,
		name, used);
}

static void print_processes(FILE *out, const struct smi_gpu *gpus, unsigned int count)
{
	unsigned int printed = 0;

	fprintf(out, "\n%s\n", wide_line);
	fprintf(
	    out,
	    "| Processes:                                                                              |\n"
	    "|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |\n"
	    "|        ID   ID                                                               Usage      |\n"
	    "|=========================================================================================|\n");
	for (unsigned int i = 0; i < count; i++) {
		struct smi_process *all = NULL;
		unsigned int n = 0;

		smi_processes(&gpus[i], &all, &n);
		for (unsigned int j = 0; j < n; j++)
			print_process(out, &gpus[i], &all[j]);
		printed += n;
		free(all);
	}
	if (!printed)
		fprintf(out, "|  No running processes found                                                  "
			     "           |\n");
	fprintf(out, "%s\n", wide_line);
}

int smi_summary(FILE *out, const struct smi_gpu *gpus, unsigned int count)
{
	print_head(out);
	for (unsigned int i = 0; i < count; i++)
		print_gpu(out, &gpus[i]);
	print_processes(out, gpus, count);
	return 0;
}

int smi_list(FILE *out, const struct smi_gpu *gpus, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		char name[SMI_VALUE_BYTES], uuid[SMI_VALUE_BYTES];

		smi_fact_text(&gpus[i], SMI_NAME, name);
		smi_fact_text(&gpus[i], SMI_UUID, uuid);
		fprintf(out, "GPU %u: %s (UUID: %s)\n", gpus[i].index, name, uuid);
	}
	return 0;
}
