// SPDX-License-Identifier: Apache-2.0
// Help on the terminal, from the table of commands.
#ifndef VGPU_ADMIN_HELP_H
#define VGPU_ADMIN_HELP_H

#include <stdio.h>

#include "admin/command.h"

// Words from a column on, in lines that a terminal has; the cursor stands at another.
void help_wrap(FILE *out, const char *text, unsigned at, unsigned column);
void help_all(FILE *out);
void help_command(FILE *out, const struct admin_command *c);

#endif
