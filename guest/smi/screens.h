// SPDX-License-Identifier: Apache-2.0
// The screens of nvidia-smi, each printed once per call from what NVML says at that moment, and what they
// share. The layouts, column by column, and the exit codes are those of the driver's own tool (580), because
// programs parse them.
#ifndef VGPU_SMI_SCREENS_H
#define VGPU_SMI_SCREENS_H

#include <stdio.h>

#include "guest/smi/facts.h"
#include "guest/smi/options.h"

enum smi_exit {
	SMI_EXIT_USAGE = 2,	// an argument or a query is wrong
	SMI_EXIT_NO_DEVICE = 6, // none, or none that -i names
	SMI_EXIT_NO_DRIVER = 9, // NVML does not reach a GPU's driver
	SMI_EXIT_NO_LIBRARY = 12,
	SMI_EXIT_OPTION = 255, // an option that does not exist
};

// Each prints all count GPUs and returns an exit status.
int smi_summary(FILE *out, const struct smi_gpu *gpus, unsigned int count);
int smi_list(FILE *out, const struct smi_gpu *gpus, unsigned int count);
int smi_details(FILE *out, const struct smi_options *o, const struct smi_gpu *gpus, unsigned int count);
// header: whether the line with the columns' names comes first (not in later rounds of -l).
int smi_query_gpus(FILE *out, const struct smi_options *o, const struct smi_gpu *gpus, unsigned int count,
		   bool header);
int smi_query_apps(FILE *out, const struct smi_options *o, const struct smi_gpu *gpus, unsigned int count,
		   bool header);
void smi_query_gpus_help(FILE *out);
void smi_query_apps_help(FILE *out);
// One line a GPU, or a process; heading: with the two lines above them.
int smi_monitor_devices(FILE *out, const struct smi_gpu *gpus, unsigned int count, bool heading);
int smi_monitor_processes(FILE *out, const struct smi_gpu *gpus, unsigned int count, bool heading);

// The time as in "Sat Nov 28 22:17:45 2026"; what CUDA version the driver supports, as "13.0" or "N/A".
void smi_date(char *text, size_t bytes);
void smi_cuda_version(char *text, size_t bytes);

#endif
