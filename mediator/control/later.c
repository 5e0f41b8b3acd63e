// SPDX-License-Identifier: Apache-2.0
// Answers that wait for something else. Runs in the mediator's loop.
#include <stdlib.h>

#include "mediator/control/operations.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

struct control_later {
	struct mediator *mediator;
	LIST_ENTRY(control_later) awaited;
	const struct control_door *door;
	void *link;	     // NULL: it is gone
	json_t *answer, *id; // id: NULL: the request had none
};

struct control_later *control_later(struct control_call *c)
{
	struct control_later *l = calloc(1, sizeof(*l));
	json_t *id = json_object_get(c->request, "id");

	if (!l) {
		control_fail(c, CONTROL_E_LIMIT, "no memory");
		return NULL;
	}
	l->door = c->peer->door;
	l->mediator = c->mediator;
	l->link = c->peer->link;
	l->answer = c->answer;
	c->answer = NULL;
	if (json_is_string(id) || json_is_integer(id))
		l->id = json_incref(id);
	c->later = true;
	LIST_INSERT_HEAD(&c->mediator->laters, l, awaited);
	l->door->await(l->link, l);
	return l;
}

static void later_free(struct control_later *l)
{
	LIST_REMOVE(l, awaited);
	json_decref(l->id);
	free(l);
}

void control_not_later(struct control_call *c, struct control_later *l)
{
	c->answer = l->answer;
	c->later = false;
	l->door->await(l->link, NULL);
	later_free(l);
}

bool control_not_later_any_more(struct control_later *l, struct control_call *c)
{
	bool waits = l->link;

	if (waits) {
		l->door->await(l->link, NULL);
		c->answer = l->answer;
	} else {
		json_decref(l->answer);
	}
	later_free(l);
	return waits;
}

json_t *control_later_answer(struct control_later *l)
{
	return l->answer;
}

void control_later_gone(struct control_later *l)
{
	l->link = NULL;
}

void control_finish(struct control_later *l, const char *error, const char *text)
{
	if (error) {
		metrics_refused_control(l->mediator, error);
		json_decref(l->answer);
		l->answer = control_error(error, text);
	}
	if (l->id && l->answer)
		json_object_set(l->answer, "id", l->id);
	if (l->link)
		l->door->answer(l->link, l->answer);
	else
		json_decref(l->answer);
	later_free(l);
}

void control_give_up(struct mediator *m)
{
	struct control_later *l;

	control_retries_done(&m->control);
	while ((l = LIST_FIRST(&m->laters)))
		control_finish(l, CONTROL_E_INTERNAL,
			       "the store was closed meanwhile: whether it is kept is not known");
}
