// SPDX-License-Identifier: Apache-2.0
// What somebody who mistyped a word may have meant.
#ifndef VGPU_ADMIN_SUGGEST_H
#define VGPU_ADMIN_SUGGEST_H

#include <stddef.h>

// The nearest of the names if it is near enough, else NULL.
const char *suggest(const char *word, const char *const *names, size_t n);

#endif
