// SPDX-License-Identifier: Apache-2.0
// Changes of rows, limits and books: what is kept, what is refused, and what the audit says about it.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <poll.h>

#define ADMIN "uid 0 pid 12"

static int put(struct fixture *f, struct store_row row)
{
	assert_int_equal(store_put(f->store, ADMIN, &row, NULL, fixture_done, f), 0);
	fixture_wait(f, f->n_done + 1);
	return f->results[f->n_done - 1];
}

static int drop(struct fixture *f, enum store_kind kind, const char *key)
{
	assert_int_equal(store_remove(f->store, ADMIN, kind, key, fixture_done, f), 0);
	fixture_wait(f, f->n_done + 1);
	return f->results[f->n_done - 1];
}

static int limit(struct fixture *f, struct store_limits l)
{
	assert_int_equal(store_set_limits(f->store, ADMIN, &l, fixture_done, f), 0);
	fixture_wait(f, f->n_done + 1);
	return f->results[f->n_done - 1];
}

static struct store_row gpu(const char *uuid)
{
	struct store_row row = { .kind = STORE_GPU, .gpu.name = "H100", .gpu.memory_bytes = 80ull << 30 };

	snprintf(row.key, sizeof(row.key), "%s", uuid);
	return row;
}

static struct store_row slot(const char *uuid, uint64_t number, const char *vm)
{
	struct store_row row = { .kind = STORE_SLOT, .slot.gpu = "G-1", .slot.profile = "16g" };

	row.slot.number = number;
	snprintf(row.key, sizeof(row.key), "%s", uuid);
	snprintf(row.slot.vm, sizeof(row.slot.vm), "%s", vm);
	snprintf(row.slot.state, sizeof(row.slot.state), "%s", vm[0] ? "running" : "free");
	snprintf(row.slot.boot, sizeof(row.slot.boot), "%s", vm[0] ? "B-1" : "");
	row.slot.with_vm = vm[0] != 0;
	return row;
}

static void put_one_of_each(struct fixture *f)
{
	struct store_row profile = { .kind = STORE_PROFILE,
				     .key = "16g",
				     .profile.memory_bytes = 16ull << 30 };
	struct store_row vm = { .kind = STORE_VM, .key = "V-1", .vm = { "web", "gold", "16g" } };
	struct store_row tenant = { .kind = STORE_TENANT, .key = "uid-7", .tenant.pool = "gold" };

	assert_int_equal(put(f, gpu("G-1")), 0);
	assert_int_equal(put(f, row_pool("gold", "G-1")), 0);
	assert_int_equal(put(f, profile), 0);
	assert_int_equal(put(f, vm), 0);
	assert_int_equal(put(f, slot("S-1", 0, "V-1")), 0);
	assert_int_equal(put(f, tenant), 0);
}

static void test_each_kind_is_loaded_as_it_was_put(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_open(f), 0);
	put_one_of_each(f);
	fixture_reopen(f);
	assert_int_equal(f->n_rows, 6);
	assert_string_equal(f->rows[STORE_GPU].gpu.name, "H100");
	assert_true(f->rows[STORE_GPU].gpu.memory_bytes == 80ull << 30);
	assert_string_equal(f->rows[STORE_POOL].pool.gpu, "G-1");
	assert_true(f->rows[STORE_PROFILE].profile.memory_bytes == 16ull << 30);
	assert_string_equal(f->rows[STORE_VM].vm.name, "web");
	assert_string_equal(f->rows[STORE_VM].vm.pool, "gold");
	assert_string_equal(f->rows[STORE_VM].vm.profile, "16g");
	assert_string_equal(f->rows[STORE_SLOT].slot.gpu, "G-1");
	assert_string_equal(f->rows[STORE_SLOT].slot.profile, "16g");
	assert_int_equal(f->rows[STORE_SLOT].slot.number, 0);
	assert_string_equal(f->rows[STORE_SLOT].slot.vm, "V-1");
	assert_string_equal(f->rows[STORE_SLOT].slot.state, "running");
	assert_string_equal(f->rows[STORE_SLOT].slot.boot, "B-1");
	assert_int_equal(f->rows[STORE_SLOT].slot.with_vm, 1);
	assert_string_equal(f->rows[STORE_TENANT].key, "uid-7");
	assert_string_equal(f->rows[STORE_TENANT].tenant.pool, "gold");
}

static void test_where_a_gpu_is_is_not_forgotten(void **state)
{
	struct fixture *f = *state;
	struct store_row row = gpu("G-1");

	assert_int_equal(fixture_open(f), 0);
	snprintf(row.gpu.pci, sizeof(row.gpu.pci), "00000000:3b:00.0");
	row.gpu.pci_id = 0x233010de;
	assert_int_equal(put(f, row), 0);
	assert_int_equal(put(f, gpu("G-1")), 0); // at a start, before the card was read
	fixture_reopen(f);
	assert_string_equal(f->rows[STORE_GPU].gpu.pci, "00000000:3b:00.0");
	assert_int_equal(f->rows[STORE_GPU].gpu.pci_id, 0x233010de);
}

static void test_what_a_stub_does_is_no_change_of_somebodys(void **state)
{
	struct fixture *f = *state;
	struct store_row row = slot("S-1", 0, "V-1");

	assert_int_equal(fixture_open(f), 0);
	put_one_of_each(f);
	snprintf(row.slot.state, sizeof(row.slot.state), "releasing");
	assert_int_equal(put(f, row), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE subject = 'S-1'"), 1);
	fixture_reopen(f);
	assert_string_equal(f->rows[STORE_SLOT].slot.state, "releasing");
}

static void test_references_hold(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(put(f, row_pool("silver", "no-gpu")), -ENOENT);
	put_one_of_each(f);
	assert_int_equal(drop(f, STORE_POOL, "gold"), -EBUSY);
	assert_int_equal(drop(f, STORE_VM, "V-1"), -EBUSY);
	assert_int_equal(put(f, slot("S-2", 0, "")), -EEXIST); // the number is taken
	assert_int_equal(put(f, slot("S-1", 0, "")), 0);       // free again
	assert_int_equal(drop(f, STORE_VM, "V-1"), 0);
	assert_int_equal(drop(f, STORE_VM, "V-1"), -ENOENT);
	assert_int_equal(put(f, row_pool("", "")), -EINVAL);
	assert_int_equal(put(f, gpu("G-2")), 0);
	fixture_reopen(f);
	assert_int_equal(f->n_rows, 6); // a GPU more, a VM less
	// What was refused left no trace in the audit either.
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM audit WHERE subject IN ('silver', 'S-2', '')"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE subject = 'gold'"), 1);
}

static void test_the_audit_has_who_what_before_and_after(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(put(f, gpu("G-1")), 0);
	assert_int_equal(put(f, row_pool("gold", "")), 0);
	assert_int_equal(put(f, row_pool("gold", "G-1")), 0);
	assert_int_equal(put(f, row_pool("gold", "G-1")), 0); // changes nothing
	assert_int_equal(drop(f, STORE_POOL, "gold"), 0);
	assert_string_equal(
	    fixture_text(f, "SELECT group_concat(who || '|' || what || '|' || ifnull(before, '-') "
			    "|| '|' || ifnull(after, '-'), ' ') FROM audit WHERE subject = 'gold'"),
	    ADMIN "|pool.set|-|{\"gpu\":null} " ADMIN "|pool.set|{\"gpu\":null}|{\"gpu\":\"G-1\"} " ADMIN
		  "|pool.remove|{\"gpu\":\"G-1\"}|-");
}

static void test_limits_change_and_go(void **state)
{
	struct fixture *f = *state;
	struct store_limits both = limit_of("uid-7", 200);

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(limit(f, limit_of("uid-7", 100)), 0);
	both.n = 2;
	both.list[1] = (struct store_limit){ "memory", UINT64_MAX, false };
	assert_int_equal(limit(f, both), -EINVAL); // and the weight stays too
	fixture_reopen(f);
	assert_int_equal(f->limits[0].list[0].value, 100);
	both.list[1].value = 5;
	assert_int_equal(limit(f, both), 0);
	fixture_reopen(f);
	assert_int_equal(f->n_limits, 1);
	assert_int_equal(f->limits[0].n, 2);
	assert_string_equal(f->limits[0].list[0].name, "memory");
	assert_int_equal(f->limits[0].list[0].value, 5);
	both.list[1].unset = true;
	assert_int_equal(limit(f, both), 0);
	fixture_reopen(f);
	assert_int_equal(f->limits[0].n, 1);
	assert_int_equal(f->limits[0].list[0].value, 200);
	assert_string_equal(
	    fixture_text(f,
			 "SELECT group_concat(ifnull(before, '-') || ' ' || ifnull(after, '-'), '; ') FROM "
			 "audit WHERE what = 'tenant.limits'"),
	    "- {\"weight\":100}; {\"weight\":100} {\"memory\":5,\"weight\":200}; "
	    "{\"memory\":5,\"weight\":200} {\"weight\":200}");
}

static void test_a_row_and_its_limits_are_one_change(void **state)
{
	struct fixture *f = *state;
	struct store_row pool = row_pool("gold", "no-gpu");
	struct store_limits l = limit_of("gold", 9);

	l.scope = STORE_OF_POOL;
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(store_put(f->store, ADMIN, &pool, &l, fixture_done, f), 0);
	pool.pool.gpu[0] = 0;
	l.list[0].value = UINT64_MAX;
	assert_int_equal(store_put(f->store, ADMIN, &pool, &l, fixture_done, f), 0);
	fixture_wait(f, 2);
	assert_int_equal(f->results[0], -ENOENT);
	assert_int_equal(f->results[1], -EINVAL);
	fixture_reopen(f);
	assert_int_equal(f->n_rows + f->n_limits, 0);
	l.list[0].value = 9;
	assert_int_equal(store_put(f->store, ADMIN, &pool, &l, fixture_done, f), 0);
	fixture_reopen(f);
	assert_int_equal(f->n_rows, 1);
	assert_int_equal(f->n_limits, 1);
	// And they go together.
	assert_int_equal(drop(f, STORE_POOL, "gold"), 0);
	fixture_reopen(f);
	assert_int_equal(f->n_rows + f->n_limits, 0);
}

static void test_settled_comes_after_what_was_said(void **state)
{
	struct fixture *f = *state;
	struct store_row pool = row_pool("gold", "");

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(store_put(f->store, ADMIN, &pool, NULL, NULL, NULL), 0);
	assert_int_equal(store_settled(f->store, fixture_done, f), 0);
	fixture_wait(f, 1);
	assert_int_equal(f->results[0], 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pool"), 1);
}

static void test_strikes_and_quarantine_outlive_the_daemon(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_open(f), 0);
	for (int i = 0; i < 70; i++)
		assert_int_equal(store_strike(f->store, "uid-7", i < 3 ? "crash" : "hang", 1000 + i), 0);
	assert_int_equal(store_quarantine(f->store, "vgpu-mediator", "uid-7", "hang", 1070, 1370), 0);
	fixture_reopen(f);
	assert_int_equal(f->n_books, 1);
	assert_string_equal(f->books[0].tenant, "uid-7");
	assert_int_equal(f->books[0].n_counts, 2);
	assert_int_equal(f->books[0].counts[0].count + f->books[0].counts[1].count, 70);
	assert_int_equal(f->books[0].n_recent, STORE_BOOK_RECENT);
	assert_int_equal(f->books[0].recent[0].at_s, 1006);
	assert_int_equal(f->books[0].recent[63].at_s, 1069);
	assert_true(f->books[0].quarantined);
	assert_string_equal(f->books[0].cause, "hang");
	assert_int_equal(f->books[0].began_s, 1070);
	assert_int_equal(f->books[0].until_s, 1370);

	assert_int_equal(store_quarantine(f->store, ADMIN, "uid-7", "operator", 1100, 0), 0); // longer
	fixture_reopen(f);
	assert_string_equal(f->books[0].cause, "operator");
	assert_int_equal(f->books[0].began_s, 1070);
	assert_int_equal(f->books[0].until_s, 0);

	assert_int_equal(store_release(f->store, ADMIN, "uid-7", 1200), 0);
	assert_int_equal(store_release(f->store, ADMIN, "uid-7", 1201), 0); // it is not in quarantine
	assert_int_equal(store_strike(f->store, "uid-7", "crash", 1300), 0);
	fixture_reopen(f);
	assert_false(f->books[0].quarantined);
	assert_int_equal(f->books[0].n_recent, 1); // a clean sheet, but for the newest
	assert_int_equal(f->books[0].counts[0].count + f->books[0].counts[1].count, 71);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE what = 'quarantine.begin'"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE what = 'quarantine.end'"), 1);
}

static void test_a_removed_tenant_leaves_nothing_but_the_audit(void **state)
{
	struct fixture *f = *state;
	struct store_usage usage = usage_of("uid-7", 90000, 3);

	assert_int_equal(fixture_open(f), 0);
	put_one_of_each(f);
	assert_int_equal(limit(f, limit_of("uid-7", 100)), 0);
	assert_int_equal(store_strike(f->store, "uid-7", "hang", 1000), 0);
	assert_int_equal(store_quarantine(f->store, "vgpu-mediator", "uid-7", "hang", 1000, 0), 0);
	assert_int_equal(store_usage(f->store, 1, &usage, 1, NULL, 0), 0);
	assert_int_equal(drop(f, STORE_TENANT, "uid-7"), 0);
	fixture_reopen(f);
	assert_int_equal(f->n_books, 0);
	assert_int_equal(f->n_limits, 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM usage_day"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM tenant"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE subject = 'uid-7'"), 5);
}

struct answer {
	int result;
	size_t n;
	struct store_audit rows[8];
	bool came;
};

static void take_audit(void *opaque, int result, const struct store_audit *rows, size_t n)
{
	struct answer *a = opaque;

	a->result = result;
	a->n = n;
	memcpy(a->rows, rows, (n < 8 ? n : 8) * sizeof(*rows));
	a->came = true;
}

static void ask(struct fixture *f, const struct store_audit_ask *question, struct answer *a)
{
	*a = (struct answer){ 0 };
	assert_int_equal(store_ask_audit(f->store, question, take_audit, a), 0);
	while (!a->came) {
		struct pollfd p = { .fd = store_fd(f->store), .events = POLLIN };

		poll(&p, 1, -1);
		store_dispatch(f->store);
	}
	assert_int_equal(a->result, 0);
}

static void test_the_audit_is_read_in_pages(void **state)
{
	struct fixture *f = *state;
	struct store_audit_ask question = { .most = 2 };
	static struct answer a;

	assert_int_equal(fixture_open(f), 0);
	put_one_of_each(f);
	ask(f, &question, &a);
	assert_int_equal(a.n, 2);
	assert_string_equal(a.rows[0].subject, "uid-7");
	assert_string_equal(a.rows[1].subject, "S-1");
	assert_string_equal(a.rows[1].who, ADMIN);
	assert_true(a.rows[0].at_ms > 1700000000000);
	question.below_id = a.rows[1].id;
	ask(f, &question, &a);
	assert_string_equal(a.rows[0].subject, "V-1");
	question = (struct store_audit_ask){ .subject = "gold", .most = 100 };
	ask(f, &question, &a);
	assert_int_equal(a.n, 1);
	assert_string_equal(a.rows[0].after, "{\"gpu\":\"G-1\"}");
	assert_string_equal(a.rows[0].before, "");
}

static void test_names_are_data(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("'; DROP TABLE pool; --\"\\\x01\xc3\xbc", "");

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(put(f, row), 0);
	fixture_reopen(f);
	assert_string_equal(f->rows[0].key, row.key);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE json_valid(after)"), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_each_kind_is_loaded_as_it_was_put),
		T(test_where_a_gpu_is_is_not_forgotten),
		T(test_what_a_stub_does_is_no_change_of_somebodys),
		T(test_references_hold),
		T(test_the_audit_has_who_what_before_and_after),
		T(test_limits_change_and_go),
		T(test_a_row_and_its_limits_are_one_change),
		T(test_settled_comes_after_what_was_said),
		T(test_strikes_and_quarantine_outlive_the_daemon),
		T(test_a_removed_tenant_leaves_nothing_but_the_audit),
		T(test_the_audit_is_read_in_pages),
		T(test_names_are_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
