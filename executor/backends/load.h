// SPDX-License-Identifier: Apache-2.0
// Finds and loads a backend's module by its name. Used by vgpu-executor and vgpu-sensor at start.
#ifndef VGPU_EXECUTOR_BACKENDS_LOAD_H
#define VGPU_EXECUTOR_BACKENDS_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "executor/backends/backend.h"

// Letters and digits, so that it cannot lead anywhere else.
bool backend_name_is_good(const char *name);

// The backend's operations, checked to be of this build's layout; the module stays until the process ends.
// directory: where the modules are, NULL: as installed, or as built. NULL with a reason in why.
const struct backend_ops *backend_load(const char *name, const char *directory, char *why, size_t why_bytes);

#endif
