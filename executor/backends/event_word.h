// SPDX-License-Identifier: Apache-2.0
// Events that several executors of a tenant record and wait for: counts in a page of shared memory, used by
// all backends. The page belongs to all who have its fd, so a count may be anything; whoever lies there
// cheats its own tenant.
#ifndef VGPU_EXECUTOR_BACKENDS_EVENT_WORD_H
#define VGPU_EXECUTOR_BACKENDS_EVENT_WORD_H

#include <stdbool.h>
#include <stdint.h>

#include "executor/backends/backend.h"

struct event_word;

// A new one, or the one that another executor exported (its fd is borrowed); peers is backend_tenant's.
// CUresult: CUDA_ERROR_INVALID_VALUE for what is no event. The last user in this process frees it with its
// last unref (any thread).
int event_word_new(int peers, struct event_word **ret);
int event_word_import(int peers, const struct backend_share *share, struct event_word **ret);
struct event_word *event_word_ref(struct event_word *w);
void event_word_unref(struct event_word *w); // NULL: nothing

// What import takes elsewhere; its fd is the caller's. CUresult. w NULL, an event that is not shared:
// CUDA_ERROR_INVALID_HANDLE.
int event_word_export(const struct event_word *w, struct backend_share *ret);

// A record was submitted here: returns its number. And it is complete.
uint64_t event_word_record(struct event_word *w);
void event_word_complete(struct event_word *w, uint64_t number);

// The number of the last record; whether that record is complete. One whose process has died is.
uint64_t event_word_last(const struct event_word *w);
bool event_word_done(const struct event_word *w, uint64_t number);

#endif
