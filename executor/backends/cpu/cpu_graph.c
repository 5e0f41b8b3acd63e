// SPDX-License-Identifier: Apache-2.0
// Graphs with conditional nodes on the cpu backend; the executor replays all others. The loop thread collects
// the work of the nodes once, a launch is one entry of the queue, and the worker runs the list and decides
// where the conditions lead. So a loop that does not end is like a kernel that does not end: it holds the
// queue, and stops when the queue does.
#include "executor/backends/cpu/cpu_backend.h"

#include <stdlib.h>

#define NUMBER_BITS \
	10u // of a condition's name: its number in its set; above it the set's place, then a generation

static_assert(VGPU_MAX_CONDITIONS <= 1u << NUMBER_BITS, "names of conditions");

STAILQ_HEAD(cpu_works, cpu_work);

// A conditional node. Lists of works, n_bodies of them.
struct cpu_branch {
	uint32_t condition, type, n_bodies, at; // at: the next body to be collected
	struct cpu_works *around;		// the list that the node is in, while it is collected
	struct cpu_branch *outer;
	struct cpu_works bodies[];
};

struct backend_graph {
	atomic_uint refs; // the executor's and one for each launch in the queue
	struct backend_conditions *conditions;
	struct cpu_works works;
};

struct cpu_condition {
	uint32_t value, initial;
	bool assign;
};

struct backend_conditions {
	atomic_uint refs; // the executor's and one for each graph
	uint32_t place, generation, n, room;
	struct cpu_condition *list;
};

// ---- conditions: kernels set them on the engine's threads, all of it under the lock

int cpu_conditions_create(struct backend *b, struct backend_conditions **ret)
{
	struct cpu_conditions *table = &b->conditions;
	struct backend_conditions *c = calloc(1, sizeof(*c));
	uint32_t place = 0;

	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_init(&c->refs, 1);
	pthread_mutex_lock(&table->lock);
	while (place < VGPU_MAX_CONDITION_SETS && table->sets[place])
		place++;
	if (place < VGPU_MAX_CONDITION_SETS) {
		c->place = place;
		c->generation = ++table->generation ? table->generation : ++table->generation;
		table->sets[place] = c;
	}
	pthread_mutex_unlock(&table->lock);
	if (place == VGPU_MAX_CONDITION_SETS) {
		free(c);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ret = c;
	return 0;
}

int cpu_condition_add(struct backend *b, struct backend_conditions *c, uint32_t initial, bool assign,
		      uint64_t *ret)
{
	int result = 0;

	pthread_mutex_lock(&b->conditions.lock);
	if (c->n == c->room) {
		uint32_t room = c->room ? 2 * c->room : 4;
		struct cpu_condition *list = reallocarray(c->list, room, sizeof(*list));

		result = list ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
		c->list = list ? list : c->list;
		c->room = list ? room : c->room;
	}
	if (!result) {
		*ret = (uint64_t)c->generation << 32 | (uint64_t)c->place << NUMBER_BITS | c->n;
		c->list[c->n++] =
		    (struct cpu_condition){ .value = initial, .initial = initial, .assign = assign };
	}
	pthread_mutex_unlock(&b->conditions.lock);
	return result;
}

static void conditions_unref(struct backend *b, struct backend_conditions *c)
{
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	pthread_mutex_lock(&b->conditions.lock);
	b->conditions.sets[c->place] = NULL;
	pthread_mutex_unlock(&b->conditions.lock);
	free(c->list);
	free(c);
}

void cpu_conditions_free(struct backend *b, struct backend_conditions *c)
{
	conditions_unref(b, c);
}

bool cpu_condition_set(void *opaque, uint64_t name, uint32_t value)
{
	struct backend *b = opaque;
	uint32_t low = (uint32_t)name, place = low >> NUMBER_BITS, number = low & ((1u << NUMBER_BITS) - 1);
	struct backend_conditions *c;
	bool known;

	pthread_mutex_lock(&b->conditions.lock);
	c = place < VGPU_MAX_CONDITION_SETS ? b->conditions.sets[place] : NULL;
	known = c && c->generation == name >> 32 && number < c->n;
	if (known)
		c->list[number].value = value;
	pthread_mutex_unlock(&b->conditions.lock);
	return known;
}

static uint32_t condition_value(struct backend *b, const struct backend_conditions *c, uint32_t number)
{
	uint32_t value;

	pthread_mutex_lock(&b->conditions.lock);
	value = c->list[number].value;
	pthread_mutex_unlock(&b->conditions.lock);
	return value;
}

static void assign_initial(struct backend *b, struct backend_conditions *c)
{
	pthread_mutex_lock(&b->conditions.lock);
	for (uint32_t i = 0; i < c->n; i++)
		if (c->list[i].assign)
			c->list[i].value = c->list[i].initial;
	pthread_mutex_unlock(&b->conditions.lock);
}

// ---- running, on the worker

static bool is_over(struct backend *b)
{
	return atomic_load(&b->queue.stop) || atomic_load(&b->sticky);
}

static void run_list(struct backend *b, const struct backend_graph *g, const struct cpu_works *list);

static void run_branch(struct backend *b, const struct backend_graph *g, const struct cpu_branch *branch)
{
	uint32_t value = condition_value(b, g->conditions, branch->condition);

	if (branch->type == CU_GRAPH_COND_TYPE_SWITCH) {
		if (value < branch->n_bodies)
			run_list(b, g, &branch->bodies[value]);
	} else if (branch->type == CU_GRAPH_COND_TYPE_IF) {
		if (value || branch->n_bodies > 1)
			run_list(b, g, &branch->bodies[!value]);
	} else {
		while (value && !is_over(b)) {
			run_list(b, g, &branch->bodies[0]);
			value = condition_value(b, g->conditions, branch->condition);
		}
	}
}

// In the order of the description, which stands for all edges.
static void run_list(struct backend *b, const struct backend_graph *g, const struct cpu_works *list)
{
	struct cpu_work *w;

	STAILQ_FOREACH (w, list, link) {
		if (is_over(b))
			return;
		if (w->kind == WORK_BRANCH)
			run_branch(b, g, w->branch);
		else
			cpu_work_run(b, w);
	}
}

void cpu_graph_run(struct backend *b, struct backend_graph *g)
{
	assign_initial(b, g->conditions);
	run_list(b, g, &g->works);
}

// ---- collecting

static void drop_list(struct cpu_works *list);

static void drop_branch(struct cpu_branch *branch)
{
	for (uint32_t i = 0; i < branch->n_bodies; i++)
		drop_list(&branch->bodies[i]);
	free(branch);
}

static void drop_list(struct cpu_works *list)
{
	struct cpu_work *w;

	while ((w = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		if (w->kind == WORK_BRANCH)
			drop_branch(w->branch);
		free(w);
	}
}

void cpu_graph_unref(struct backend *b, struct backend_graph *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) != 1)
		return;
	drop_list(&g->works);
	conditions_unref(b, g->conditions);
	free(g);
}

int cpu_graph_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n_nodes,
		    struct backend_stream **ret)
{
	struct backend_graph *g;

	(void)n_nodes;
	if (!conditions)
		return CUDA_ERROR_NOT_SUPPORTED; // the executor's replay is as good
	g = calloc(1, sizeof(*g));
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_init(&g->refs, 1);
	atomic_fetch_add(&conditions->refs, 1);
	g->conditions = conditions;
	STAILQ_INIT(&g->works);
	b->collect.graph = g;
	b->collect.into = &g->works;
	b->collect.branch = NULL;
	*ret = NULL;
	return 0;
}

bool cpu_collecting(const struct backend *b)
{
	return b->collect.graph;
}

int cpu_collect(struct backend *b, struct cpu_work *w)
{
	if (w->kind != WORK_COPY && w->kind != WORK_SET && w->kind != WORK_LAUNCH) {
		cpu_work_drop(b, w);
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	STAILQ_INSERT_TAIL(b->collect.into, w, link);
	return 0;
}

// The list is in the right order already.
int cpu_graph_place(struct backend *b, const struct backend_edge *behind, uint32_t n)
{
	(void)b;
	(void)behind;
	(void)n;
	return 0;
}

int cpu_graph_placed(struct backend *b)
{
	(void)b;
	return 0;
}

int cpu_branch_enter(struct backend *b, const struct backend_branch *from)
{
	struct cpu_work *w = cpu_work_new(WORK_BRANCH, 0);
	struct cpu_branch *branch = calloc(1, sizeof(*branch) + from->n_bodies * sizeof(branch->bodies[0]));

	if (!w || !branch) {
		free(w);
		free(branch);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	branch->condition = from->condition;
	branch->type = from->type;
	branch->n_bodies = from->n_bodies;
	for (uint32_t i = 0; i < from->n_bodies; i++)
		STAILQ_INIT(&branch->bodies[i]);
	branch->around = b->collect.into;
	branch->outer = b->collect.branch;
	w->branch = branch;
	STAILQ_INSERT_TAIL(b->collect.into, w, link);
	b->collect.branch = branch;
	return 0;
}

int cpu_branch_body(struct backend *b, struct backend_stream **ret)
{
	struct cpu_branch *branch = b->collect.branch;

	b->collect.into = &branch->bodies[branch->at++];
	*ret = NULL;
	return 0;
}

int cpu_branch_leave(struct backend *b)
{
	b->collect.into = b->collect.branch->around;
	b->collect.branch = b->collect.branch->outer;
	return 0;
}

int cpu_graph_end(struct backend *b, struct backend_graph **graph, uint32_t flags)
{
	struct backend_graph *made = b->collect.graph;

	(void)flags;
	b->collect.graph = NULL;
	if (!graph || !made) {
		cpu_graph_unref(b, made);
		return graph ? CUDA_ERROR_INVALID_VALUE : 0;
	}
	cpu_graph_unref(b, *graph);
	*graph = made;
	return atomic_load(&b->sticky);
}

int cpu_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	struct cpu_work *w = cpu_work_new(WORK_GRAPH, 0);

	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_fetch_add(&g->refs, 1);
	w->graph = g;
	return cpu_work_submit(b, s, w);
}

int cpu_graph_upload(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	(void)g;
	(void)s;
	return atomic_load(&b->sticky);
}

void cpu_graph_free(struct backend *b, struct backend_graph *g)
{
	cpu_graph_unref(b, g);
}
