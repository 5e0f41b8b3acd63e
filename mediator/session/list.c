// SPDX-License-Identifier: Apache-2.0
// Sessions as an operator sees them, and the end of one by order. Runs in the mediator's loop.
#include "mediator/session/internal.h"

struct session *session_after(struct mediator *m, struct session *s)
{
	do
		s = s ? LIST_NEXT(s, link) : LIST_FIRST(&m->sessions);
	while (s && s->doomed);
	return s;
}

void session_view(const struct session *s, struct session_view *ret)
{
	const struct channel *c;

	*ret = (struct session_view){
		.id = s->id,
		.tenant = s->tenant,
		.uid = s->uid,
		.pid = s->pid,
		.came_us = s->came_us,
		.ready = s->phase == PHASE_READY,
		.vm = s->vm,
		.library = s->library,
	};
	LIST_FOREACH (c, &s->channels, session_link)
		ret->n_channels += c->state != CHANNEL_GONE;
	LIST_FOREACH (c, &s->channels, session_link) {
		if (ret->n_shown < SESSION_VIEW_CHANNELS && c->state != CHANNEL_GONE)
			ret->channels[ret->n_shown++] = c->id;
	}
}

void session_end(struct session *s)
{
	struct channel *c;

	LIST_FOREACH (c, &s->channels, session_link)
		channel_stop(c, LINK_E_SHUTDOWN, "ended by the operator");
	session_doom(s, NULL);
	mediator_reap(s->mediator);
}
