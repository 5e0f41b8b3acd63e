// SPDX-License-Identifier: Apache-2.0
// The mediator that vgpu-run and vgpu-demo work with: one that runs already, or a private one that they start
// and end; and where the other parts of vgpu lie.
#ifndef VGPU_RUN_HOST_H
#define VGPU_RUN_HOST_H

#include <stdbool.h>
#include <sys/types.h>

#include "run/link_client.h"

#define HOST_MAX_SETTINGS 16

struct host_options {
	const char *socket;  // --socket; NULL: $VGPU_SOCKET, else the default, else a private mediator
	const char *backend; // --backend, private mediator only; NULL: its own choice
	bool private_only;   // do not look for a running one
	const char *settings[HOST_MAX_SETTINGS]; // --set words for a private mediator
	unsigned n_settings;
};

struct host {
	struct link_client link;
	char socket[108];
	bool is_private;
	// of a private mediator
	pid_t pid;
	int pidfd;
	char directory[80];
};

// 0, or -1 with the reason printed to stderr.
int host_open(struct host *h, const struct host_options *o);
// Ends a private mediator (and with it all tenants) and removes its directory.
void host_close(struct host *h);

// For LD_LIBRARY_PATH: the directories, absolute, of our libcuda.so.1 and libnvidia-ml.so.1. 0 or -errno.
int host_library_path(char *ret, size_t n);
// For PATH: the directory of our nvidia-smi. 0 or -errno.
int host_tool_path(char *ret, size_t n);
// Absolute path of the demo's program. 0 or -errno.
int host_demo_program(char *ret, size_t n);

#endif
