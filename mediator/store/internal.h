// SPDX-License-Identifier: Apache-2.0
// What the loop's side (store.c) and the thread (writer.c, opening.c) of a store share: two lists of messages
// under one lock.
#ifndef VGPU_MEDIATOR_STORE_INTERNAL_H
#define VGPU_MEDIATOR_STORE_INTERNAL_H

#include <bsd/sys/queue.h>
#include <pthread.h>

#include "mediator/store/database.h"
#include "mediator/store/store.h"
#include "mediator/store/tables.h"

enum message_kind {
	// to the thread, and back with result
	MESSAGE_PUT,
	MESSAGE_REMOVE,
	MESSAGE_LIMITS,
	MESSAGE_STRIKE,
	MESSAGE_QUARANTINE,
	MESSAGE_RELEASE,
	MESSAGE_USAGE,
	MESSAGE_SETTLED,
	MESSAGE_ASK_USAGE,
	MESSAGE_ASK_USE,
	MESSAGE_ASK_AUDIT,
	MESSAGE_BACKUP,
	// from the thread
	MESSAGE_SAID,
	MESSAGE_LOADING,
	MESSAGE_LOADED_ROW,
	MESSAGE_LOADED_LIMITS,
	MESSAGE_LOADED_BOOK,
	MESSAGE_LOADED,
};

struct message {
	STAILQ_ENTRY(message) link;
	enum message_kind kind;
	char who[STORE_WHO_BYTES];
	int64_t at_ms;
	int result;
	union {
		store_done *done;
		store_usage_rows *usage_rows;
		store_use_rows *use_rows;
		store_audit_rows *audit_rows;
	};
	void *opaque;
	void *rows; // of MESSAGE_USAGE and of answers: malloc'ed
	size_t n_rows;
	void *uses; // of MESSAGE_USAGE: struct store_use, malloc'ed
	size_t n_uses;
	union {
		struct {
			struct store_row row; // PUT, LOADED_ROW; of REMOVE kind and key
			bool has_limits;
			struct store_limits limits; // LIMITS, LOADED_LIMITS; of PUT if it has some
		};
		struct {
			char tenant[STORE_NAME_BYTES], cause[STORE_CAUSE_BYTES];
			int64_t at_s, until_s;
		} strike;
		struct store_usage_ask usage_ask; // of ASK_USE the tenant
		struct store_audit_ask audit_ask;
		char path[STORE_TEXT_BYTES];
		struct store_book *book; // malloc'ed
		struct {
			enum store_level level;
			char text[2 * STORE_TEXT_BYTES];
		} said;
		struct {
			bool fresh;
			uint64_t usage_number; // of USAGE as well
		};
	};
};

STAILQ_HEAD(message_list, message);

struct store {
	// the loop's
	const struct store_ops *ops;
	void *opaque;
	pthread_t thread;

	// fixed once the thread runs
	struct store_config config;
	char path[STORE_TEXT_BYTES];
	int event_fd; // readable: replies

	pthread_mutex_t lock;
	pthread_cond_t wake;	// the thread: requests, or stop
	pthread_cond_t changed; // store_open(): open_done; store_close(): ended
	struct message_list requests, replies;
	uint32_t n_requests;
	bool usage_waits, stop, open_done, ended;
	int open_result;
	char open_error[STORE_TEXT_BYTES * 2];
	struct store_status status;

	// the thread's
	struct database database;
	bool is_open, loaded_once;
	int lock_fd;
	bool was_store;		     // an earlier process left one here
	uint64_t retry_ns, prune_ns; // when
	uint64_t anew_ns;	     // when a broken file was replaced last; 0: never
};

// The thread. Ends when stop is set and nothing waits that could be written.
void *writer_main(void *store);

// Opens and loads the database; sets a broken one aside. For the thread. 0 or -errno, and error says why.
int opening(struct store *s, char *error, size_t error_bytes);

void message_free(struct message *m);
// To the loop; the message is the loop's then. NULL is ignored.
void reply(struct store *s, struct message *m);
struct message *message_new(enum message_kind kind); // NULL: no memory
void say(struct store *s, enum store_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// copy.c: for the thread; path must not exist.
int copy_database(struct database *d, const char *to, char *error, size_t error_bytes);

#endif
