// SPDX-License-Identifier: Apache-2.0
// Asking before something hurts.
#ifndef VGPU_ADMIN_CONFIRM_H
#define VGPU_ADMIN_CONFIRM_H

#include <stdbool.h>

enum confirm {
	CONFIRM_YES,
	CONFIRM_NO,
	CONFIRM_NOBODY, // there is nobody to ask: stdin is no terminal
};

enum confirm confirm(const char *question);

// The template with subject in place of its %s; to be freed.
char *confirm_text(const char *template, const char *subject);

#endif
