// SPDX-License-Identifier: Apache-2.0
// The store's database is opened and loaded, or set aside and begun anew. Runs in the store's thread.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/store/internal.h"

// A disk that breaks file after file is not filled with broken ones.
#define ANEW_EVERY_NS (3600 * NSEC_PER_SEC)

struct load {
	struct store *store;
	bool no_memory;
};

static void hand_over(struct load *l, struct message *m)
{
	if (!m)
		l->no_memory = true;
	reply(l->store, m);
}

static void found_row(void *opaque, const struct store_row *row)
{
	struct message *m = message_new(MESSAGE_LOADED_ROW);

	if (m)
		m->row = *row;
	hand_over(opaque, m);
}

static void found_limits(void *opaque, const struct store_limits *limits)
{
	struct message *m = message_new(MESSAGE_LOADED_LIMITS);

	if (m)
		m->limits = *limits;
	hand_over(opaque, m);
}

static void found_book(void *opaque, const struct store_book *book)
{
	struct message *m = message_new(MESSAGE_LOADED_BOOK);

	if (m) {
		m->book = malloc(sizeof(*book));
		if (m->book) {
			*m->book = *book;
		} else {
			message_free(m);
			m = NULL;
		}
	}
	hand_over(opaque, m);
}

static int load(struct store *s)
{
	struct database *d = &s->database;
	struct load l = { s, false };
	struct message *end = message_new(MESSAGE_LOADED);
	uint64_t usage_number;
	int r;

	hand_over(&l, message_new(MESSAGE_LOADING));
	r = rows_load(d, found_row, &l);
	r = r < 0 ? r : limits_load(d, found_limits, &l);
	r = r < 0 ? r : strike_rows_load(d, found_book, &l);
	r = r < 0 ? r : usage_booked(d, &usage_number);
	if (r == 0 && (!end || l.no_memory)) {
		snprintf(d->error, sizeof(d->error), "no memory to load it");
		r = -ENOMEM;
	}
	if (r < 0) {
		message_free(end);
		return r;
	}
	end->fresh = d->made;
	end->usage_number = usage_number;
	reply(s, end);
	return 0;
}

// A file that was never a store of ours is left alone, whatever is wrong with it.
static bool is_ours(const struct store *s)
{
	return s->was_store || s->loaded_once || database_is_store(s->path);
}

static int begin_anew(struct store *s, char *error, size_t n)
{
	char aside[STORE_TEXT_BYTES], why[STORE_TEXT_BYTES];
	int r;

	snprintf(why, sizeof(why), "%s", s->database.error);
	database_close(&s->database);
	if (s->anew_ns && clock_now_ns() - s->anew_ns < ANEW_EVERY_NS) {
		snprintf(error, n, "store %s: broken again (%s)", s->path, why);
		return -EIO;
	}
	if (!is_ours(s)) {
		snprintf(error, n, "store %s: it is not a database of vgpu; store.path names another place",
			 s->path);
		return -EMEDIUMTYPE;
	}
	r = database_set_aside(s->path, aside, sizeof(aside));
	if (r < 0) {
		snprintf(error, n, "store %s: broken (%s), and cannot be renamed: %s", s->path, why,
			 strerror(-r));
		return r;
	}
	s->anew_ns = clock_now_ns();
	say(s, STORE_SAYS_ERROR,
	    "store %s: the database is broken (%s); it is now %s, and a fresh one is begun. Limits, pools "
	    "and "
	    "quarantines that were only there no longer hold; a backup can be restored",
	    s->path, why, aside);
	return database_open(&s->database, s->path, s->config.most_bytes);
}

int opening(struct store *s, char *error, size_t n)
{
	struct database *d = &s->database;
	int r = 0;

	if (s->lock_fd < 0)
		r = database_lock(s->path, &s->lock_fd, &s->was_store, error, n);
	if (r < 0)
		return r;
	r = database_open(d, s->path, s->config.most_bytes);
	if (r == 0)
		r = load(s);
	if (r == -EUCLEAN || (r == -EMEDIUMTYPE && is_ours(s))) {
		r = begin_anew(s, error, n);
		if (r < 0 && !d->db)
			return r;
		if (r == 0)
			r = load(s);
	}
	if (r < 0) {
		snprintf(error, n, "store %s: %s", s->path, d->error);
		database_close(d);
		return r;
	}
	database_mark(s->lock_fd);
	s->is_open = true;
	s->loaded_once = true;
	return 0;
}
