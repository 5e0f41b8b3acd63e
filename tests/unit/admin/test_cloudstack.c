// SPDX-License-Identifier: Apache-2.0
// The list that CloudStack's agent takes (admin/cloudstack/listing.c): its text to the letter, what is merged
// into it, and where it ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/listing.h"

static const struct listing_card h100 = {
	.pci = "00000000:3B:00.0",
	.vendor = 0x10de,
	.device = 0x2330,
	.name = "NVIDIA H100",
	.root = "0000:3a:01.0",
	.numa = 0,
};

static json_t *one(const struct listing_card *c)
{
	json_t *card = listing_card(c);

	assert_non_null(card);
	return json_pack("[o]", card);
}

static void assert_printed(json_t *gpus, const char *text)
{
	char *line = listing_print(gpus);

	assert_non_null(line);
	assert_string_equal(line, text);
	free(line);
	json_decref(gpus);
}

static void test_the_text_to_the_letter(void **state)
{
	json_t *gpus = one(&h100), *card = json_array_get(gpus, 0);

	(void)state;
	listing_slot(card, &(struct listing_slot){ "5f0c-1", "mvgpu-16g", 4, 16ull << 30, "i-2-33-VM" });
	listing_slot(card, &(struct listing_slot){ "5f0c-2", "mvgpu-16g", 4, 16ull << 30, NULL });
	assert_printed(
	    gpus, "{\"gpus\":[{\"pci_address\":\"3b:00.0\",\"vendor_id\":\"10de\",\"device_id\":\"2330\","
		  "\"vendor\":\"NVIDIA "
		  "Corporation\",\"device\":\"H100\",\"numa_node\":0,\"pci_root\":\"0000:3a:01.0\","
		  "\"full_passthrough\":{\"enabled\":0,\"used_by_vm\":null},\"vgpu_instances\":[{\"mdev_"
		  "uuid\":\"5f0c-1\","
		  "\"profile_name\":\"mvgpu-16g\",\"max_instances\":4,\"video_ram\":16384,\"used_by_vm\":\"i-"
		  "2-33-VM\"},"
		  "{\"mdev_uuid\":\"5f0c-2\",\"profile_name\":\"mvgpu-16g\",\"max_instances\":4,\"video_"
		  "ram\":16384,"
		  "\"used_by_vm\":null}],\"vf_instances\":[]}]}");
}

static void test_without_a_card(void **state)
{
	struct listing_card c = { .pci = LISTING_NO_CARD, .name = "null", .numa = -1 };
	json_t *gpus = one(&c);

	(void)state;
	listing_slot(json_array_get(gpus, 0), &(struct listing_slot){ "u", "p", 1, 0, NULL });
	assert_printed(
	    gpus,
	    "{\"gpus\":[{\"pci_address\":\"00:00.0\",\"vendor_id\":\"0000\",\"device_id\":\"0000\","
	    "\"vendor\":\"vgpu\",\"device\":\"null\",\"numa_node\":null,\"pci_root\":null,"
	    "\"full_passthrough\":{\"enabled\":0,\"used_by_vm\":null},\"vgpu_instances\":[{\"mdev_uuid\":"
	    "\"u\",\"profile_name\":\"p\",\"max_instances\":1,\"video_ram\":null,\"used_by_vm\":null}],"
	    "\"vf_instances\":[]}]}");
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text, *expected;
	} good[] = {
		{ "00000000:3b:00.0", "3b:00.0" },
		{ "0000:3B:1f.7", "3b:1f.7" },
		{ "3b:00.0", "3b:00.0" },
		{ "00000001:3b:00.0", "0001:3b:00.0" },
		{ "10000:01:00.0", "10000:01:00.0" },
	};
	static const char *const bad[] = { "",	      "none",	 "3b",	     "3b:00",	      "3b:00.0 ",
					   "3b:00.8", "3b:20.0", "100:00.0", "0000:3b:00.0.0" };
	char address[LISTING_ADDRESS_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(listing_address(good[i].text, address));
		assert_string_equal(address, good[i].expected);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct listing_card c = { .pci = bad[i] };
		json_t *card = listing_card(&c);

		assert_false(listing_address(bad[i], address));
		assert_int_equal(card != NULL, strcmp(bad[i], LISTING_NO_CARD) == 0);
		json_decref(card);
	}
	assert_true(listing_same_address("0000:3b:00.0", "3B:00.0"));
	assert_false(listing_same_address("0001:3b:00.0", "3b:00.0"));
	assert_false(listing_same_address("none", "none"));
}

// ---- merging ----

#define GPU(address, more)                                                                    \
	"{\"pci_address\":\"" address                                                         \
	"\",\"vendor_id\":\"10de\",\"device_id\":\"1eb8\",\"vendor\":\"NVIDIA\","             \
	"\"device\":\"T4\",\"full_passthrough\":{\"enabled\":1,\"used_by_vm\":\"i-2-3-VM\"}," \
	"\"vgpu_instances\":[]" more "}"
#define VFS ",\"vf_instances\":[]"

// How many are added to ours; -1: it is refused.
static int merged(const char *text)
{
	json_t *gpus = one(&h100), *found = json_loads(text, JSON_DECODE_ANY, NULL), *before;
	int n = -1;

	assert_non_null(found);
	before = json_deep_copy(json_array_get(gpus, 0));
	if (listing_merge(gpus, found))
		n = (int)json_array_size(gpus) - 1;
	else
		assert_int_equal(json_array_size(gpus), 1);
	assert_true(json_equal(json_array_get(gpus, 0), before)); // ours is first, and as it was
	json_decref(before);
	json_decref(found);
	json_decref(gpus);
	return n;
}

static void test_gpus_of_others_are_added(void **state)
{
	(void)state;
	assert_int_equal(merged("{\"gpus\":[]}"), 0);
	assert_int_equal(merged("{\"gpus\":[" GPU("af:00.0", VFS) "," GPU("0000:b0:00.0", VFS) "]}"), 2);
	assert_int_equal(merged("{\"gpus\":[" GPU("3b:00.1", VFS) "," GPU("0001:3b:00.0", VFS) "]}"), 2);
}

static void test_ours_are_not_taken_from_others(void **state)
{
	(void)state;
	assert_int_equal(merged("{\"gpus\":[" GPU("3b:00.0", VFS) "," GPU("af:00.0", VFS) "]}"), 1);
	assert_int_equal(merged("{\"gpus\":[" GPU("0000:3B:00.0", VFS) "]}"), 0);
}

// The agent would lose all that follows.
static void test_what_the_agent_cannot_read_is_left_out(void **state)
{
	(void)state;
	assert_int_equal(
	    merged("{\"gpus\":[7,null,{},\"x\",[]," GPU("af:00.0", "") "," GPU("b0:00.0", VFS) "]}"), 1);
	assert_int_equal(
	    merged("{\"gpus\":[" GPU("af:00.0", VFS ",\"full_passthrough\":{\"enabled\":true}") "]}"), 0);
	assert_int_equal(merged("{\"gpus\":[" GPU("af:00.0", VFS ",\"vendor\":7") "]}"), 0);
}

static void test_what_is_no_list(void **state)
{
	static const char *const texts[] = {
		"{}", "[]", "7", "\"gpus\"", "{\"gpus\":{}}", "{\"gpus\":null}"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(merged(texts[i]), -1);
}

// ---- length ----

static void test_it_ends_where_the_agent_does(void **state)
{
	struct listing_slot s = { "00000000-0000-5000-8000-000000000000", "quarter", 300, 16ull << 30,
				  "i-2-33-VM" };
	json_t *gpus = one(&h100), *card = json_array_get(gpus, 0);
	char *line, name[LISTING_MOST_BYTES];
	size_t n;

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		listing_slot(card, &s);
	json_object_set_new(card, "device", json_string(""));
	line = listing_print(gpus);
	assert_non_null(line);
	n = LISTING_MOST_BYTES - 1 - strlen(line); // still fit; the last byte is the line's end
	free(line);
	assert_true(n < sizeof(name) - 1);
	memset(name, 'x', sizeof(name));
	name[n] = 0;
	json_object_set_new(card, "device", json_string(name));
	line = listing_print(gpus);
	assert_non_null(line);
	assert_int_equal(strlen(line), LISTING_MOST_BYTES - 1);
	free(line);
	name[n] = 'x';
	name[n + 1] = 0;
	json_object_set_new(card, "device", json_string(name));
	assert_null(listing_print(gpus));
	json_decref(gpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_text_to_the_letter),
		cmocka_unit_test(test_without_a_card),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_gpus_of_others_are_added),
		cmocka_unit_test(test_ours_are_not_taken_from_others),
		cmocka_unit_test(test_what_the_agent_cannot_read_is_left_out),
		cmocka_unit_test(test_what_is_no_list),
		cmocka_unit_test(test_it_ends_where_the_agent_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
