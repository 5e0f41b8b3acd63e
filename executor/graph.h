// SPDX-License-Identifier: Apache-2.0
// An executable graph as the executor keeps it (graph.c owns it).
#ifndef VGPU_EXECUTOR_GRAPH_H
#define VGPU_EXECUTOR_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "executor/executor.h"
#include "executor/objects.h"
#include "protocol/guest/graph.h"

struct graph_op {
	uint16_t kind, opcode; // enum graph_node_kind, enum opcode
	bool enabled;
	uint32_t bytes;
	uint8_t *body;			 // a record's fields and tail, or a graph_host_node
	uint32_t first_behind, n_behind; // in the graph's behind
	uint32_t body_of;		 // 0: in no body; else names one, the same for all nodes right in it
	uint32_t n_inside;		 // of a conditional node: nodes of its bodies, which follow it
	uint32_t rank;			 // how many waits for words stand one behind the other up to here
};

struct graph {
	struct object object;
	uint64_t id; // names it in the table of durations, never reused
	struct graph_op *ops;
	uint32_t n_ops;
	struct backend_edge *behind;  // nodes that others stand behind
	uint32_t flags;		      // of graph_create
	struct backend_graph *native; // NULL: launches replay the records
	bool changed;		      // by graph_set, since native was made
	uint64_t gone, events_gone;   // the executor's counts when native was made
	bool has_host, has_events, has_waits;
	uint32_t *order;	       // of a replay: node numbers by rank
	uint32_t cursor;	       // in order, of a replay that waits for room
	struct collected each;	       // what one launch of native counts as
	uint64_t bytes;		       // counted against VGPU_MAX_GRAPH_BYTES
	struct conditions *conditions; // of its conditional nodes; NULL: it has none
};

// A node's record with its handles resolved.
struct graph_decoded {
	union {
		struct record_launch launch;
		struct record_copy copy;
		struct record_copy_array copy_array;
		struct record_set set;
		struct record_words words;
		struct record_event_record record;
		struct record_stream_wait_event wait;
	};
	struct function *function;
	struct event *event;
	struct array *dst_array, *src_array;
};

// Checks the record as if it stood in the ring. 0, or the CUresult that it is refused with.
int32_t graph_decode(struct executor *x, const struct graph_op *op, struct graph_decoded *d);

// Fills g from a description and counts it in graph_bytes; what it got stays g's on failure too. *ret_node:
// the node that was refused, UINT32_MAX if it was none. CUDA_ERROR_INVALID_VALUE, OUT_OF_MEMORY, or a node's
// error.
int32_t graph_read(struct executor *x, struct graph *g, const uint8_t *bytes, uint64_t n, uint32_t *ret_node);

// Whether the node is a wait for words; making ranks and order anew, at first and when that changed.
bool graph_op_waits(const struct graph_op *op);
void graph_order(struct graph *g);

// graph_branch.c. The conditions of one graph of the guest's: they go with the last of the handle and the
// executable graph that has them.
struct conditions {
	struct object object;
	struct backend_conditions *backend;
	struct graph *user; // one at a time
	uint32_t n;
	bool named; // the handle is there
};

// The node's fixed fields and the numbers of nodes of its bodies (not aligned). The body was checked.
struct graph_condition_node graph_branch_of(const struct graph_op *op, const uint8_t **ret_counts);
uint32_t graph_branch_count(const uint8_t *counts, uint32_t body);
// Checks the body of a conditional node by itself. CUDA_ERROR_INVALID_VALUE.
int32_t graph_branch_check(const struct graph_op *op);
// Checks how conditional nodes, bodies and edges lie in one another and takes the conditions for g.
// CUDA_ERROR_INVALID_VALUE; *ret_node as in graph_read.
int32_t graph_branches_read(struct executor *x, struct graph *g, uint32_t *ret_node);
// g does not need its conditions any more.
void graph_conditions_release(struct executor *x, struct graph *g);
void conditions_drop(struct executor *x, void *object); // visitor of handle_each: the handle goes

// Visitor of handle_each.
void graph_free(struct executor *x, void *object);

#endif
