// SPDX-License-Identifier: Apache-2.0
// Putting vgpu into a CloudStack host, taking it out, and looking whether all of it is right. The
// actions of vgpu-admin cloudstack that need neither CloudStack's API nor, most of them, a
// mediator.
#ifndef VGPU_ADMIN_CLOUDSTACK_INSTALL_H
#define VGPU_ADMIN_CLOUDSTACK_INSTALL_H

#include "admin/call.h"

int cloudstack_install(struct admin_call *c);
int cloudstack_uninstall(struct admin_call *c);
int cloudstack_doctor(struct admin_call *c);

#define INSTALL_UNCHANGED "unchanged" // action of a row that changes nothing

// {"changes": BOOL, "files": [...], "next": [...]}: what install and uninstall did or would do. To
// be given back.
json_t *install_report(void);
// A table and what is left to do, or JSON. none is said in place of the table when there are no
// changes.
void install_print(struct admin_call *c, const json_t *report, const char *none);
// A row of the table; the texts are copied, detail may be NULL.
void install_add_row(json_t *report, const char *action, const char *path, unsigned mode, const char *detail);
// A step that is left to whoever runs this.
void install_add_next(json_t *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
