// SPDX-License-Identifier: Apache-2.0
// See the header. Called by turn.c, by channels and tenants in the mediator's loop.
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/turn/turn_books.h"
#include "mediator/turn/turn.h"

// Tags are virtual time: 1024 for each nanosecond at weight 1. Nobody comes back with a debt beyond this much
// service, whatever stands in the books: they are the last mediator's, who may have moved the tags since.
#define MOST_DEBT_NS (UINT64_C(60) * 1000000000)
#define VIRTUAL	     UINT64_C(1024)

static_assert(sizeof(struct turn_books_meters) == sizeof(struct turn_meters), "the same");

static void write_node(struct turn_books_node *b, const struct wfq *w, const struct wfq_node *n)
{
	*b = (struct turn_books_node){
		.tag = n->tag,
		.tag_rest = n->tag_rest,
		.charged_ns = n->charged_ns,
		.contended_charged_ns = n->contended_charged_ns,
		.turns = n->turns,
		.contended_ns = wfq_contended_ns(w, n),
	};
}

// v: of the node's parent.
static void read_node(struct wfq_node *n, const struct turn_books_node *b, uint64_t v)
{
	uint64_t most = v + MOST_DEBT_NS * VIRTUAL / n->weight;

	n->tag = b->tag < most ? b->tag : most;
	n->tag_rest = b->tag_rest < n->weight ? b->tag_rest : 0;
	n->charged_ns = b->charged_ns;
	n->contended_charged_ns = b->contended_charged_ns;
	n->turns = b->turns;
	n->clock_sum = b->contended_ns;
}

void turn_books_open(struct turn_account *a, struct turn_books *b, bool restore)
{
	struct wfq_node *root = &a->turns->wfq.root, *pool = a->group.parent;

	a->books = b;
	if (!restore) {
		memset(b, 0, sizeof(*b));
		turn_books_note_account(a);
		return;
	}
	// Each tenant has noted its pool; the newest note counts, and of what never falls the greatest.
	if (root->v < b->root_v)
		root->v = b->root_v;
	if (pool->v < b->pool_v)
		pool->v = b->pool_v;
	if (pool->charged_ns < b->pool.charged_ns)
		read_node(pool, &b->pool, root->v);
	a->group.v = b->v;
	read_node(&a->group, &b->node, pool->v);
	memcpy(&a->ended, &b->ended, sizeof(a->ended));
}

void turn_books_note_account(struct turn_account *a)
{
	struct turn_books *b = a->books;

	if (!b)
		return;
	b->root_v = a->turns->wfq.root.v;
	b->pool_v = a->group.parent->v;
	b->v = a->group.v;
	write_node(&b->pool, &a->turns->wfq, a->group.parent);
	write_node(&b->node, &a->turns->wfq, &a->group);
	memcpy(&b->ended, &a->ended, sizeof(b->ended));
}

void turn_books_note(struct turn_seat *s, uint64_t now_ns)
{
	struct turn_account *a = s->account;
	struct turn_books_seat *b = s->books;
	bool holds =
	    s->leaf.state == WFQ_HOLDING || s->leaf.state == WFQ_CLOSING || s->leaf.state == WFQ_LINGERING;

	if (!b)
		return;
	b->noted_ns = now_ns;
	b->deadline_ns = s->leaf.deadline_ns;
	b->busy_ns = holds ? s->leaf.busy_seen : UINT64_MAX;
	write_node(&b->node, &a->turns->wfq, &s->leaf);
	memcpy(&b->meters, &s->meters, sizeof(b->meters));
	turn_books_note_account(a);
}

int turn_books_take_place(struct turn_seat *s, uint64_t channel)
{
	struct turn_books *b = s->account->books;

	for (unsigned i = 0; b && i < VGPU_MAX_CHANNELS_PER_TENANT; i++) {
		if (b->seats[i].channel)
			continue;
		b->seats[i].channel = channel;
		s->books = &b->seats[i];
		turn_books_note(s, clock_now_ns());
		return 0;
	}
	return -ENOSPC;
}

uint32_t turn_seat_place(const struct turn_seat *s)
{
	return s->books ? (uint32_t)(s->books - s->account->books->seats) : 0;
}

int turn_books_restore_place(struct turn_seat *s, uint64_t channel, uint32_t place)
{
	struct turn_books *b = s->account->books;

	if (!b || place >= VGPU_MAX_CHANNELS_PER_TENANT || b->seats[place].channel != channel)
		return -ENOENT;
	s->books = &b->seats[place];
	read_node(&s->leaf, &s->books->node, s->account->group.v);
	memcpy(&s->meters, &s->books->meters, sizeof(s->meters));
	return 0;
}

static void bill(struct wfq_node *n, uint64_t ns)
{
	n->tag += ns * VIRTUAL / n->weight;
	n->charged_ns += ns;
}

// Who still has its turn had it all the time until its deadline, by the clock. Of one that gave it back
// meanwhile the moment is not known: its own count is taken, which is at most the time that passed.
void turn_books_bill_gap(struct turn_seat *s, bool holds, uint64_t now_ns)
{
	uint64_t wall, busy, deadline, end = now_ns;

	if (!s->books || s->books->busy_ns == UINT64_MAX || s->books->noted_ns >= now_ns)
		return;
	deadline = s->books->deadline_ns; // not the page's, which the executor can write
	if (deadline < end)
		end = deadline;
	wall = end > s->books->noted_ns ? end - s->books->noted_ns : 0;
	busy = atomic_load(&s->page->busy_ns);
	busy = busy > s->books->busy_ns ? busy - s->books->busy_ns : 0;
	if ((!holds || deadline == WFQ_NEVER) && busy < wall)
		wall = busy;
	if (wall > MOST_DEBT_NS)
		wall = MOST_DEBT_NS;
	for (struct wfq_node *n = &s->leaf; n->parent; n = n->parent)
		bill(n, wall);
}

void turn_books_give_place(struct turn_seat *s)
{
	if (!s->books)
		return;
	memset(s->books, 0, sizeof(*s->books));
	s->books = NULL;
	turn_books_note_account(s->account);
}
