// SPDX-License-Identifier: Apache-2.0
// PTX of the backend tests, written by hand for sm_50 so that every backend takes it.
#ifndef VGPU_TESTS_UNIT_BACKENDS_KERNELS_H
#define VGPU_TESTS_UNIT_BACKENDS_KERNELS_H

#define PTX_HEADER ".version 6.0\n.target sm_50\n.address_size 64\n"

// add(u32 *out, const u32 *a, const u32 *b, u32 n)
static const char ptx_add[] = PTX_HEADER
    ".visible .entry add(.param .u64 p0, .param .u64 p1, .param .u64 p2, .param .u32 p3)\n{\n"
    ".reg .pred %p;\n.reg .u32 %r<8>;\n.reg .u64 %d<8>;\n"
    "ld.param.u64 %d0, [p0];\nld.param.u64 %d1, [p1];\nld.param.u64 %d2, [p2];\nld.param.u32 %r0, [p3];\n"
    "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\nmov.u32 %r3, %tid.x;\n"
    "mad.lo.u32 %r4, %r1, %r2, %r3;\nsetp.ge.u32 %p, %r4, %r0;\n@%p bra done;\n"
    "mul.wide.u32 %d3, %r4, 4;\nadd.u64 %d4, %d1, %d3;\nadd.u64 %d5, %d2, %d3;\nadd.u64 %d6, %d0, %d3;\n"
    "ld.global.u32 %r5, [%d4];\nld.global.u32 %r6, [%d5];\nadd.u32 %r7, %r5, %r6;\nst.global.u32 [%d6], "
    "%r7;\n"
    "done:\nret;\n}\n";

// store(u64 address, u32 value); spin(u64 address): until the word there is not 0; fail(): trap
static const char ptx_faults[] =
    PTX_HEADER ".visible .entry store(.param .u64 p0, .param .u32 p1)\n{\n.reg .u32 %r;\n.reg .u64 %d;\n"
	       "ld.param.u64 %d, [p0];\nld.param.u32 %r, [p1];\nst.global.u32 [%d], %r;\nret;\n}\n"
	       ".visible .entry spin(.param .u64 p0)\n{\n.reg .pred %p;\n.reg .u32 %r;\n.reg .u64 %d;\n"
	       "ld.param.u64 %d, [p0];\nagain:\nld.volatile.global.u32 %r, [%d];\nsetp.eq.u32 %p, %r, "
	       "0;\n@%p bra again;\n"
	       "ret;\n}\n"
	       ".visible .entry fail()\n{\ntrap;\nret;\n}\n";

// variables: counter holds 41; bump() adds 1; total(u32 *out): sums dynamic shared memory that the block
// filled
static const char ptx_variables[] = PTX_HEADER
    ".visible .global .align 4 .u32 counter = 41;\n.extern .shared .align 4 .b8 pool[];\n"
    ".visible .entry bump()\n{\n.reg .u32 %r<2>;\n"
    "ld.global.u32 %r0, [counter];\nadd.u32 %r1, %r0, 1;\nst.global.u32 [counter], %r1;\nret;\n}\n"
    ".visible .entry total(.param .u64 p0)\n{\n.reg .pred %p<2>;\n.reg .u32 %r<8>;\n.reg .u64 %d<4>;\n"
    "ld.param.u64 %d0, [p0];\nmov.u32 %r0, %tid.x;\nmov.u32 %r1, pool;\nshl.b32 %r2, %r0, 2;\n"
    "add.u32 %r3, %r1, %r2;\nst.shared.u32 [%r3], %r0;\nbar.sync 0;\nsetp.ne.u32 %p0, %r0, 0;\n@%p0 bra "
    "done;\n"
    "mov.u32 %r4, 0;\nmov.u32 %r5, 0;\nmov.u32 %r6, %ntid.x;\n"
    "more:\nld.shared.u32 %r7, [%r1];\nadd.u32 %r5, %r5, %r7;\nadd.u32 %r1, %r1, 4;\nadd.u32 %r4, %r4, 1;\n"
    "setp.lt.u32 %p1, %r4, %r6;\n@%p1 bra more;\nst.global.u32 [%d0], %r5;\n"
    "done:\nret;\n}\n";

// A parameter list with holes: u8, u64, 48 bytes aligned to 16, u16.
static const char ptx_layout[] = PTX_HEADER ".visible .entry layout(.param .u8 p0, .param .u64 p1, .param "
					    ".align 16 .b8 p2[48], .param .u16 p3)\n{\nret;\n}\n";

#endif
