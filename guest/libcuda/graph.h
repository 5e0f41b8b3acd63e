// SPDX-License-Identifier: Apache-2.0
// Graphs as this library keeps them (docs/decisions/0008): nodes with their parameters as the record that
// will travel, and what each stands behind. One lock, vc_graph_lock, guards all graphs, captures and
// executable graphs; every function here is called with it held. Runs in the guest program.
#ifndef VGPU_LIBCUDA_GRAPH_H
#define VGPU_LIBCUDA_GRAPH_H

#include <pthread.h>
#include <sys/queue.h>

#include "guest/libcuda/libcuda.h"
#include "protocol/guest/graph.h"
#include "protocol/guest/words.h"

extern pthread_mutex_t vc_graph_lock;

// Device memory of an allocation node: shared by the node, its clones and the executable graphs of them.
struct vc_graph_memory {
	uint32_t references;
	int freed_in_graph; // a free node stands for it: it goes with the last reference
	CUdeviceptr address;
	size_t bytes;
};

// Counts it for the device's attributes (graph_memory.c).
void vc_graph_memory_counts(uint64_t bytes);
void vc_graph_memory_gone(uint64_t bytes);

// Program memory that a copy in a graph reads or writes at each launch: registered as long as a node, a clone
// of it or an executable graph has it.
struct vc_pin {
	LIST_ENTRY(vc_pin) next;
	uint32_t references;
	uint64_t address, bytes;
};

// What a node does.
struct vc_what {
	CUgraphNodeType type;
	uint16_t opcode;    // of body; 0: none
	uint32_t bytes;	    // of body
	void *body;	    // a record's fields and tail, malloc
	CUDA_MEMCPY3D copy; // MEMCPY: as the program described it
	CUDA_HOST_NODE_PARAMS host;
	CUstreamBatchMemOpParams *words; // BATCH_MEM_OP: as the program gave them, malloc
	uint32_t n_words;
	struct vc_graph *child;	  // GRAPH: a clone of the node's own
	struct vc_branch *branch; // CONDITIONAL (condition.h)
	struct vc_graph_memory *memory;
	struct vc_pin *pins[2]; // MEMCPY: NULL where memory needs none
	CUdeviceptr address;	// MEM_FREE
};

struct vc_edge {
	struct vc_gnode *node;
	CUgraphEdgeData data;
};

struct vc_edges {
	struct vc_edge *list;
	uint32_t n, room;
};

struct vc_gnode {
	struct vgpu_object object;
	struct vc_graph *graph;
	TAILQ_ENTRY(vc_gnode) next;
	struct vc_what what;
	struct vc_edges behind; // what it stands behind
	uint64_t origin;	// handle of the node that it is a clone of; 0: none
	uint32_t mark, number;	// of a walk (graph_flat.c)
	void **params;		// what cuGraphKernelNodeGetParams hands out, into what.body
};

struct vc_user_reference {
	SLIST_ENTRY(vc_user_reference) next;
	uint64_t object;
	unsigned int count;
};

struct vc_graph {
	struct vgpu_object object;
	TAILQ_HEAD(, vc_gnode) nodes; // in order of creation
	uint32_t n_nodes;
	struct vc_gnode *inside;	  // the node whose child it is; NULL: the program's own
	struct vc_gnode *body_of;	  // the conditional node that may run it; NULL: none
	struct vc_conditions *conditions; // of this graph and its bodies; NULL: none were made
	uint64_t origin;		  // handle of the graph that it is a clone of
	SLIST_HEAD(, vc_user_reference) users;
};

// An executable graph (graph_exec.c).
struct exec_node {
	uint64_t handle; // of the graph's node; 0: an end of a child graph
	struct vc_what what;
	int enabled;
	uint32_t slots[2]; // HOST: request and answer
};

struct by_handle {
	uint64_t handle;
	uint32_t number;
};

struct vc_gexec {
	struct vgpu_object object;
	uint64_t flags;
	struct exec_node *nodes;
	struct by_handle *index; // sorted
	struct graph_edge *edges;
	uint32_t n_nodes, n_edges;
	int n_hosts, n_events;
};

// A user object (user_object.c).
struct vc_user_object {
	struct vgpu_object object;
	void *ptr;
	CUhostFn destroy;
	uint64_t references;
};

// ---- entering: on success the lock is held, and vc_graph_leave gives it back and passes a result on
CUresult vc_graph_enter(void);				  // the library is ready
CUresult vc_graph_enter_context(struct vc_context **ctx); // as vc_enter_report
static inline CUresult vc_graph_leave(CUresult result)
{
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}
// And there is such a graph or node; CUDA_ERROR_INVALID_VALUE.
CUresult vc_graph_enter_graph(CUgraph handle, struct vc_graph **ret);
CUresult vc_graph_enter_node(CUgraphNode handle, struct vc_gnode **ret);

// As vc_graph_enter_node, and the node has that type and `out` is there; and the end of a call that makes the
// node do something else of the same kind, if result is 0 (graph_params.c).
CUresult vc_node_enter_typed(CUgraphNode handle, CUgraphNodeType type, const void *out,
			     struct vc_gnode **ret);
CUresult vc_node_replace(struct vc_gnode *node, CUresult result, struct vc_what *what);

// ---- graph.c
struct vc_graph *vc_graph_new(void); // NULL: no memory
void vc_graph_free(struct vc_graph *g);
struct vc_graph *vc_graph_clone(const struct vc_graph *g);
struct vc_graph *vc_graph_find(CUgraph graph); // NULL: none
CUgraph vc_graph_handle(const struct vc_graph *g);

// Takes what over, whatever the result. behind: n nodes of the same graph.
CUresult vc_gnode_new(struct vc_graph *g, struct vc_what *what, const struct vc_edge *behind, uint32_t n,
		      struct vc_gnode **ret);
void vc_gnode_free(struct vc_gnode *node);
struct vc_gnode *vc_gnode_find(CUgraphNode node);
CUgraphNode vc_gnode_handle(const struct vc_gnode *node);

int vc_what_copy(struct vc_what *to, const struct vc_what *from); // nonzero: no memory
void vc_what_done(struct vc_what *what);

// Whether the program may put such an edge from a node of that type to another (data NULL: a full
// dependency): what begins before a node is done begins at a kernel and ends at one.
int vc_edge_valid(const struct vc_gnode *from, CUgraphNodeType to, const CUgraphEdgeData *data);
// Whether it is more than a full dependency, which the older questions cannot tell of.
int vc_edge_special(const CUgraphEdgeData *data);

// Adds an edge unless it is there; nonzero: no memory.
int vc_edges_add(struct vc_edges *e, struct vc_gnode *node, const CUgraphEdgeData *data);
int vc_edges_copy(struct vc_edges *to, const struct vc_edges *from);
void vc_edges_done(struct vc_edges *e);

// ---- graph_what.c: from the parameters of nodes. The result is the caller's, nothing to free on failure.
CUresult vc_what_kernel(const CUDA_KERNEL_NODE_PARAMS *p, const struct vc_what *old, struct vc_what *ret);
CUresult vc_what_copy3d(const CUDA_MEMCPY3D *p, struct vc_what *ret);
CUresult vc_what_memset(const CUDA_MEMSET_NODE_PARAMS *p, struct vc_what *ret);
CUresult vc_what_event(CUgraphNodeType type, CUevent event, struct vc_what *ret);
CUresult vc_what_words(const CUstreamBatchMemOpParams *params, unsigned int count, unsigned int flags,
		       struct vc_what *ret);
CUresult vc_what_alloc(CUDA_MEM_ALLOC_NODE_PARAMS *p, struct vc_what *ret);
// Of a node of that type, from what cuGraphAddNode takes.
CUresult vc_what_any(CUgraphNodeParams *p, const struct vc_what *old, struct vc_what *ret);
CUresult vc_what_copy_body(const struct vc_copy *copy, struct vc_what *ret);
void vc_pin_release(struct vc_pin *pin); // NULL is accepted

// ---- user_object.c
void vc_user_object_release(uint64_t object, unsigned int count);
int vc_user_object_retain(uint64_t object, unsigned int count); // nonzero: no such object

// ---- graph_exec.c
struct vc_gexec *vc_gexec_find(CUgraphExec exec); // NULL: none
// What the executable graph has of the graph's node; NULL: nothing.
struct exec_node *vc_gexec_node(const struct vc_gexec *x, CUgraphNode node);

// ---- graph_flat.c: a graph with its child graphs as one list in an order in which edges lead upwards

struct vc_flat_node {
	uint64_t handle;      // 0: the beginning or end of a child graph
	struct vc_what *what; // the node's own; NULL: empty
};

struct vc_flat {
	struct vc_flat_node *nodes;
	uint32_t n_nodes, nodes_room;
	struct graph_edge *edges;
	uint32_t n_edges, edges_room;
};

// CUDA_ERROR_INVALID_VALUE: the graph has a cycle; OUT_OF_MEMORY.
CUresult vc_flatten(struct vc_graph *g, struct vc_flat *ret);
void vc_flat_done(struct vc_flat *flat);

// ---- streamvalue.c
#define VC_MAX_WORDS 255 // the driver's

// Checks memory operations as the program gives them, and makes them what travels. CUresult as the driver.
CUresult vc_words_read(const CUstreamBatchMemOpParams *params, unsigned int count, unsigned int flags,
		       struct word_op ret[VC_MAX_WORDS]);

// ---- capture.c
// Adds a node behind what the stream captured last and makes it what follows stands behind. Takes what over.
CUresult vc_capture_add(struct vc_stream *s, struct vc_what *what);
struct vc_graph *vc_capture_graph(struct vc_stream *s); // NULL: not capturing, or it failed

#endif
