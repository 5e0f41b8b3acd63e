// SPDX-License-Identifier: Apache-2.0
// How results are shown: a table for people, one JSON object for programs. Both say the same.
#ifndef VGPU_CHECK_REPORT_H
#define VGPU_CHECK_REPORT_H

#include <stdio.h>

#include "guest/check/check.h"

void report_table(FILE *out, const struct machine *m, const struct check_result *results, bool ready);
void report_json(FILE *out, const struct machine *m, const struct check_result *results, bool ready);

#endif
