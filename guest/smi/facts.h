// SPDX-License-Identifier: Apache-2.0
// What can be said about a GPU, each fact once: its value as text without a unit, its unit, and its names in
// --query-gpu. All screens are made of these.
#ifndef VGPU_SMI_FACTS_H
#define VGPU_SMI_FACTS_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/smi/nvml.h"

#define SMI_VALUE_BYTES 160

struct smi_gpu {
	nvmlDevice_t handle;
	unsigned int index;
};

enum smi_fact_id {
#define FACT(id, name, alias, unit, get, arg) SMI_##id,
#include "guest/smi/facts.def"
#undef FACT
	SMI_FACTS
};

struct smi_fact {
	const char *name, *alias; // in --query-gpu; NULL: not there
	const char *unit;	  // "" for none
	// Writes the value, at most SMI_VALUE_BYTES. False: the library does not tell it.
	bool (*get)(const struct smi_gpu *gpu, unsigned int arg, char *value);
	unsigned int arg;
};
extern const struct smi_fact smi_facts[SMI_FACTS];

// The value with a space and its unit if it has one, "N/A" if it is not known.
void smi_fact_text(const struct smi_gpu *gpu, enum smi_fact_id id, char *value);

// Bytes as whole MiB, to the nearest as the driver's tool rounds.
static inline unsigned long long smi_mib(unsigned long long bytes)
{
	return (bytes + (1ull << 19)) >> 20;
}

// A program that uses the GPU. memory is in bytes, NVML_VALUE_NOT_AVAILABLE: not known.
struct smi_process {
	unsigned int pid;
	char type; // C compute, G graphics
	unsigned long long memory;
	char name[512]; // as the system tells it, "[Not Found]" when it does not
};

// The programs on a GPU: *ret is the caller's, malloc. The library's answer.
nvmlReturn_t smi_processes(const struct smi_gpu *gpu, struct smi_process **ret, unsigned int *ret_count);

#endif
