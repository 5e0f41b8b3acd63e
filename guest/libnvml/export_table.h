// SPDX-License-Identifier: Apache-2.0
// The table behind nvmlInternalGetExportTable; made by generate.py from export_table.yaml.
#ifndef VGPU_LIBNVML_EXPORT_TABLE_H
#define VGPU_LIBNVML_EXPORT_TABLE_H

#include "guest/libnvml/libnvml.h"

typedef void (*export_word)(void);

extern const uint8_t export_table_uuid[16];
extern const export_word export_table[];

// One program that uses the device, as nvidia-smi 580 reads it.
struct export_process {
	nvmlProcessDetail_v1_t detail;
	char name[4096];
};
static_assert(sizeof(struct export_process) == 4128, "nvidia-smi");

nvmlReturn_t export_section(void);
nvmlReturn_t export_device(unsigned int index, nvmlDevice_t *device);
nvmlReturn_t export_compute_processes(nvmlDevice_t device, unsigned int *count, struct export_process *list);
nvmlReturn_t export_absent(void); // NOT_SUPPORTED, and no line in the log
nvmlReturn_t export_no_processes(nvmlDevice_t device, unsigned int *count, struct export_process *list);

#endif
