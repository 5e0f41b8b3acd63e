// SPDX-License-Identifier: Apache-2.0
// What modprobe of the machine that is looked at would do, by modprobe.d and the kernel's command line.
#ifndef VGPU_CHECK_MODPROBE_H
#define VGPU_CHECK_MODPROBE_H

#include "guest/check/check.h"

// Whether the module is kept from being loaded by a device's ids. Where it says so goes to ret: a file's path
// or "the kernel's command line".
bool modprobe_refuses(const struct machine *m, const char *module, char ret[CHECK_PATH_BYTES]);

#endif
