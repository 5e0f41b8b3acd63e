// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What a graph looks like when it travels: the content of the blob that graph_create takes. Graphs live in
// the guest (docs/decisions/0008): capture, explicit nodes, clones and child graphs are the guest's own
// model, and what comes over is one flat list of operations with their order, once, when the program
// instantiates.
//
//   graph_header | graph_edge x n_edges | graph_node + body, n_nodes times, each at a multiple of 8
//
// Nodes stand in an order in which every edge leads from a lower to a higher number, so a description can
// have no cycle, and running the nodes one after the other is always right.
#ifndef VGPU_PROTOCOL_GUEST_GRAPH_H
#define VGPU_PROTOCOL_GUEST_GRAPH_H

#include <assert.h>
#include <stdint.h>

#define GRAPH_MAGIC 0x48505247u // "GRPH"

struct graph_header {
	uint32_t magic;
	uint32_t n_nodes; // to VGPU_MAX_GRAPH_NODES
	uint32_t n_edges; // to VGPU_MAX_GRAPH_EDGES; sorted by `to`
	uint32_t reserved;
};
static_assert(sizeof(struct graph_header) == 16, "wire");

// Ports and type as cuGraphAddDependencies_v2 takes them: 0 everywhere is a full dependency. What the GPU
// makes of others is the backend's business; one that runs nodes one after the other may take all as full.
struct graph_edge {
	uint32_t from, to;
	uint8_t from_port, to_port, type;
	uint8_t reserved[5];
};
static_assert(sizeof(struct graph_edge) == 16, "wire");

enum graph_node_kind {
	GRAPH_NODE_EMPTY = 1,
	// A channel record as it would stand in the ring, without its header: `opcode` says which, the body
	// is its fields and its tail. Allowed: launch, copy, copy_array, set, words, event_record,
	// stream_wait_event. Its stream is STREAM_LEGACY and means nothing.
	GRAPH_NODE_RECORD = 2,
	// A function of the guest: when all before it is done the request slot gets the launch's run number,
	// and what is behind it waits until the guest stored that number, or more, in the answer slot.
	GRAPH_NODE_HOST = 3,
	// Runs one of its bodies, or none, or one again and again, as a condition says. The nodes of the
	// bodies follow at once, those of body 0 first. No edge leads into a body or out of one. Inside are
	// empty nodes, launches, copies, sets and further conditional nodes only.
	GRAPH_NODE_CONDITION = 4,
};

#define GRAPH_NODE_DISABLED \
	1u // flags: kernel, copy and set nodes may be switched off (cuGraphNodeSetEnabled)

struct graph_node {
	uint32_t bytes;	 // of the body, padding to 8 not counted
	uint16_t kind;	 // enum graph_node_kind
	uint16_t flags;	 // GRAPH_NODE_DISABLED
	uint16_t opcode; // GRAPH_NODE_RECORD: enum opcode, else 0
	uint16_t reserved[3];
};
static_assert(sizeof(struct graph_node) == 16, "wire");

struct graph_host_node {
	uint32_t request_slot, answer_slot; // fence slots of this node alone
};
static_assert(sizeof(struct graph_host_node) == 8, "wire");

// What a conditional node's body begins with; n_bodies times the number of a body's nodes (uint32_t, all that
// lie inside counted) follow.
struct graph_condition_node {
	uint64_t conditions; // handle of the set; one for the whole graph
	uint32_t condition;  // number in the set
	uint32_t type;	     // CUgraphConditionalNodeType
	uint32_t n_bodies;   // WHILE 1, IF 1 or 2, SWITCH 1 to VGPU_MAX_BODIES
	uint32_t reserved;
};
static_assert(sizeof(struct graph_condition_node) == 24, "wire");

#endif
