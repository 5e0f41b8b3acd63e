// SPDX-License-Identifier: Apache-2.0
// Packet checks (mediator/session/check.c): what passes, and that one changed field is enough to fail.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/limits.h"
#include "mediator/session/check.h"

static const char *why;

#define CHECK(phase, m) check_packet(phase, &(m), sizeof(m), 0, &why)

static struct link_hello good_hello(void)
{
	return (struct link_hello){ .header = { LINK_MAGIC, LINK_HELLO, 0, sizeof(struct link_hello), 5 },
				    .version_min = 1,
				    .version_max = 1 };
}

static struct link_tenant_create good_tenant(void)
{
	struct link_tenant_create m = { .header = { LINK_MAGIC, LINK_TENANT_CREATE, 0, sizeof(m), 5 },
					.weight = 1 };

	snprintf(m.name, sizeof(m.name), "name");
	return m;
}

static struct link_ended good_ended(uint16_t type)
{
	struct link_ended m = { .header = { LINK_MAGIC, type, 0, sizeof(m), 0 }, .code = LINK_E_BAD_RECORD };

	snprintf(m.text, sizeof(m.text), "reason");
	return m;
}

static void test_good_packets_pass(void **state)
{
	struct link_hello hello = good_hello();
	struct link_tenant_create tenant = good_tenant();
	struct link_channel_open open = { .header = { LINK_MAGIC, LINK_CHANNEL_OPEN, 0, sizeof(open), 1 } };
	struct link_status status = { .header = { LINK_MAGIC, LINK_STATUS, 0, sizeof(status), 1 } };
	struct link_ready ready = { .header = { LINK_MAGIC, LINK_READY, 0, sizeof(ready), 0 } };
	struct link_ended failed = good_ended(LINK_FAILED), ended = good_ended(LINK_ENDED);

	(void)state;
	assert_int_equal(CHECK(PHASE_NEW, hello), 0);
	assert_int_equal(CHECK(PHASE_READY, tenant), 0);
	assert_int_equal(CHECK(PHASE_READY, open), 0);
	assert_int_equal(CHECK(PHASE_READY, status), 0);
	assert_int_equal(CHECK(PHASE_STARTING, ready), 0);
	assert_int_equal(CHECK(PHASE_STARTING, failed), 0);
	assert_int_equal(CHECK(PHASE_STARTING, ended), 0);
	assert_int_equal(CHECK(PHASE_SERVING, ended), 0);
}

static void test_phases(void **state)
{
	struct link_hello hello = good_hello();
	struct link_tenant_create tenant = good_tenant();
	struct link_ready ready = { .header = { LINK_MAGIC, LINK_READY, 0, sizeof(ready), 0 } };
	struct link_ended failed = good_ended(LINK_FAILED);

	(void)state;
	assert_int_equal(CHECK(PHASE_READY, hello), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_STARTING, hello), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_NEW, tenant), LINK_E_PROTOCOL);
	assert_non_null(strstr(why, "HELLO"));
	assert_int_equal(CHECK(PHASE_SERVING, tenant), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_READY, ready), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_SERVING, ready), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_SERVING, failed), LINK_E_PROTOCOL);
}

static void test_every_length_but_one_is_wrong(void **state)
{
	struct {
		struct link_hello m;
		char more[64];
	} p = { .m = good_hello() };

	(void)state;
	for (size_t len = 0; len <= sizeof(p); len++) {
		p.m.header.length = (uint32_t)len;
		assert_int_equal(check_packet(PHASE_NEW, &p, len, 0, &why),
				 len == sizeof(p.m) ? 0 : LINK_E_PROTOCOL);
	}
}

static void test_header(void **state)
{
	struct link_hello m = good_hello();

	(void)state;
	m.header.magic ^= 1;
	assert_int_equal(CHECK(PHASE_NEW, m), LINK_E_PROTOCOL);
	m = good_hello();
	m.header.n_fds = 1;
	assert_int_equal(CHECK(PHASE_NEW, m), LINK_E_PROTOCOL);
	assert_int_equal(check_packet(PHASE_NEW, &m, sizeof(m), 1, &why), LINK_E_PROTOCOL);
	m = good_hello();
	assert_int_equal(check_packet(PHASE_NEW, &m, sizeof(m), 1, &why), LINK_E_PROTOCOL);
	m.header.type = 0;
	assert_int_equal(CHECK(PHASE_NEW, m), LINK_E_PROTOCOL);
}

static void test_versions(void **state)
{
	struct link_hello m = good_hello();

	(void)state;
	m.version_max = UINT32_MAX;
	assert_int_equal(CHECK(PHASE_NEW, m), 0);
	m.version_min = 2;
	assert_int_equal(CHECK(PHASE_NEW, m), LINK_E_VERSION);
	m.version_min = m.version_max = 0;
	assert_int_equal(CHECK(PHASE_NEW, m), LINK_E_VERSION);
	m.version_min = 1;
	assert_int_equal(CHECK(PHASE_NEW, m), LINK_E_PROTOCOL);
}

static void test_tenant_fields(void **state)
{
	struct link_tenant_create m;

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c && strchr("._:-", (int)c));

		m = good_tenant();
		m.name[2] = (char)c;
		assert_int_equal(CHECK(PHASE_READY, m), fine ? 0 : LINK_E_PROTOCOL);
	}
	m = good_tenant();
	memset(m.name, 'x', sizeof(m.name));
	assert_int_equal(CHECK(PHASE_READY, m), LINK_E_PROTOCOL);
	m.name[63] = 0;
	assert_int_equal(CHECK(PHASE_READY, m), 0);
	m = good_tenant();
	m.name[63] = 'x';
	assert_int_equal(CHECK(PHASE_READY, m), LINK_E_PROTOCOL);
	m = good_tenant();
	m.weight = 0;
	assert_int_equal(CHECK(PHASE_READY, m), LINK_E_PROTOCOL);
	m.weight = 10000;
	assert_int_equal(CHECK(PHASE_READY, m), 0);
	m.weight++;
	assert_int_equal(CHECK(PHASE_READY, m), LINK_E_PROTOCOL);
	m = good_tenant();
	m.reserved = 1;
	assert_int_equal(CHECK(PHASE_READY, m), LINK_E_PROTOCOL);
}

static void test_executors_texts_and_codes(void **state)
{
	struct link_ended m = good_ended(LINK_ENDED);
	struct link_ready ready = { .header = { LINK_MAGIC, LINK_READY, 0, sizeof(ready), 0 } };

	(void)state;
	memset(m.text, 'x', sizeof(m.text));
	assert_int_equal(CHECK(PHASE_SERVING, m), LINK_E_PROTOCOL);
	m = good_ended(LINK_ENDED);
	m.code = 0;
	assert_int_equal(CHECK(PHASE_SERVING, m), LINK_E_PROTOCOL);
	m.code = LINK_E_WATCHDOG + 1;
	assert_int_equal(CHECK(PHASE_SERVING, m), LINK_E_PROTOCOL);
	m = good_ended(LINK_ENDED);
	m.reserved = 1;
	assert_int_equal(CHECK(PHASE_SERVING, m), LINK_E_PROTOCOL);
	memset(ready.device, 'x', sizeof(ready.device));
	assert_int_equal(CHECK(PHASE_STARTING, ready), LINK_E_PROTOCOL);
	ready.device[63] = 0;
	memset(ready.backend, 'x', sizeof(ready.backend));
	assert_int_equal(CHECK(PHASE_STARTING, ready), LINK_E_PROTOCOL);
}

static void test_device_and_sensor(void **state)
{
	struct link_device device = { .header = { LINK_MAGIC, LINK_DEVICE, 0, sizeof(device), 1 } };
	struct link_sensor_ready ready = { .header = { LINK_MAGIC, LINK_SENSOR_READY, 0, sizeof(ready), 0 } };
	struct link_sensed sensed = { .header = { LINK_MAGIC, LINK_SENSED, 0, sizeof(sensed), 0 } };

	(void)state;
	assert_int_equal(CHECK(PHASE_NEW, device), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_READY, device), 0);
	device.flags = LINK_DEVICE_CARD;
	assert_int_equal(CHECK(PHASE_READY, device), 0);
	device.flags = LINK_DEVICE_CARD << 1;
	assert_int_equal(CHECK(PHASE_READY, device), LINK_E_PROTOCOL);

	assert_int_equal(CHECK(PHASE_SENSOR_STARTING, ready), 0);
	assert_int_equal(CHECK(PHASE_SENSOR_SERVING, ready), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_READY, ready), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_SENSOR_SERVING, sensed), 0);
	assert_int_equal(CHECK(PHASE_SENSOR_STARTING, sensed), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_SERVING, sensed), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_NONE, sensed), LINK_E_PROTOCOL); // nobody asked
	ready.identity.attribute_count = DEVICE_ATTRIBUTES + 1;
	assert_int_equal(CHECK(PHASE_SENSOR_STARTING, ready), LINK_E_PROTOCOL);
	ready.identity.attribute_count = DEVICE_ATTRIBUTES;
	memset(ready.identity.name, 'x', sizeof(ready.identity.name));
	assert_int_equal(CHECK(PHASE_SENSOR_STARTING, ready), LINK_E_PROTOCOL);
	memset(sensed.texts.vbios, 'x', sizeof(sensed.texts.vbios));
	assert_int_equal(CHECK(PHASE_SENSOR_SERVING, sensed), LINK_E_PROTOCOL);
	sensed.texts.vbios[31] = 0;
	sensed.n_xids = LINK_SENSED_XIDS;
	assert_int_equal(CHECK(PHASE_SENSOR_SERVING, sensed), 0);
	sensed.n_xids++;
	assert_int_equal(CHECK(PHASE_SENSOR_SERVING, sensed), LINK_E_PROTOCOL);
	sensed.n_xids = 0;
	sensed.lost = 2;
	assert_int_equal(CHECK(PHASE_SENSOR_SERVING, sensed), LINK_E_PROTOCOL);
}

static void test_sharing(void **state)
{
	struct link_share share = { .header = { LINK_MAGIC, LINK_SHARE, 0, sizeof(share), 1 } };
	struct link_take take = { .header = { LINK_MAGIC, LINK_TAKE, 0, sizeof(take), 1 } };
	struct link_drop drop = { .header = { LINK_MAGIC, LINK_DROP, 0, sizeof(drop), 1 }, .owner = 1 };

	(void)state;
	assert_int_equal(CHECK(PHASE_SERVING, share), 0);
	assert_int_equal(CHECK(PHASE_SERVING, take), 0);
	assert_int_equal(CHECK(PHASE_SERVING, drop), 0);
	assert_int_equal(CHECK(PHASE_STARTING, share), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_READY, take), LINK_E_PROTOCOL);
	assert_int_equal(CHECK(PHASE_NEW, drop), LINK_E_PROTOCOL);
	// One fd, if the header says so; only here.
	share.header.n_fds = take.header.n_fds = 1;
	assert_int_equal(check_packet(PHASE_SERVING, &share, sizeof(share), 1, &why), 0);
	assert_int_equal(CHECK(PHASE_SERVING, share), LINK_E_PROTOCOL);
	assert_int_equal(check_packet(PHASE_SERVING, &take, sizeof(take), 1, &why), LINK_E_PROTOCOL);
	share.header.n_fds = 2;
	assert_int_equal(check_packet(PHASE_SERVING, &share, sizeof(share), 2, &why), LINK_E_PROTOCOL);
	share.header.n_fds = 0;
	share.bytes = VGPU_WINDOW_BYTES;
	assert_int_equal(CHECK(PHASE_SERVING, share), 0);
	share.bytes++;
	assert_int_equal(CHECK(PHASE_SERVING, share), LINK_E_PROTOCOL);
	drop.owner = 2;
	assert_int_equal(CHECK(PHASE_SERVING, drop), LINK_E_PROTOCOL);
	drop.owner = 0;
	drop.reserved = 1;
	assert_int_equal(CHECK(PHASE_SERVING, drop), LINK_E_PROTOCOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_packets_pass),
		cmocka_unit_test(test_phases),
		cmocka_unit_test(test_every_length_but_one_is_wrong),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_tenant_fields),
		cmocka_unit_test(test_executors_texts_and_codes),
		cmocka_unit_test(test_device_and_sensor),
		cmocka_unit_test(test_sharing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
