// SPDX-License-Identifier: Apache-2.0
// Conditional nodes of graphs as this library keeps them (docs/decisions/0017), under vc_graph_lock. Runs in
// the guest program.
#ifndef VGPU_LIBCUDA_CONDITION_H
#define VGPU_LIBCUDA_CONDITION_H

#include "guest/libcuda/graph.h"

struct vc_condition {
	uint64_t value; // what kernels know it by; another graph's may have the same
	int has_node;	// one at a time, as the driver has it
};

// The conditions of a graph and of all bodies in it; made with the first one.
struct vc_conditions {
	struct vgpu_object object;
	struct vc_condition *list; // by number
	uint32_t n, room;
};

// The bodies of a conditional node: graphs that are the node's own.
struct vc_branch {
	CUgraph *handles; // what the program was given
	struct vc_graph **graphs;
	uint32_t n;
	struct vc_conditions *conditions; // live as long as any node of their graph
	uint32_t condition;
};

// A conditional node for g. The result is the caller's; nothing to free on failure.
CUresult vc_what_condition(struct vc_graph *g, const CUDA_CONDITIONAL_NODE_PARAMS *p, struct vc_what *ret);
// The node is there: its bodies belong to it.
void vc_branch_attach(struct vc_gnode *node);
void vc_branch_free(struct vc_branch *branch);
void vc_conditions_free(struct vc_conditions *c); // NULL is accepted

// Whether a node of that type may be in g: bodies take some only.
int vc_body_takes(const struct vc_graph *g, CUgraphNodeType type);
int vc_graph_branches(const struct vc_graph *g); // whether it has conditional nodes

// How many nodes of the flat list are the body's: into the record that will travel.
void vc_branch_count(struct vc_gnode *node, uint32_t body, uint32_t n_nodes);
int vc_conditions_unused(const struct vc_graph *g); // whether a condition of g has no node

#endif
