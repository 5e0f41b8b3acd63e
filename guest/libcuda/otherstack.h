// SPDX-License-Identifier: Apache-2.0
// Work on pages that may hold the caller's own stack.
#ifndef VGPU_LIBCUDA_OTHERSTACK_H
#define VGPU_LIBCUDA_OTHERSTACK_H

// Runs fn(arg) on a stack of its own, so that it may copy and replace the pages of the caller's stack: while
// it runs, the calling thread writes nothing there. One at a time in the process (the caller sees to that).
// -ENOMEM when there is no memory for the stack, and fn was not run; else 0.
int vc_on_other_stack(void (*fn)(void *arg), void *arg);

#endif
