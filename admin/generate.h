// SPDX-License-Identifier: Apache-2.0
// Files that are made from the table of commands at build time.
#ifndef VGPU_ADMIN_GENERATE_H
#define VGPU_ADMIN_GENERATE_H

#include <stdio.h>

// The template on stdin (scdoc), with its lines @COMMANDS@, @OPTIONS@ and @ITEMS@ replaced.
void generate_manual(FILE *out);

void generate_bash(FILE *out);

// "METHOD path" of each action, a line each, for tests against the server's description of itself.
void generate_routes(FILE *out);

#endif
