// SPDX-License-Identifier: Apache-2.0
// The store's thread: the only one that touches the database. Takes messages in order, each in a transaction;
// when the disk does not work, the message stays where it is and is tried again.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "mediator/store/internal.h"

#define PRUNE_FIRST_NS (60 * NSEC_PER_SEC)
#define PRUNE_EVERY_NS (3600 * NSEC_PER_SEC)

struct message *message_new(enum message_kind kind)
{
	struct message *m = calloc(1, sizeof(*m));

	if (m)
		m->kind = kind;
	return m;
}

void message_free(struct message *m)
{
	if (!m)
		return;
	if (m->kind == MESSAGE_LOADED_BOOK)
		free(m->book);
	free(m->rows);
	free(m->uses);
	free(m);
}

void reply(struct store *s, struct message *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&s->lock);
	STAILQ_INSERT_TAIL(&s->replies, m, link);
	pthread_mutex_unlock(&s->lock);
	eventfd_write(s->event_fd, 1);
}

void say(struct store *s, enum store_level level, const char *format, ...)
{
	struct message *m = message_new(MESSAGE_SAID);
	va_list ap;

	if (!m)
		return;
	m->said.level = level;
	va_start(ap, format);
	vsnprintf(m->said.text, sizeof(m->said.text), format, ap);
	va_end(ap);
	reply(s, m);
}

// ---- what messages do ----

static int do_ask_usage(struct database *d, struct message *m)
{
	uint32_t most = m->usage_ask.most < STORE_MOST_USAGE ? m->usage_ask.most : STORE_MOST_USAGE;

	m->rows = calloc(most ? most : 1, sizeof(struct store_usage));
	return m->rows ? usage_ask(d, &m->usage_ask, m->rows, &m->n_rows) : -ENOMEM;
}

static int do_ask_use(struct database *d, struct message *m)
{
	m->rows = calloc(USE_MOST_ROWS, sizeof(struct store_use));
	return m->rows ? use_ask(d, m->usage_ask.tenant, m->rows, &m->n_rows) : -ENOMEM;
}

static int do_ask_audit(struct database *d, struct message *m)
{
	uint32_t most = m->audit_ask.most < STORE_MOST_AUDIT ? m->audit_ask.most : STORE_MOST_AUDIT;

	m->rows = calloc(most ? most : 1, sizeof(struct store_audit));
	return m->rows ? audit_ask(d, &m->audit_ask, m->rows, &m->n_rows) : -ENOMEM;
}

static int do_backup(struct store *s, struct message *m)
{
	char error[STORE_TEXT_BYTES];
	int r = copy_database(&s->database, m->path, error, sizeof(error));

	if (r < 0)
		say(s, STORE_SAYS_WARNING, "store %s: backup to %s: %s", s->path, m->path, error);
	return r;
}

static int put(struct database *d, const struct change *c, const struct message *m)
{
	int r = rows_put(d, c, &m->row);

	return r < 0 || !m->has_limits ? r : limits_set(d, c, &m->limits);
}

static int book_usage(struct database *d, const struct message *m)
{
	int r = use_add(d, m->uses, m->n_uses);

	return r < 0 ? r : usage_add(d, m->usage_number, m->rows, m->n_rows);
}

static int act(struct store *s, struct message *m)
{
	struct change c = { m->who, m->at_ms };
	struct database *d = &s->database;

	switch (m->kind) {
	case MESSAGE_PUT: return put(d, &c, m);
	case MESSAGE_REMOVE: return rows_remove(d, &c, m->row.kind, m->row.key);
	case MESSAGE_LIMITS: return limits_set(d, &c, &m->limits);
	case MESSAGE_STRIKE: return strike_rows_add(d, m->strike.tenant, m->strike.cause, m->strike.at_s);
	case MESSAGE_QUARANTINE:
		return strike_rows_quarantine(d, &c, m->strike.tenant, m->strike.cause, m->strike.at_s,
					      m->strike.until_s);
	case MESSAGE_RELEASE: return strike_rows_release(d, &c, m->strike.tenant, m->strike.at_s);
	case MESSAGE_USAGE: return book_usage(d, m);
	case MESSAGE_ASK_USAGE: return do_ask_usage(d, m);
	case MESSAGE_ASK_USE: return do_ask_use(d, m);
	case MESSAGE_ASK_AUDIT: return do_ask_audit(d, m);
	case MESSAGE_BACKUP: return do_backup(s, m);
	case MESSAGE_SETTLED: return 0;
	default: return -EPROTO; // goes the other way
	}
}

static bool only_reads(const struct message *m)
{
	return m->kind == MESSAGE_ASK_USAGE || m->kind == MESSAGE_ASK_USE || m->kind == MESSAGE_ASK_AUDIT ||
	       m->kind == MESSAGE_BACKUP || m->kind == MESSAGE_SETTLED;
}

static void note_commit(struct store *s, uint64_t took_ns)
{
	pthread_mutex_lock(&s->lock);
	s->status.transactions++;
	if (took_ns > s->status.longest_commit_ns)
		s->status.longest_commit_ns = took_ns;
	pthread_mutex_unlock(&s->lock);
}

static int commit(struct store *s)
{
	uint64_t began = clock_now_ns();
	int r = db_commit(&s->database);

	if (r == 0)
		note_commit(s, clock_now_ns() - began);
	return r;
}

static int transact(struct store *s, struct message *m)
{
	struct database *d = &s->database;
	// What an operator was told is kept even if the power fails; some seconds of usage are not worth a
	// wait for the disk each.
	int r = db_begin(d, m->kind != MESSAGE_USAGE);

	if (r == 0)
		r = act(s, m);
	if (r == 0)
		r = commit(s);
	if (r < 0)
		db_rollback(d);
	return r;
}

// ---- a disk that does not work ----

// Whether that is news.
static bool set_degraded(struct store *s, bool degraded, const char *text)
{
	bool news;

	pthread_mutex_lock(&s->lock);
	news = s->status.degraded != degraded;
	s->status.degraded = degraded;
	s->status.failures += degraded;
	snprintf(s->status.text, sizeof(s->status.text), "%.*s", (int)sizeof(s->status.text) - 1, text);
	pthread_mutex_unlock(&s->lock);
	return news;
}

// Who waits for the disk is told that it does not work.
static void answer_waiters(struct store *s)
{
	struct message *m, *next;

	pthread_mutex_lock(&s->lock);
	STAILQ_FOREACH_SAFE (m, &s->requests, link, next) {
		if (!only_reads(m))
			continue;
		STAILQ_REMOVE(&s->requests, m, message, link);
		s->n_requests--;
		m->result = -EIO;
		STAILQ_INSERT_TAIL(&s->replies, m, link);
	}
	pthread_mutex_unlock(&s->lock);
	eventfd_write(s->event_fd, 1);
}

static void degrade(struct store *s, int error, const char *text)
{
	char said[STORE_TEXT_BYTES * 2];

	s->retry_ns = clock_now_ns() + s->config.retry_ns;
	snprintf(said, sizeof(said), "%s%s", error == -ENOSPC ? "no room: " : "", text);
	if (set_degraded(s, true, said))
		say(s, STORE_SAYS_ERROR,
		    "%s. Programs are served as before; what is to be kept waits in memory and is tried "
		    "again "
		    "every %u s",
		    said, (unsigned)(s->config.retry_ns / NSEC_PER_SEC));
	answer_waiters(s);
}

static void recovered(struct store *s)
{
	s->retry_ns = 0;
	if (set_degraded(s, false, ""))
		say(s, STORE_SAYS_INFO, "store %s: works again", s->path);
}

static void failed(struct store *s, int error)
{
	char text[STORE_TEXT_BYTES * 2];

	snprintf(text, sizeof(text), "store %s: %.500s", s->path, s->database.error);
	degrade(s, error, text);
}

static void close_database(struct store *s)
{
	database_close(&s->database);
	s->is_open = false;
}

// Open, and still the file at its path.
static bool make_ready(struct store *s)
{
	char error[STORE_TEXT_BYTES * 2];
	int r;

	if (s->is_open && database_moved(&s->database)) {
		say(s, STORE_SAYS_WARNING,
		    "store %s: the file was moved, removed or replaced; opening what is there", s->path);
		close_database(s);
	}
	if (s->is_open)
		return true;
	r = opening(s, error, sizeof(error));
	if (r < 0)
		degrade(s, r, error);
	return r == 0;
}

// ---- what grows old ----

static int prune_step(struct store *s, int64_t now_s, int64_t *id)
{
	struct database *d = &s->database;
	int r = db_begin(d, false);

	if (r == 0)
		r = tenants_prune(d, &s->config, now_s, id);
	if (r == 0 && !*id && s->config.audit_days)
		r = audit_prune(d, (now_s - (int64_t)s->config.audit_days * 86400) * 1000);
	if (r == 0)
		r = commit(s);
	if (r < 0)
		db_rollback(d);
	return r;
}

static bool stopping(struct store *s)
{
	bool stop;

	pthread_mutex_lock(&s->lock);
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return stop;
}

static bool prune(struct store *s)
{
	int64_t id = 0;
	int r;

	s->prune_ns = clock_now_ns() + PRUNE_EVERY_NS;
	do {
		r = prune_step(s, time(NULL), &id);
	} while (r == 0 && id && !stopping(s));
	if (r == -EUCLEAN)
		close_database(s); // the next opening sees to it
	else if (r < 0)
		failed(s, r);
	return r == 0;
}

// ---- the thread ----

// Opening again finds out whether the file is broken, and replaces it then.
static bool try_to_handle(struct store *s, struct message *m, int *ret)
{
	for (int i = 0; i < 2; i++) {
		if (!make_ready(s))
			return false;
		*ret = only_reads(m) ? act(s, m) : transact(s, m);
		if (*ret != -EUCLEAN)
			return true;
		if (only_reads(m)) {
			free(take_ptr(m->rows));
			m->n_rows = 0;
		}
		if (i == 0)
			close_database(s);
	}
	return true;
}

// True: the message is done with, whatever came of it. False: it is to be tried again.
static bool handle(struct store *s, struct message *m)
{
	int r;

	if (!try_to_handle(s, m, &r))
		return false;
	if (!only_reads(m) && database_may_recover(r)) {
		failed(s, r);
		if (r == -ENOSPC)
			prune(s); // may make room
		return false;
	}
	if (r < 0 && !only_reads(m))
		say(s, r == -EPROTO || r == -EUCLEAN ? STORE_SAYS_ERROR : STORE_SAYS_WARNING,
		    "store %s: a change was refused: %s", s->path, s->database.error);
	if (!only_reads(m))
		recovered(s);
	m->result = r == -EPROTO || r == -EUCLEAN ? -EIO : r;
	return true;
}

static void sleep_until(struct store *s, uint64_t at_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(at_ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(at_ns % NSEC_PER_SEC) };

	pthread_cond_timedwait(&s->wake, &s->lock, &ts);
}

// The oldest message, which stays in the list; NULL: there is something else to do. False: the end.
static bool next(struct store *s, struct message **ret)
{
	bool go_on = true;

	*ret = NULL;
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		uint64_t now = clock_now_ns();

		if (now >= (s->retry_ns ? s->retry_ns : s->prune_ns))
			break;
		if (!s->retry_ns && !STAILQ_EMPTY(&s->requests))
			break;
		sleep_until(s, s->retry_ns ? s->retry_ns : s->prune_ns);
	}
	if (s->stop && STAILQ_EMPTY(&s->requests))
		go_on = false;
	*ret = STAILQ_FIRST(&s->requests);
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

static void finish(struct store *s, struct message *m)
{
	pthread_mutex_lock(&s->lock);
	STAILQ_REMOVE_HEAD(&s->requests, link);
	s->n_requests--;
	if (m->kind == MESSAGE_USAGE)
		s->usage_waits = false;
	STAILQ_INSERT_TAIL(&s->replies, m, link);
	pthread_mutex_unlock(&s->lock);
	eventfd_write(s->event_fd, 1);
}

static bool begin(struct store *s)
{
	char error[STORE_TEXT_BYTES * 2] = "";
	int r = opening(s, error, sizeof(error));
	// What may go away by itself is waited for; the rest is for the operator to mend, who is there now.
	bool wait = r == -ENOSPC || r == -EIO || r == -EAGAIN || r == -ENOMEM || r == -EDQUOT;

	if (wait)
		degrade(s, r, error);
	pthread_mutex_lock(&s->lock);
	s->open_done = true;
	s->open_result = wait ? 0 : r;
	snprintf(s->open_error, sizeof(s->open_error), "%s", error);
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return wait || r == 0;
}

static void work(struct store *s)
{
	struct message *m;

	while (next(s, &m)) {
		if (m && handle(s, m)) {
			finish(s, m);
		} else if (m && stopping(s)) {
			break; // it was tried once more
		} else if (!m && make_ready(s) && prune(s)) {
			recovered(s); // it wrote
		}
	}
	close_database(s);
}

void *writer_main(void *store)
{
	struct store *s = store;

	s->prune_ns = clock_now_ns() + PRUNE_FIRST_NS;
	if (begin(s))
		work(s);
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}
