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
};

struct graph {
	struct object object;
	uint64_t id; // names it in the table of durations, never reused
	struct graph_op *ops;
	uint32_t n_ops;
	uint32_t *behind;	      // nodes that others stand behind
	struct backend_graph *native; // NULL: launches replay the records
	bool changed;		      // by graph_set, since native was made
	uint64_t gone, events_gone;   // the executor's counts when native was made
	bool has_host, has_events, has_waits;
	uint32_t cursor;       // of a replay that waits for room
	struct collected each; // what one launch of native counts as
	uint64_t bytes;	       // counted against VGPU_MAX_GRAPH_BYTES
};

// Visitor of handle_each.
void graph_free(struct executor *x, void *object);

#endif
