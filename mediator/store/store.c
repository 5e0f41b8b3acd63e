// SPDX-License-Identifier: Apache-2.0
// The loop's side of the store: what is asked becomes a message for the thread, what comes back becomes
// calls. Nothing here waits for the disk, but for opening and closing.
#include "mediator/store/store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "mediator/store/internal.h"

#define MOST_REQUESTS 4096 // that wait; about 3 KiB each
#define CLOSE_WAIT_S  5

// ---- opening and closing ----

static int make_lock(struct store *s)
{
	pthread_condattr_t attr;
	int r = pthread_mutex_init(&s->lock, NULL);

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	r = r ? r : pthread_cond_init(&s->wake, &attr);
	r = r ? r : pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	return -r;
}

static struct store *store_new(const struct store_config *config, const struct store_ops *ops, void *opaque)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ops = ops;
	s->opaque = opaque;
	s->config = *config;
	snprintf(s->path, sizeof(s->path), "%s", config->path);
	s->config.path = s->path;
	s->lock_fd = -1;
	STAILQ_INIT(&s->requests);
	STAILQ_INIT(&s->replies);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->event_fd < 0 || make_lock(s) < 0) {
		close_fd(&s->event_fd);
		free(s);
		return NULL;
	}
	return s;
}

static void free_list(struct message_list *list)
{
	struct message *m;

	while ((m = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		message_free(m);
	}
}

// The thread has ended.
static void store_free(struct store *s)
{
	free_list(&s->requests);
	free_list(&s->replies);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	close_fd(&s->event_fd);
	close_fd(&s->lock_fd);
	free(s);
}

// Signals are the loop's.
static int start_thread(struct store *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, writer_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int store_open(const struct store_config *config, const struct store_ops *ops, void *opaque,
	       struct store **ret, char *error, size_t error_bytes)
{
	struct store *s = store_new(config, ops, opaque);
	int r = s ? start_thread(s) : -ENOMEM;

	if (r < 0) {
		snprintf(error, error_bytes, "store %s: %s", config->path, strerror(-r));
		if (s)
			store_free(s);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	while (!s->open_done)
		pthread_cond_wait(&s->changed, &s->lock);
	r = s->open_result;
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		pthread_join(s->thread, NULL);
		snprintf(error, error_bytes, "%s", s->open_error);
		store_free(s);
		return r;
	}
	store_dispatch(s);
	*ret = s;
	return 0;
}

static void say_what_is_left(struct store *s)
{
	struct message *m;
	char text[STORE_TEXT_BYTES * 2];

	STAILQ_FOREACH (m, &s->replies, link) {
		if (m->kind == MESSAGE_SAID)
			s->ops->said(s->opaque, m->said.level, m->said.text);
	}
	if (!s->n_requests)
		return;
	snprintf(text, sizeof(text), "store %s: %u changes were not written", s->path, s->n_requests);
	s->ops->said(s->opaque, STORE_SAYS_ERROR, text);
}

// Whether the thread has come to its end within CLOSE_WAIT_S.
static bool stop_thread(struct store *s)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CLOSE_WAIT_S;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	while (!s->ended && r == 0)
		r = pthread_cond_timedwait(&s->changed, &s->lock, &until);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		pthread_join(s->thread, NULL);
	return r == 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (!stop_thread(s)) {
		s->ops->said(s->opaque, STORE_SAYS_ERROR, "the store's disk does not answer; leaving it");
		return; // the thread has the rest; the process ends now
	}
	say_what_is_left(s);
	store_free(s);
}

// ---- what comes back ----

int store_fd(const struct store *s)
{
	return s->event_fd;
}

static void answer(struct store *s, struct message *m)
{
	switch (m->kind) {
	case MESSAGE_SAID: s->ops->said(s->opaque, m->said.level, m->said.text); break;
	case MESSAGE_LOADING: s->ops->loading(s->opaque); break;
	case MESSAGE_LOADED_ROW: s->ops->row(s->opaque, &m->row); break;
	case MESSAGE_LOADED_LIMITS: s->ops->limits(s->opaque, &m->limits); break;
	case MESSAGE_LOADED_BOOK: s->ops->book(s->opaque, m->book); break;
	case MESSAGE_LOADED: s->ops->loaded(s->opaque, m->fresh, m->usage_number); break;
	case MESSAGE_ASK_USAGE: m->usage_rows(m->opaque, m->result, m->rows, m->n_rows); break;
	case MESSAGE_ASK_USE: m->use_rows(m->opaque, m->result, m->rows, m->n_rows); break;
	case MESSAGE_ASK_AUDIT: m->audit_rows(m->opaque, m->result, m->rows, m->n_rows); break;
	default:
		if (m->done)
			m->done(m->opaque, m->result);
	}
}

void store_dispatch(struct store *s)
{
	struct message_list list = STAILQ_HEAD_INITIALIZER(list);
	struct message *m;
	eventfd_t count;

	eventfd_read(s->event_fd, &count);
	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&list, &s->replies);
	pthread_mutex_unlock(&s->lock);
	while ((m = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		answer(s, m);
		message_free(m);
	}
}

void store_status(struct store *s, struct store_status *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->status;
	ret->waiting = s->n_requests;
	pthread_mutex_unlock(&s->lock);
}

// ---- what is asked ----

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct message *request_new(enum message_kind kind, const char *who, void *opaque)
{
	struct message *m = message_new(kind);

	if (m) {
		snprintf(m->who, sizeof(m->who), "%s", who);
		m->at_ms = now_ms();
		m->opaque = opaque;
	}
	return m;
}

// Takes m, also when it fails.
static int send(struct store *s, struct message *m)
{
	int r = -ENOBUFS;

	if (!m)
		return -ENOMEM;
	pthread_mutex_lock(&s->lock);
	if (m->kind == MESSAGE_USAGE && s->usage_waits) {
		r = -EAGAIN;
	} else if (s->n_requests < MOST_REQUESTS) {
		r = 0;
		s->usage_waits |= m->kind == MESSAGE_USAGE;
		STAILQ_INSERT_TAIL(&s->requests, m, link);
		s->n_requests++;
		pthread_cond_signal(&s->wake);
	} else {
		s->status.refused++;
	}
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		message_free(m);
	return r;
}

int store_put(struct store *s, const char *who, const struct store_row *row,
	      const struct store_limits *limits, store_done *done, void *opaque)
{
	struct message *m = request_new(MESSAGE_PUT, who, opaque);

	if (m) {
		m->done = done;
		m->row = *row;
		m->has_limits = limits;
		if (limits)
			m->limits = *limits;
	}
	return send(s, m);
}

int store_remove(struct store *s, const char *who, enum store_kind kind, const char *key, store_done *done,
		 void *opaque)
{
	struct message *m = request_new(MESSAGE_REMOVE, who, opaque);

	if (m) {
		m->done = done;
		m->row.kind = kind;
		snprintf(m->row.key, sizeof(m->row.key), "%s", key);
	}
	return send(s, m);
}

int store_set_limits(struct store *s, const char *who, const struct store_limits *limits, store_done *done,
		     void *opaque)
{
	struct message *m = request_new(MESSAGE_LIMITS, who, opaque);

	if (m) {
		m->done = done;
		m->limits = *limits;
	}
	return send(s, m);
}

static int send_strike(struct store *s, enum message_kind kind, const char *who, const char *tenant,
		       const char *cause, int64_t at_s, int64_t until_s)
{
	struct message *m = request_new(kind, who, NULL);

	if (m) {
		snprintf(m->strike.tenant, sizeof(m->strike.tenant), "%s", tenant);
		snprintf(m->strike.cause, sizeof(m->strike.cause), "%s", cause);
		m->strike.at_s = at_s;
		m->strike.until_s = until_s;
	}
	return send(s, m);
}

int store_strike(struct store *s, const char *tenant, const char *cause, int64_t at_s)
{
	return send_strike(s, MESSAGE_STRIKE, "", tenant, cause, at_s, 0);
}

int store_quarantine(struct store *s, const char *who, const char *tenant, const char *cause, int64_t began_s,
		     int64_t until_s)
{
	return send_strike(s, MESSAGE_QUARANTINE, who, tenant, cause, began_s, until_s);
}

int store_release(struct store *s, const char *who, const char *tenant, int64_t ended_s)
{
	return send_strike(s, MESSAGE_RELEASE, who, tenant, "", ended_s, 0);
}

bool store_usage_waits(struct store *s)
{
	bool waits;

	pthread_mutex_lock(&s->lock);
	waits = s->usage_waits;
	pthread_mutex_unlock(&s->lock);
	return waits;
}

// An array of its own, at least one element long.
static void *copy_rows(const void *rows, size_t n, size_t bytes)
{
	void *copy = calloc(n ? n : 1, bytes);

	if (copy && n)
		memcpy(copy, rows, n * bytes);
	return copy;
}

int store_usage(struct store *s, uint64_t number, const struct store_usage *rows, size_t n,
		const struct store_use *uses, size_t n_uses)
{
	struct message *m = request_new(MESSAGE_USAGE, "", NULL);

	if (m) {
		m->rows = copy_rows(rows, n, sizeof(*rows));
		m->uses = copy_rows(uses, n_uses, sizeof(*uses));
		if (!m->rows || !m->uses) {
			message_free(m);
			return -ENOMEM;
		}
		m->n_rows = n;
		m->n_uses = n_uses;
		m->usage_number = number;
	}
	return send(s, m);
}

// Questions do not wait for a disk to work again.
static int send_question(struct store *s, struct message *m)
{
	struct store_status status;

	store_status(s, &status);
	if (status.degraded) {
		message_free(m);
		return -EIO;
	}
	return send(s, m);
}

int store_settled(struct store *s, store_done *done, void *opaque)
{
	struct message *m = request_new(MESSAGE_SETTLED, "", opaque);

	if (m)
		m->done = done;
	return send_question(s, m);
}

int store_ask_usage(struct store *s, const struct store_usage_ask *ask, store_usage_rows *rows, void *opaque)
{
	struct message *m = request_new(MESSAGE_ASK_USAGE, "", opaque);

	if (m) {
		m->usage_rows = rows;
		m->usage_ask = *ask;
	}
	return send_question(s, m);
}

int store_ask_use(struct store *s, const char *tenant, store_use_rows *rows, void *opaque)
{
	struct message *m = request_new(MESSAGE_ASK_USE, "", opaque);

	if (m) {
		m->use_rows = rows;
		snprintf(m->usage_ask.tenant, sizeof(m->usage_ask.tenant), "%s", tenant);
	}
	return send_question(s, m);
}

int store_ask_audit(struct store *s, const struct store_audit_ask *ask, store_audit_rows *rows, void *opaque)
{
	struct message *m = request_new(MESSAGE_ASK_AUDIT, "", opaque);

	if (m) {
		m->audit_rows = rows;
		m->audit_ask = *ask;
	}
	return send_question(s, m);
}

int store_backup(struct store *s, const char *path, store_done *done, void *opaque)
{
	struct message *m;

	if (strlen(path) >= sizeof(m->path))
		return -ENAMETOOLONG;
	m = request_new(MESSAGE_BACKUP, "", opaque);
	if (m) {
		m->done = done;
		snprintf(m->path, sizeof(m->path), "%s", path);
	}
	return send_question(s, m);
}
