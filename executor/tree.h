// SPDX-License-Identifier: Apache-2.0
// Red-black trees of <bsd/sys/tree.h>. Its RB_GENERATE_STATIC uses BSD's __unused, which no header of this
// system defines (kernel headers have members of that name): included by the .c files that generate a tree,
// last.
#ifndef VGPU_EXECUTOR_TREE_H
#define VGPU_EXECUTOR_TREE_H

#include <bsd/sys/tree.h>

#define __unused __attribute__((unused))

#endif
