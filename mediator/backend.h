// SPDX-License-Identifier: Apache-2.0
// Which backend executors run with.
#ifndef VGPU_MEDIATOR_BACKEND_H
#define VGPU_MEDIATOR_BACKEND_H

// wanted: gpu.backend. "auto" becomes "cuda" or "cpu", anything else stays. Returns static or wanted's
// memory.
const char *backend_decide(const char *wanted);

#endif
