// SPDX-License-Identifier: Apache-2.0
// The command line of nvidia-smi: short options whose value may stand behind "=" or in the next word, long
// options with "=", and the words dmon and pmon.
#ifndef VGPU_SMI_OPTIONS_H
#define VGPU_SMI_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

enum smi_screen {
	SMI_SUMMARY,
	SMI_LIST,
	SMI_DETAILS,
	SMI_QUERY_GPUS,
	SMI_QUERY_APPS,
	SMI_QUERY_GPUS_HELP,
	SMI_QUERY_APPS_HELP,
	SMI_MONITOR_DEVICES,
	SMI_MONITOR_PROCESSES,
	SMI_VERSION,
	SMI_HELP,
};

// Texts are the arguments', not copies.
struct smi_options {
	enum smi_screen screen;
	const char *id;	     // -i: indices, UUIDs or bus ids with commas, NULL: all
	const char *file;    // -f, NULL: standard output
	const char *display; // -d, NULL: everything
	const char *query;   // the properties of --query-...
	bool no_header, no_units;
	unsigned int loop_ms; // 0: once
	unsigned int rounds;  // of dmon and pmon, 0: until interrupted
};

// 0; or an exit status, with what is wrong on out.
int smi_options_parse(struct smi_options *o, int argc, char **argv, FILE *out);
void smi_options_help(FILE *out);

#endif
