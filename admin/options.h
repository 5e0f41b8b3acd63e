// SPDX-License-Identifier: Apache-2.0
// The command line, by the table of commands.
#ifndef VGPU_ADMIN_OPTIONS_H
#define VGPU_ADMIN_OPTIONS_H

#include "admin/call.h"

// Everything of the command line into *c, which was zeroed; the environment where an option says nothing.
// Ends the program for --help, --version and what cannot be understood.
void options_parse(struct admin_call *c, int argc, char **argv);

#endif
