// SPDX-License-Identifier: Apache-2.0
// The note itself; see the header. Linked into the guest's libraries and programs; nothing reads it there.
#include "common/version_note.h"

#include <assert.h>

static const struct version_note note __attribute__((section(".note.vgpu"), used, aligned(4))) = {
	.owner_bytes = sizeof(VERSION_NOTE_OWNER),
	.description_bytes = VERSION_NOTE_BYTES,
	.type = VERSION_NOTE_TYPE,
	.owner = VERSION_NOTE_OWNER,
	.version = VGPU_VERSION,
};
static_assert(sizeof(VGPU_VERSION) <= VERSION_NOTE_BYTES, "it ends with a zero");
