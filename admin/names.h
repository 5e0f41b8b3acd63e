// SPDX-License-Identifier: Apache-2.0
// Names of things that exist, for the shells' completion.
#ifndef VGPU_ADMIN_NAMES_H
#define VGPU_ADMIN_NAMES_H

#include "admin/call.h"

// "tenant", ...; NULL of kinds that the API does not list.
const char *names_kind_text(enum admin_names kind);

// One a line on stdout. Quiet, whatever goes wrong: somebody presses a key. Names that a shell would act on
// are left out.
enum admin_exit names_print(struct admin_call *c, const char *kind);

#endif
