// SPDX-License-Identifier: Apache-2.0
/*
 * Stacks of kernel threads and the switch between them, for ptx_cta.c and ptx_machine.c on worker threads of
 * the executor. The stacks lie outside of the windows: a kernel cannot reach the return addresses on them.
 */
#include "executor/backends/cpu/ptx/ptx_fiber.h"

#include <stdint.h>
#include <sys/mman.h>

#if defined(__x86_64__)

__asm__(".text\n"
	".globl ptx_switch\n"
	".type ptx_switch, @function\n"
	".globl ptx_switch_tail\n"
	"ptx_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"ptx_switch_tail:\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size ptx_switch, . - ptx_switch\n"
	".type ptx_fiber_start, @function\n"
	"ptx_fiber_start:\n"
	"	movq %r13, %rdi\n"
	"	callq *%r12\n"
	"	ud2\n"
	".size ptx_fiber_start, . - ptx_fiber_start\n");

extern const char ptx_fiber_start[];

void *ptx_fiber_prepare(void *top, void (*fn)(void *arg), void *arg)
{
	uint64_t *sp = (uint64_t *)top - 9;

	sp[0] = sp[1] = 0; // r15 r14
	sp[2] = (uintptr_t)arg;
	sp[3] = (uintptr_t)fn;
	sp[4] = sp[5] = 0; // rbx rbp
	sp[6] = (uintptr_t)ptx_fiber_start;
	sp[7] = sp[8] = 0;
	return sp;
}

#elif defined(__aarch64__)

__asm__(".text\n"
	".globl ptx_switch\n"
	".type ptx_switch, %function\n"
	".globl ptx_switch_tail\n"
	"ptx_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"ptx_switch_tail:\n"
	"	ldp x19, x20, [sp]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size ptx_switch, . - ptx_switch\n"
	".type ptx_fiber_start, %function\n"
	"ptx_fiber_start:\n"
	"	mov x0, x20\n"
	"	blr x19\n"
	"	brk #1\n"
	".size ptx_fiber_start, . - ptx_fiber_start\n");

extern const char ptx_fiber_start[];

void *ptx_fiber_prepare(void *top, void (*fn)(void *arg), void *arg)
{
	uint64_t *sp = (uint64_t *)top - 20;

	for (int i = 0; i < 20; i++)
		sp[i] = 0;
	sp[0] = (uintptr_t)fn;
	sp[1] = (uintptr_t)arg;
	sp[11] = (uintptr_t)ptx_fiber_start;
	return sp;
}

#else
#error "the cpu backend switches stacks on x86-64 and aarch64 only"
#endif

void *ptx_stack_new(size_t n, size_t size)
{
	char *base = mmap(NULL, n * size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (base == MAP_FAILED)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (mprotect(base + i * size, PTX_GUARD, PROT_NONE)) {
			munmap(base, n * size);
			return NULL;
		}
	return base;
}

void ptx_stack_free(void *base, size_t n, size_t size)
{
	if (base)
		munmap(base, n * size);
}
