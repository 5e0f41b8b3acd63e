// SPDX-License-Identifier: Apache-2.0
// What the mediator remembers beyond its own life: an SQLite file, seen from outside as our own structures.
// No SQL outside of this folder. docs/store.md, docs/decisions/0023.
//
//   loop ──changes, usage, questions (bounded)──> the store's thread, which owns the database
//        <──results, log texts, what was loaded── (store_fd() becomes readable, store_dispatch() calls back)
//
// All functions are called from the mediator's loop and none of them waits for the disk, but for store_open()
// and store_close(). Without a disk that works the store is degraded: changes wait in memory and are tried
// again; nothing else of the mediator notices.
#ifndef VGPU_MEDIATOR_STORE_STORE_H
#define VGPU_MEDIATOR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_NAME_BYTES 72 // of keys and names, with the terminator
#define STORE_WHO_BYTES	 96
#define STORE_TEXT_BYTES 512
#define STORE_JSON_BYTES 2048

#define STORE_MIGRATION_KEY "run"

struct store;

// ---- what is kept ----

enum store_kind {
	STORE_GPU,
	STORE_POOL,
	STORE_PROFILE,
	STORE_VM,
	STORE_SLOT,
	STORE_TENANT,
	STORE_MIGRATION,    // the host's one run; key STORE_MIGRATION_KEY
	STORE_MIGRATION_VM, // a VM of it; key: its uuid
	STORE_KINDS,
};

// References are keys of other rows; "" stands for none where none is allowed (*).
struct store_row {
	enum store_kind kind;
	char key[STORE_NAME_BYTES]; // uuid of GPU, VM and slot; name of pool, profile and tenant
	union {
		struct {
			char name[STORE_NAME_BYTES];
			uint64_t memory_bytes;
			char pci[STORE_NAME_BYTES]; // 00000000:3b:00.0, "none"; "": leaves it as it was
			uint64_t pci_id;	    // device id << 16 | vendor id
		} gpu;
		struct {
			char gpu[STORE_NAME_BYTES]; // *
		} pool;
		struct {
			uint64_t memory_bytes;
		} profile;
		struct {
			char name[STORE_NAME_BYTES];
			char pool[STORE_NAME_BYTES];					// *
			char profile[STORE_NAME_BYTES];					// *
			char personality[STORE_NAME_BYTES], protocol[STORE_NAME_BYTES]; // "": not said
		} vm;
		struct {
			char gpu[STORE_NAME_BYTES], profile[STORE_NAME_BYTES];
			uint64_t number;	   // among the GPU's slots of this profile
			char vm[STORE_NAME_BYTES]; // *: free
			char state[STORE_NAME_BYTES];
			char boot[STORE_NAME_BYTES]; // of the host, in which slot.reserve gave it away; "":
						     // by hand
			uint64_t with_vm; // 1: the VM was made for that
		} slot;
		struct {
			char pool[STORE_NAME_BYTES]; // *
		} tenant;
		struct {
			char target[STORE_NAME_BYTES], state[STORE_NAME_BYTES];
			uint64_t began_s, ended_s; // ended_s 0: it goes on
			uint64_t groups, begun;	   // how many there are, how many were begun
			char why[STORE_TEXT_BYTES];
		} migration;
		struct {
			char was[STORE_NAME_BYTES]; // its personality before
			uint64_t group;		    // 0: the canary
			char state[STORE_NAME_BYTES];
			uint64_t since_s, moved_s, started_s;	   // of the state; 0: not yet
			uint64_t strikes_before, strikes_at_start; // in the baseline; ever
			char report[STORE_NAME_BYTES];		   // what came of the guest's: a word
			uint64_t report_s;			   // when it was made
			char machine[STORE_NAME_BYTES];		   // of the guest's report
			char report_why[STORE_TEXT_BYTES], why[STORE_TEXT_BYTES];
		} migration_vm;
	};
};

enum store_scope { STORE_OF_POOL, STORE_OF_PROFILE, STORE_OF_TENANT, STORE_SCOPES };

#define STORE_LIMIT_BYTES 24
#define STORE_MOST_LIMITS 32

// What is set by hand for one owner; what is not is as the settings say. What a limit's name and number mean
// is its user's business; a name is never reused for something else.
struct store_limits {
	enum store_scope scope;
	char owner[STORE_NAME_BYTES]; // key of the pool, profile or tenant; need not be a row (yet)
	uint32_t n;
	struct store_limit {
		char name[STORE_LIMIT_BYTES];
		uint64_t value; // up to 2^63-1
		bool unset;	// no longer set by hand
	} list[STORE_MOST_LIMITS];
};

// What a tenant used since it was told last.
struct store_usage {
	char tenant[STORE_NAME_BYTES];
	int64_t at_s; // any second of the minute that it is booked in; of an answer: when the time step began
	uint64_t gpu_ns, turns, launches, copy_bytes;
	uint64_t memory_byte_s; // bytes held times seconds
	uint64_t faults;
};

#define STORE_USE_BYTES 32

// One thing that a tenant used: a library, with what came since it was told last, or a feature, with when it
// was first and last used (told again, the earlier and the later count). What the names mean is their user's
// business.
struct store_use {
	char tenant[STORE_NAME_BYTES];
	char name[STORE_USE_BYTES];
	bool is_feature;
	int64_t first_s, last_s;			      // of a feature
	uint64_t channels, refused, launches, gpu_ns, faults; // of a library
};

#define STORE_CAUSE_BYTES 24
#define STORE_BOOK_CAUSES 16
#define STORE_BOOK_RECENT 64

// A tenant's strikes as they are loaded.
struct store_book {
	char tenant[STORE_NAME_BYTES];
	uint32_t n_counts, n_recent;
	struct {
		char cause[STORE_CAUSE_BYTES];
		uint64_t count; // ever
	} counts[STORE_BOOK_CAUSES];
	struct {
		char cause[STORE_CAUSE_BYTES];
		int64_t at_s;
	} recent[STORE_BOOK_RECENT]; // oldest first; since the end of the last quarantine
	bool quarantined;
	char cause[STORE_CAUSE_BYTES];
	int64_t began_s, until_s; // until_s 0: until released
};

struct store_audit {
	int64_t id, at_ms;
	char who[STORE_WHO_BYTES];
	char what[32];
	char subject[STORE_NAME_BYTES];
	char before[STORE_JSON_BYTES], after[STORE_JSON_BYTES]; // "": nothing
};

// ---- opening ----

struct store_config {
	const char *path;    // the database; PATH.lock, PATH-wal and PATH-shm lie beside it
	uint64_t most_bytes; // that the database may have; 0: no limit
	uint64_t retry_ns;   // how long after a failure it is tried again
	uint32_t minutes_days, hours_days, days_days, audit_days; // kept; 0: for ever
};

enum store_level { STORE_SAYS_INFO, STORE_SAYS_WARNING, STORE_SAYS_ERROR };

// Called from store_open() and store_dispatch().
struct store_ops {
	void (*said)(void *opaque, enum store_level level, const char *text);
	// What was kept: loading, then rows, limits and books, then loaded. fresh: the database was begun
	// anew, and whoever has something to keep says it again. Comes once for each opening: at start, or
	// later when the disk did not work then, and again when the file was replaced under us, or was
	// broken.
	void (*loading)(void *opaque);
	void (*row)(void *opaque, const struct store_row *row);
	void (*limits)(void *opaque, const struct store_limits *limits); // once for each owner
	void (*book)(void *opaque, const struct store_book *book);
	void (*loaded)(void *opaque, bool fresh, uint64_t usage_number);
};

// Opens, checks and upgrades the database, or makes it; loads it. A broken one is set aside (renamed) and
// a fresh one begun. 0, also when the disk does not work now (degraded). Else -errno, and error says why:
//   -ENOTSUP  it has a newer schema          -EBUSY       another mediator has it
//   -EMEDIUMTYPE  it is something else's     -EACCES, ...  it cannot be opened or made
int store_open(const struct store_config *config, const struct store_ops *ops, void *opaque,
	       struct store **ret, char *error, size_t error_bytes);

// What waits is written first, for a few seconds at most. Callbacks of what did not happen are not called.
void store_close(struct store *s);

int store_fd(const struct store *s); // readable: call store_dispatch()
void store_dispatch(struct store *s);

struct store_status {
	bool degraded;
	char text[STORE_TEXT_BYTES]; // why
	uint32_t waiting;	     // messages
	uint64_t transactions, failures;
	uint64_t longest_commit_ns; // since the start
	uint64_t refused;	    // messages for which there was no room
};

void store_status(struct store *s, struct store_status *ret);

// ---- changes ----
// Each is one transaction with its audit row; those that change nothing leave none. 0: it is queued, and done
// (may be NULL) is called with 0 when it is on the disk, or with what was wrong with it: -ENOENT (a reference
// to a row that is not there; no such row), -EBUSY (something refers to it), -EEXIST (another row has what
// must be unique), -EINVAL, -EIO. Or -ENOBUFS at once: too much waits for the disk; nothing was kept.

typedef void store_done(void *opaque, int result);

// With the row's limits in the same transaction; NULL: they stay as they are.
int store_put(struct store *s, const char *who, const struct store_row *row,
	      const struct store_limits *limits, store_done *done, void *opaque);
int store_remove(struct store *s, const char *who, enum store_kind kind, const char *key, store_done *done,
		 void *opaque); // and its limits; of a tenant its strikes and usage as well
int store_set_limits(struct store *s, const char *who, const struct store_limits *limits, store_done *done,
		     void *opaque);

int store_strike(struct store *s, const char *tenant, const char *cause, int64_t at_s); // has no audit row
// Also changes one that is in force. until_s 0: until released.
int store_quarantine(struct store *s, const char *who, const char *tenant, const char *cause, int64_t began_s,
		     int64_t until_s);
int store_release(struct store *s, const char *who, const char *tenant, int64_t ended_s);

// One transaction of all rows. -EAGAIN: the last ones are not written yet (store_usage_waits); say it later,
// with what came since. Numbers grow; the one that was written last is told when all is loaded.
int store_usage(struct store *s, uint64_t number, const struct store_usage *rows, size_t n,
		const struct store_use *uses, size_t n_uses);
bool store_usage_waits(struct store *s);

// done(0) when all that was said before is on the disk; with -EIO when the disk does not work now (it is
// returned at once if that is known).
int store_settled(struct store *s, store_done *done, void *opaque);

// ---- questions and backup; answers come with store_dispatch() ----

enum store_step { STORE_BY_MINUTE, STORE_BY_HOUR, STORE_BY_DAY };

struct store_usage_ask {
	char tenant[STORE_NAME_BYTES]; // "": all
	enum store_step step;
	int64_t from_s, to_s; // times from_s <= at < to_s
	uint32_t most;	      // rows; not above STORE_MOST_USAGE
};

#define STORE_MOST_USAGE 10000
#define STORE_MOST_AUDIT 1000

typedef void store_usage_rows(void *opaque, int result, const struct store_usage *rows, size_t n);
int store_ask_usage(struct store *s, const struct store_usage_ask *ask, store_usage_rows *rows, void *opaque);

// All that is kept of a tenant's use by library and feature.
typedef void store_use_rows(void *opaque, int result, const struct store_use *rows, size_t n);
int store_ask_use(struct store *s, const char *tenant, store_use_rows *rows, void *opaque);

struct store_audit_ask {
	char subject[STORE_NAME_BYTES]; // "": all
	int64_t below_id;		// 0: from the newest
	uint32_t most;
};

typedef void store_audit_rows(void *opaque, int result, const struct store_audit *rows, size_t n);
int store_ask_audit(struct store *s, const struct store_audit_ask *ask, store_audit_rows *rows, void *opaque);

// A consistent copy at path, which must not exist. It appears complete or not at all.
int store_backup(struct store *s, const char *path, store_done *done, void *opaque);

// ---- without a daemon, or beside it; for the command line ----

// As store_backup(), of the database at path, which a running mediator may have open. 0 or -errno with error.
int store_copy(const char *path, const char *to, char *error, size_t error_bytes);
// Calls found with each GPU, profile, VM and slot, in this order, of the database at path, which is only
// read. 0 or -errno with error.
int store_read(const char *path, void (*found)(void *opaque, const struct store_row *row), void *opaque,
	       char *error, size_t error_bytes);
// Makes the backup the database at path; the one that is there is set aside. -EBUSY: a mediator has it.
int store_restore(const char *path, const char *backup, char *error, size_t error_bytes);

#endif
