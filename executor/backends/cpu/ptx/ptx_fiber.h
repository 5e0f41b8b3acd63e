// SPDX-License-Identifier: Apache-2.0
/*
 * Switching between stacks on one host thread.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_FIBER_H
#define VGPU_EXECUTOR_CPU_PTX_FIBER_H

#include <stddef.h>

// Keeps the caller's registers on its stack, its stack pointer in *save, and goes on where load was saved.
void ptx_switch(void **save, void *load);
// Code that goes on from a saved stack pointer: a signal handler sets the program counter here, the stack
// pointer to load.
extern const char ptx_switch_tail[];
// Makes a stack (top is 16 byte aligned) whose first switch calls fn(arg); fn must not return.
void *ptx_fiber_prepare(void *top, void (*fn)(void *arg), void *arg);

// Stack memory with a guard page below; returns the lowest address (the guard) or NULL.
void *ptx_stack_new(size_t n, size_t size);
void ptx_stack_free(void *base, size_t n, size_t size);
// Larger than any frame of the engine's helpers and of the C library's formatting: those do not probe page by
// page.
#define PTX_GUARD (64u << 10)

#endif
