// SPDX-License-Identifier: Apache-2.0
// Records that a mediator left for the next one (mediator/adopt/deposit.c): what is good comes back as it
// was, and that one changed field is enough to be refused; no length reads behind the blob.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/adopt/deposit.h"
#include "mediator/channel.h"

static const char *why;

struct made {
	uint32_t kind, places;
	uint64_t id;
	union deposit r;
};

static struct made good_daemon(void)
{
	struct made m = { .kind = DEPOSIT_DAEMON, .places = 1 };

	m.r.daemon = (struct deposit_daemon){ .version = DEPOSIT_VERSION,
					      .link_version = LINK_VERSION,
					      .next_channel_id = 7,
					      .path = "/run/x" };
	return m;
}

static struct made good_tenant(void)
{
	struct made m = { .kind = DEPOSIT_TENANT, .places = 7, .id = 3 };

	m.r.tenant = (struct deposit_tenant){
		.id = 3, .policy = { .value = { [POLICY_WEIGHT] = 100 } }, .name = "name", .path = "/run/y"
	};
	return m;
}

static struct made good_session(void)
{
	struct made m = { .kind = DEPOSIT_SESSION, .places = 3, .id = 9 };

	m.r.session = (struct deposit_session){ .id = 9, .tenant = 3, .flags = DEPOSIT_SESSION_READY };
	return m;
}

static struct made good_channel(void)
{
	struct made m = { .kind = DEPOSIT_CHANNEL, .places = 0xff, .id = 4 };

	m.r.channel = (struct deposit_channel){ .id = 4, .tenant = 3, .state = CHANNEL_SERVING, .place = 63 };
	return m;
}

static struct made good_share(void)
{
	struct made m = { .kind = DEPOSIT_SHARE, .places = 1, .id = 2 };

	m.r.share = (struct deposit_share){ .id = 2, .owner = 4, .tenant = 3, .n_uses = 2 };
	m.r.share.uses[0] = (struct deposit_share_use){ 4, 1, 8 };
	m.r.share.uses[1] = (struct deposit_share_use){ 5, VGPU_MAX_SHARE_USES, 9 };
	return m;
}

static struct made good_pool(void)
{
	struct made m = { .kind = DEPOSIT_POOL, .id = 1 };

	m.r.pool =
	    (struct deposit_pool){ .policy = { .value = { [POLICY_WEIGHT] = 5 } }, .name = "p", .gpu = "u" };
	return m;
}

static struct made good_warm(void)
{
	struct made m = { .kind = DEPOSIT_WARM, .places = 1, .id = 4711 };

	m.r.warm.pid = 4711;
	return m;
}

static struct made good_profile(void)
{
	struct made m = { .kind = DEPOSIT_PROFILE, .id = 8 };

	m.r.profile =
	    (struct deposit_profile){ .policy = { .value = { [POLICY_WEIGHT] = 5 } }, .name = "small" };
	return m;
}

#define UUID_A "11111111-2222-4333-8444-555555555555"

static struct made good_vm(void)
{
	struct made m = { .kind = DEPOSIT_VM, .id = 9 };

	m.r.vm = (struct deposit_vm){ .uuid = UUID_A, .name = "one" };
	policy_init(&m.r.vm.said);
	return m;
}

static struct made good_slot(void)
{
	struct made m = { .kind = DEPOSIT_SLOT, .id = 10 };

	m.r.slot = (struct deposit_slot){ .uuid = UUID_A, .gpu = "GPU-x", .profile = "small", .vm = UUID_A };
	return m;
}

// The blob lies at the end of an allocation of its size, for the sanitizer.
static int read_bytes(const struct made *m, uint32_t bytes, union deposit *ret)
{
	void *blob = malloc(bytes ? bytes : 1);
	int r;

	assert_non_null(blob);
	memcpy(blob, &m->r, bytes);
	why = NULL;
	r = deposit_read(m->kind, m->id, m->places, blob, bytes, ret, &why);
	free(blob);
	if (r < 0)
		assert_non_null(why);
	return r;
}

static int read_made(const struct made *m)
{
	union deposit back;

	return read_bytes(m, record_bytes(m->kind, &m->r), &back);
}

static struct made (*const makers[])(void) = { good_daemon, good_tenant, good_session, good_channel,
					       good_share,  good_pool,	 good_warm,    good_profile,
					       good_vm,	    good_slot };
#define N_MAKERS (sizeof(makers) / sizeof(makers[0]))

static void test_good_ones_come_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MAKERS; i++) {
		struct made m = makers[i]();
		union deposit back;

		memset(&back, 0xee, sizeof(back));
		assert_int_equal(read_bytes(&m, record_bytes(m.kind, &m.r), &back), 0);
		assert_memory_equal(&back, &m.r, sizeof(back)); // what is behind a share's uses is zero
	}
}

static void test_other_lengths_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MAKERS; i++) {
		struct made m = makers[i]();
		uint32_t right = record_bytes(m.kind, &m.r);

		for (uint32_t bytes = 0; bytes < sizeof(union deposit); bytes++) {
			union deposit back;

			if (bytes != right)
				assert_int_not_equal(read_bytes(&m, bytes, &back), 0);
		}
	}
}

// What it is called stands in it; its id is any, and it has no descriptors.
static bool has_a_key(uint32_t kind)
{
	return kind == DEPOSIT_POOL || kind == DEPOSIT_PROFILE || kind == DEPOSIT_VM || kind == DEPOSIT_SLOT;
}

static void test_other_kinds_and_ids_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MAKERS; i++) {
		struct made m = makers[i]();

		m.id++;
		assert_int_equal(read_made(&m), has_a_key(m.kind) ? 0 : -EPROTO);
		m = makers[i]();
		for (uint32_t kind = 0; kind < DEPOSIT_KINDS + 3; kind++) {
			union deposit back;

			if (kind == m.kind)
				continue;
			assert_int_not_equal(
			    deposit_read(kind, m.id, m.places, &m.r, record_bytes(m.kind, &m.r), &back, &why),
			    0);
		}
	}
}

// A place that its kind does not have, and none at all.
static void test_other_places_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_MAKERS; i++) {
		struct made m = makers[i]();

		m.places |= 0x100;
		assert_int_equal(read_made(&m), -EPROTO);
		m.places = 0;
		assert_int_equal(read_made(&m), m.kind == DEPOSIT_SHARE || has_a_key(m.kind) ? 0 : -EPROTO);
	}
}

static void test_another_version_is_told_apart(void **state)
{
	struct made m = good_daemon();
	union deposit back;

	(void)state;
	m.r.daemon.version++;
	assert_int_equal(read_made(&m), -ESTALE);
	m.r.daemon.version--;
	m.r.daemon.link_version++;
	assert_int_equal(read_made(&m), -ESTALE);
	// Whatever the rest of it looks like.
	assert_int_equal(read_bytes(&m, 8, &back), -ESTALE);
	assert_int_equal(read_bytes(&m, 7, &back), -ESTALE);
}

#define REFUSED(make, field, value)                        \
	do {                                               \
		struct made m_ = make();                   \
		m_.r.field = value;                        \
		assert_int_equal(read_made(&m_), -EPROTO); \
	} while (0)

#define ENDLESS(make, field)                                 \
	do {                                                 \
		struct made m_ = make();                     \
		memset(m_.r.field, 'x', sizeof(m_.r.field)); \
		assert_int_equal(read_made(&m_), -EPROTO);   \
	} while (0)

static void test_one_wrong_field_of_the_inventory_is_enough(void **state)
{
	struct made of_vm = good_tenant(), of_user = good_tenant(), free_slot = good_slot();

	(void)state;
	REFUSED(good_profile, profile.policy.value[POLICY_WEIGHT], 0);
	REFUSED(good_profile, profile.name[0], 0);
	ENDLESS(good_profile, profile.name);
	REFUSED(good_vm, vm.uuid[0], 'A'); // as we never write it
	REFUSED(good_vm, vm.uuid[3], 0);
	REFUSED(good_vm, vm.name[0], 0);
	REFUSED(good_vm, vm.said.value[POLICY_PERSONALITY], 2);
	REFUSED(good_vm, vm.said.value[POLICY_PROTOCOL], 3);
	REFUSED(good_vm, vm.said.given, 1u << POLICY_WEIGHT);
	ENDLESS(good_vm, vm.uuid);
	ENDLESS(good_vm, vm.name);
	ENDLESS(good_vm, vm.pool);
	ENDLESS(good_vm, vm.profile);
	REFUSED(good_slot, slot.uuid[0], 'x');
	REFUSED(good_slot, slot.vm[0], 'x');
	REFUSED(good_slot, slot.gpu[0], 0);
	REFUSED(good_slot, slot.state, SLOT_STATES);
	REFUSED(good_slot, slot.flags, 4);
	free_slot.r.slot.vm[0] = 0;
	assert_int_equal(read_made(&free_slot), 0);
	free_slot.r.slot.state = SLOT_RESERVED; // for nobody
	assert_int_equal(read_made(&free_slot), -EPROTO);
	ENDLESS(good_slot, slot.uuid);
	ENDLESS(good_slot, slot.gpu);
	ENDLESS(good_slot, slot.profile);
	ENDLESS(good_slot, slot.vm);
	ENDLESS(good_tenant, tenant.vm);
	REFUSED(good_tenant, tenant.by_hand, 1u << (POLICY_ITEMS + 1));
	memcpy(of_vm.r.tenant.vm, UUID_A, sizeof(UUID_A));
	assert_int_equal(read_made(&of_vm), 0);
	of_vm.r.tenant.vm[0] = 'x';
	assert_int_equal(read_made(&of_vm), -EPROTO);
	of_user.places = 3;
	of_user.r.tenant.flags = DEPOSIT_TENANT_FOR_UID;
	assert_int_equal(read_made(&of_user), 0);
	memcpy(of_user.r.tenant.vm, UUID_A, sizeof(UUID_A));
	assert_int_equal(read_made(&of_user), -EPROTO);
}

static void test_one_wrong_field_is_enough(void **state)
{
	(void)state;
	ENDLESS(good_daemon, daemon.path);
	ENDLESS(good_daemon, daemon.backend_name);
	ENDLESS(good_daemon, daemon.device_name);
	REFUSED(good_daemon, daemon.draining, 2);
	REFUSED(good_daemon, daemon.reserved2, 1);
	REFUSED(good_tenant, tenant.policy.value[POLICY_WEIGHT], 0);
	REFUSED(good_tenant, tenant.policy.value[POLICY_WEIGHT], VGPU_MAX_WEIGHT + 1);
	REFUSED(good_tenant, tenant.policy.value[POLICY_CLASS], 2);
	REFUSED(good_tenant, tenant.policy.value[POLICY_GPU_CAP], 10001);
	ENDLESS(good_tenant, tenant.pool);
	REFUSED(good_pool, pool.policy.value[POLICY_WEIGHT], 0);
	REFUSED(good_pool, pool.policy.value[POLICY_SHARE], UINT64_MAX);
	REFUSED(good_pool, pool.policy.given, 0x80000000);
	REFUSED(good_pool, pool.name[0], 0);
	ENDLESS(good_pool, pool.name);
	ENDLESS(good_pool, pool.gpu);
	REFUSED(good_tenant, tenant.name[0], 0);
	ENDLESS(good_tenant, tenant.name);
	ENDLESS(good_tenant, tenant.path);
	REFUSED(good_tenant, tenant.path[0], 0); // with a listener
	REFUSED(good_tenant, tenant.flags, DEPOSIT_TENANT_FOR_UID);
	REFUSED(good_tenant, tenant.flags, 0x80000000);
	REFUSED(good_session, session.tenant, 0);
	REFUSED(good_session, session.flags, 0x80000000);
	REFUSED(good_session, session.library, LINK_LIBRARIES);
	REFUSED(good_channel, channel.tenant, 0);
	REFUSED(good_channel, channel.library, LINK_LIBRARIES);
	REFUSED(good_channel, channel.reserved, 1);
	REFUSED(good_channel, channel.state, CHANNEL_GONE);
	REFUSED(good_channel, channel.state, 0xffffffff);
	REFUSED(good_channel, channel.flags, 0x80000000);
	REFUSED(good_channel, channel.place, VGPU_MAX_CHANNELS_PER_TENANT);
	REFUSED(good_channel, channel.reason, 0x10000);
	ENDLESS(good_channel, channel.text);
	ENDLESS(good_channel, channel.vm_name);
	REFUSED(good_share, share.tenant, 0);
	REFUSED(good_share, share.bytes, VGPU_WINDOW_BYTES + 1);
	REFUSED(good_share, share.uses[1].channel, 0);
	REFUSED(good_share, share.uses[0].count, 0);
	REFUSED(good_share, share.uses[1].count, VGPU_MAX_SHARE_USES + 1);
}

static void test_a_share_of_nobody(void **state)
{
	struct made m = good_share();

	(void)state;
	m.r.share.owner = 0;
	assert_int_equal(read_made(&m), 0); // it lives on in its takers
	m.r.share.n_uses = 0;
	assert_int_equal(read_made(&m), -EPROTO);
}

// More uses than there is room for, with a length that would fit them.
static void test_too_many_uses(void **state)
{
	struct made m = good_share();
	union deposit back;

	(void)state;
	m.r.share.n_uses = UINT32_MAX;
	assert_int_equal(read_bytes(&m, sizeof(m.r.share), &back), -EPROTO);
	m.r.share.n_uses = VGPU_MAX_CHANNELS_PER_TENANT + 1;
	assert_int_equal(read_bytes(&m, sizeof(m.r.share), &back), -EPROTO);
}

static void test_memory_until_it_is_answered(void **state)
{
	struct made m = good_channel();

	(void)state;
	m.places = 0x3f;
	assert_int_equal(read_made(&m), -EPROTO);
	m.r.channel.flags = DEPOSIT_CHANNEL_ANSWERED;
	assert_int_equal(read_made(&m), 0);
	m.r.channel.flags = DEPOSIT_CHANNEL_VM;
	assert_int_equal(read_made(&m), 0);
	m.places = 0x3f & ~(1u << CHANNEL_LINK); // a channel that ends has none
	m.r.channel.state = CHANNEL_STOPPING;
	assert_int_equal(read_made(&m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_ones_come_back),
		cmocka_unit_test(test_other_lengths_are_refused),
		cmocka_unit_test(test_other_kinds_and_ids_are_refused),
		cmocka_unit_test(test_other_places_are_refused),
		cmocka_unit_test(test_another_version_is_told_apart),
		cmocka_unit_test(test_one_wrong_field_is_enough),
		cmocka_unit_test(test_one_wrong_field_of_the_inventory_is_enough),
		cmocka_unit_test(test_a_share_of_nobody),
		cmocka_unit_test(test_too_many_uses),
		cmocka_unit_test(test_memory_until_it_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
