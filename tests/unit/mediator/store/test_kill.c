// SPDX-License-Identifier: Apache-2.0
// A mediator that is killed, at each statement in turn and at random moments: nothing is half done, audit and
// rows agree, and what was acknowledged is there.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS	     8 // of the run that is killed at each of its statements
#define RANDOM_KILLS 150
#define BATCH	     5 // tenants, each used once in each batch

// Seen by the parent after the child's death.
struct shared {
	_Atomic uint64_t statements; // begun, over all children
	_Atomic uint64_t done;	     // changes that were acknowledged in the present file
	_Atomic uint64_t batches;    // of usage
};

static struct shared *shared;
static uint64_t kill_at, begun; // the child's; kill_at 0: never

// ---- the child's work ----

static int on_statement(unsigned type, void *context, void *statement, void *text)
{
	(void)type;
	(void)context;
	(void)statement;
	(void)text;
	shared->statements++;
	if (++begun == kill_at)
		raise(SIGKILL);
	return 0;
}

// Of every connection, from its first statement on.
static int trace(sqlite3 *db, const char **error, const struct sqlite3_api_routines *api)
{
	(void)error;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, on_statement, NULL);
}

static void watch_statements(void)
{
	sqlite3_auto_extension((void (*)(void))trace);
}

static struct store_row nth_pool(uint64_t i)
{
	static const char *const gpus[] = { "", "G-0", "G-1" };
	char name[32];

	snprintf(name, sizeof(name), "pool-%d", (int)(i % 5));
	return row_pool(name, gpus[i % 3]);
}

static void fill_batch(struct store_usage batch[BATCH], uint64_t i)
{
	for (int k = 0; k < BATCH; k++) {
		char tenant[32];

		snprintf(tenant, sizeof(tenant), "uid-%d", k);
		batch[k] = usage_of(tenant, 1000000 + (int64_t)i * 40, 1);
	}
}

// Each change makes one row of the audit, and each has its number there.
static int change(struct database *d, uint64_t i)
{
	char who[32], tenant[32];
	struct change c = { who, (int64_t)i };
	struct store_row row = nth_pool(i);
	struct store_limits limit;

	snprintf(who, sizeof(who), "%llu", (unsigned long long)i);
	snprintf(tenant, sizeof(tenant), "uid-%d", (int)(i % BATCH));
	limit = limit_of(tenant, 1 + i);
	switch (i % 4) {
	case 0: return rows_put(d, &c, &row);
	case 1: return limits_set(d, &c, &limit);
	case 2: return strike_rows_quarantine(d, &c, tenant, "hang", (int64_t)i, (int64_t)i + 9);
	default: limit.scope = STORE_OF_POOL; return limits_set(d, &c, &limit);
	}
}

static int transact(struct database *d, uint64_t i)
{
	struct store_usage batch[BATCH];
	int r = db_begin(d, true);

	r = r < 0 ? r : change(d, i);
	r = r < 0 ? r : db_commit(d);
	if (r < 0)
		return r;
	shared->done = i;
	r = db_begin(d, false);
	fill_batch(batch, i);
	r = r < 0 ? r : usage_add(d, 1, batch, BATCH);
	r = r < 0 ? r : strike_rows_add(d, "uid-0", "crash", (int64_t)i);
	r = r < 0 ? r : db_commit(d);
	if (r == 0)
		shared->batches++;
	return r;
}

static int put_gpus(struct database *d)
{
	int r = db_begin(d, true);

	// Not through the audit, which has the steps' numbers only.
	r = r < 0 ? r
		  : db_run(d, "INSERT OR IGNORE INTO gpu (uuid, name, memory_bytes) VALUES "
			      "('G-0', '', 0), ('G-1', '', 0)");
	return r < 0 ? r : db_commit(d);
}

static void child_by_statement(const struct fixture *f, uint64_t at)
{
	struct database d;
	int r;

	watch_statements();
	kill_at = at;
	r = database_open(&d, f->path, 0);
	r = r < 0 ? r : put_gpus(&d);
	for (uint64_t i = 1; r == 0 && i <= STEPS; i++)
		r = transact(&d, i);
	database_close(&d);
	_exit(r == 0 ? 0 : 1);
}

// ---- what must hold afterwards ----

static void holds(const struct fixture *f, const char *what, const char *count)
{
	int64_t n = fixture_number(f, count);

	if (n)
		fail_msg("%s: %lld times not so", what, (long long)n);
}

#define LAST(what, subject)                                                                                  \
	"(SELECT after FROM audit WHERE what = '" what "' AND subject = " subject " ORDER BY id DESC LIMIT " \
	"1)"

static void check(const struct fixture *f, bool numbered)
{
	struct database d;

	assert_int_equal(database_open(&d, f->path, 0), 0);
	assert_int_equal(database_verify(&d), 0);
	database_close(&d);
	holds(f, "a pool is as the audit says last",
	      "SELECT count(*) FROM pool WHERE json_object('gpu', gpu) IS NOT " LAST("pool.set", "name"));
	holds(
	    f, "what the audit says of pools is there",
	    "SELECT count(*) FROM audit WHERE what = 'pool.set' AND subject NOT IN (SELECT name FROM pool)");
	holds(f, "limits are as the audit says last",
	      "SELECT count(*) FROM (SELECT scope, owner, json_group_object(name, value) AS now FROM limits "
	      "GROUP BY "
	      "scope, owner) WHERE now IS NOT (SELECT after FROM audit WHERE what = scope || '.limits' AND "
	      "subject = "
	      "owner ORDER BY id DESC LIMIT 1)");
	holds(f, "quarantines are as the audit says last",
	      "SELECT count(*) FROM quarantine q JOIN tenant t ON t.id = tenant WHERE json_object('cause', "
	      "cause, "
	      "'began', began, 'until', until) IS NOT " LAST("quarantine.begin", "t.name"));
	holds(f, "what was before is what came after the time before",
	      "SELECT count(*) FROM (SELECT before, lag(after) OVER (PARTITION BY what, subject ORDER BY id) "
	      "AS was "
	      "FROM audit) WHERE before IS NOT was");
	holds(f, "a batch of usage is booked as a whole",
	      "SELECT count(DISTINCT n) > 1 FROM (SELECT sum(launches) AS n FROM usage_minute GROUP BY "
	      "tenant)");
	holds(
	    f, "hours are the sum of minutes",
	    "SELECT (SELECT total(launches) FROM usage_minute) <> (SELECT total(launches) FROM usage_hour)");
	holds(f, "days are the sum of hours",
	      "SELECT (SELECT total(launches) FROM usage_hour) <> (SELECT total(launches) FROM usage_day)");
	holds(f, "strikes are counted",
	      "SELECT (SELECT count(*) FROM strike) <> (SELECT total(count) FROM strike_count)");
	if (numbered) {
		holds(f, "no number is missing",
		      "SELECT count(*) <> ifnull(max(CAST(who AS INTEGER)), 0) FROM audit");
		assert_true(fixture_number(f, "SELECT count(*) FROM audit") >= (int64_t)shared->done);
		assert_true(fixture_number(f, "SELECT count(*) FROM audit") <= (int64_t)shared->done + 1);
	}
	assert_true(fixture_number(f, "SELECT count(*) FROM usage_minute WHERE launches < 1") == 0);
	assert_true(fixture_number(f, "SELECT total(launches) FROM usage_day") >=
		    (double)(BATCH * shared->batches));
}

// ---- the tests ----

static void forget(const struct fixture *f)
{
	char name[300];

	unlink(f->path);
	snprintf(name, sizeof(name), "%s-wal", f->path);
	unlink(name);
	snprintf(name, sizeof(name), "%s-shm", f->path);
	unlink(name);
	snprintf(name, sizeof(name), "%s-journal", f->path);
	unlink(name);
	shared->done = shared->batches = 0;
}

static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_a_death_at_any_statement(void **state)
{
	struct fixture *f = *state;
	uint64_t kills = 0;
	int status;

	for (uint64_t at = 1;; at++) {
		pid_t pid;

		forget(f);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child_by_statement(f, at);
		status = wait_for(pid);
		if (!WIFSIGNALED(status))
			break;
		assert_int_equal(WTERMSIG(status), SIGKILL);
		kills++;
		check(f, true);
	}
	assert_int_equal(status, 0);
	check(f, true);
	print_message("%llu deaths, %llu statements begun or ended\n", (unsigned long long)kills,
		      (unsigned long long)shared->statements);
	assert_true(kills > 10 * STEPS);
	assert_true(shared->statements > 10000);
}

static void on_done(void *opaque, int result)
{
	(void)opaque;
	if (result)
		_exit(2);
	shared->done++;
}

// Changes as fast as the store takes them, through its interface and its thread.
static void child_at_random(struct fixture *f, unsigned seed)
{
	srandom(seed);
	watch_statements();
	if (fixture_open(f) < 0 || strstr(f->said, "broken"))
		_exit(3);
	for (uint64_t i = (uint64_t)random();; i++) {
		struct pollfd p = { .fd = store_fd(f->store), .events = POLLIN };
		struct store_usage batch[BATCH];
		struct store_row row = row_pool(nth_pool(i).key, "");
		struct store_limits limit = limit_of("uid-1", i);

		fill_batch(batch, i % 1000);
		if (store_put(f->store, "root", &row, NULL, NULL, NULL) ||
		    store_set_limits(f->store, "root", &limit, on_done, f))
			_exit(4);
		(void)store_usage(f->store, 1, batch, BATCH, NULL,
				  0); // -EAGAIN: the last one is still under way
		if (i % 9 == 0)
			(void)store_quarantine(f->store, "root", "uid-2", "hang", (int64_t)i, 0);
		if (i % 9 == 4)
			(void)store_strike(f->store, "uid-2", "hang", (int64_t)i);
		poll(&p, 1, 100);
		store_dispatch(f->store);
	}
}

static void test_deaths_at_random_moments(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 4711;

	forget(f);
	shared->statements = 0;
	for (int i = 0; i < RANDOM_KILLS; i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0)
			child_at_random(f, seed + (unsigned)i);
		usleep((useconds_t)(500 + rand_r(&seed) % 25000));
		kill(pid, SIGKILL);
		status = wait_for(pid);
		assert_true(WIFSIGNALED(status));
		check(f, false);
		assert_true(fixture_number(f, "SELECT count(*) FROM audit WHERE what = 'tenant.limits'") >=
			    (int64_t)shared->done);
	}
	print_message("%d deaths, %llu statements begun or ended, %llu changes acknowledged\n", RANDOM_KILLS,
		      (unsigned long long)shared->statements, (unsigned long long)shared->done);
	assert_true(shared->statements > 10000);
	assert_true(shared->done > RANDOM_KILLS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_a_death_at_any_statement),
		T(test_deaths_at_random_moments),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return EXIT_FAILURE;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
