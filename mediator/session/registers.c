// SPDX-License-Identifier: Apache-2.0
// What a stub is told of its VM, and asked: which registers of the second device its guest has touched. Only
// with stubs that took LINK_FEATURE_PERSONALITY. An answer comes in packets and within a time, or not at all.
// Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "mediator/inventory/inventory.h"
#include "mediator/session/internal.h"

#define WAIT_NS (2 * NSEC_PER_SEC)

void registers_tell_vm(struct session *s)
{
	const struct vm *vm = vm_find(s->mediator, s->tenant->vm);
	struct link_vm m = { .header = { LINK_MAGIC, LINK_VM, 0, sizeof(m), 0 } };

	if (!vm || s->doomed)
		return;
	m.personality = (uint32_t)vm_item(vm, POLICY_PERSONALITY);
	snprintf(m.vm, sizeof(m.vm), "%s", vm->uuid);
	session_send(s, &m, sizeof(m), NULL, 0);
}

bool session_vm_is_there(const struct tenant *t)
{
	const struct session *s;

	if (!t->n_sessions)
		return false;
	LIST_FOREACH (s, &t->mediator->sessions, link)
		if (s->tenant == t && s->phase == PHASE_READY && !s->doomed &&
		    (s->monitor || !s->personality))
			return true;
	return false;
}

struct session *session_of_stub(const struct tenant *t)
{
	struct session *s;

	LIST_FOREACH (s, &t->mediator->sessions, link)
		if (s->tenant == t && s->personality && !s->doomed)
			break;
	return s;
}

void session_vm_changed(const struct tenant *t)
{
	struct session *s;

	LIST_FOREACH (s, &t->mediator->sessions, link)
		if (s->tenant == t && s->personality)
			registers_tell_vm(s);
}

static void end(struct session *s, const struct link_registers *last)
{
	struct registers_question q = s->question;

	sd_event_source_disable_unref(q.timer);
	s->question = (struct registers_question){ .cookie = q.cookie };
	if (q.told)
		q.told(q.opaque, last);
}

void registers_give_up(struct session *s)
{
	end(s, NULL);
}

void session_give_up_questions(struct mediator *m)
{
	struct session *s;

	LIST_FOREACH (s, &m->sessions, link)
		registers_give_up(s);
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	registers_give_up(userdata);
	return 0;
}

int session_ask_registers(struct session *s, session_registers_told *told, void *opaque)
{
	struct registers_question *q = &s->question;
	struct link_header m = { LINK_MAGIC, LINK_REGISTERS_ASK, 0, sizeof(m), q->cookie + 1 };
	int r;

	if (q->told)
		return -EBUSY;
	r = sd_event_add_time(s->mediator->event, &q->timer, CLOCK_MONOTONIC,
			      (clock_now_ns() + WAIT_NS) / NSEC_PER_USEC, 1000, on_late, s);
	if (r < 0)
		return r;
	q->cookie = m.cookie;
	q->rows = 0;
	session_send(s, &m, sizeof(m), NULL, 0);
	if (s->doomed) { // it leaves too much unread
		q->timer = sd_event_source_disable_unref(q->timer);
		return -ECONNRESET;
	}
	q->told = told;
	q->opaque = opaque;
	return 0;
}

void request_registers(struct session *s, const struct link_registers *m)
{
	struct registers_question *q = &s->question;

	// Too late, or asked for by the mediator before this one.
	if (!q->told || m->header.cookie != q->cookie)
		return;
	q->rows += m->n;
	if (q->rows + m->left > LINK_REGISTERS_MOST)
		registers_give_up(s);
	else if (m->left)
		q->told(q->opaque, m);
	else
		end(s, m);
}
