// SPDX-License-Identifier: Apache-2.0
// CloudStack's devices beside the mediator's slots, and bills: what is joined, what is said to differ.
#include "tests/unit/admin/test.h"

#include "admin/cloudstack/bill.h"
#include "admin/cloudstack/card.h"
#include "admin/cloudstack/compare.h"

static json_t *json(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

// The note on the only row; "" if both agree.
static void differs(const char *device, const char *slot, const char *note)
{
	json_t *devices = json(device), *slots = json(slot), *rows = compare_rows(devices, slots);
	const json_t *row = json_array_get(rows, 0);
	const char *said = json_string_value(json_object_get(row, "note"));

	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(said ? said : "", note);
	assert_int_equal(compare_differences(rows), note[0] != 0);
	json_decref(rows);
	json_decref(slots);
	json_decref(devices);
}

#define DEVICE(more) "[{\"id\": \"7\", \"gpudevicetype\": \"MDEV\", \"busaddress\": \"AA-1\", " more "}]"
#define FREE	     "\"state\": \"Free\""
#define SLOT	     "[{\"vgpu\": \"aa-1\", \"profile\": \"p\", \"vm\": null, \"name\": null}]"
#define HELD	     "[{\"vgpu\": \"aa-1\", \"profile\": \"p\", \"vm\": \"v1\", \"name\": \"one\"}]"
#define OF(vm, vm_state) \
	"\"state\": \"Allocated\", \"vmstate\": \"" vm_state "\", \"virtualmachineid\": \"" vm "\""

static void test_owners(void **state)
{
	(void)state;
	differs(DEVICE(FREE), SLOT, "");
	differs(DEVICE(OF("V1", "Running")), HELD, "");
	differs(DEVICE(OF("v1", "Stopped")), SLOT, ""); // kept for it
	differs(DEVICE(OF("v1", "Starting")), SLOT, "");
	differs(DEVICE(OF("v1", "Running")), SLOT, "CloudStack's VM runs without it");
	differs(DEVICE(OF("v2", "Running")), HELD, "another VM in CloudStack");
	differs(DEVICE(OF("v1", "Stopped")), HELD, "in use, but its VM is stopped in CloudStack");
	differs(DEVICE(FREE), HELD, "in use, but free in CloudStack");
	differs(DEVICE("\"state\": \"Error\""), SLOT, "Error in CloudStack");
	differs("[]", SLOT, "not known to CloudStack");
	differs(DEVICE(FREE), "[]", "no slot of this mediator");
	differs(DEVICE("\"state\": \"Error\""), "[]", "no slot any more: prune");
}

static void left_over(const char *device, const char *slot, bool expected)
{
	json_t *devices = json(device), *slots = json(slot), *rows = compare_rows(devices, slots);

	assert_int_equal(compare_is_left_over(json_array_get(rows, 0)), expected);
	json_decref(rows);
	json_decref(slots);
	json_decref(devices);
}

static void test_what_prune_deletes(void **state)
{
	(void)state;
	left_over(DEVICE("\"state\": \"Error\""), "[]", true);
	left_over(DEVICE("\"state\": \"Error\", \"virtualmachineid\": \"v1\""), "[]", false);
	left_over(DEVICE("\"state\": \"Error\""), SLOT, false);
	left_over(DEVICE(FREE), "[]", false);
	left_over("[]", SLOT, false);
	// A card in the state Error is none of ours.
	left_over("[{\"id\": \"7\", \"gpudevicetype\": \"PCI\", \"busaddress\": \"3b:00.0\", \"state\": "
		  "\"Error\"}]",
		  "[]", false);
}

static void test_bills(void **state)
{
	json_t *bill = json_object(), *rows, *vms,
	       *usage = json("[{\"tenant\": \"vm-a\", \"gpu_ns\": 5, \"launches\": 1},"
			     " {\"tenant\": \"vm-b\", \"gpu_ns\": 7, \"memory_byte_s\": 9223372036854775807},"
			     " {\"tenant\": \"uid-1000\", \"gpu_ns\": 100},"
			     " {\"tenant\": \"vm-a\", \"gpu_ns\": 6, \"launches\": 2},"
			     " {\"tenant\": \"vm-b\", \"memory_byte_s\": 1}]"),
	       *row;
	FILE *out;
	size_t i;

	(void)state;
	json_array_foreach(usage, i, row) bill_add(bill, row);
	vms = json("[{\"id\": \"B\", \"displayname\": \"=1+1\", \"account\": \"a \\\"b\\\"\", \"domain\": "
		   "\"ROOT, x\"}]");
	rows = bill_rows(bill, vms);
	assert_int_equal(json_array_size(rows), 2);
	out = memory_open();
	bill_print_csv(rows, out);
	fclose(out);
	assert_string_equal(
	    memory_text,
	    "vm,name,instance,account,project,domain,offering,gpu_ns,memory_byte_s,launches,copy_bytes,"
	    "faults\r\n"
	    "\"a\",,,,,,,11,0,3,0,0\r\n"
	    "\"b\",\"'=1+1\",,\"a \"\"b\"\"\",,\"ROOT, x\",,7,9223372036854775807,0,0,0\r\n");
	json_decref(rows);
	json_decref(vms);
	json_decref(usage);
	json_decref(bill);
}

static void test_pci_addresses(void **state)
{
	static const char *const bad[] = {
		"", "3b:00.0", "0000:3b:00", "00010000:3b:00.0", "0000:3b:00.0 ", "../x"
	};

	(void)state;
	is(card_pci_address("00000000:3B:00.0"), "0000:3b:00.0");
	is(card_pci_address("0001:3b:1f.7"), "0001:3b:1f.7");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(card_pci_address(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_what_prune_deletes),
		cmocka_unit_test(test_bills),
		cmocka_unit_test(test_pci_addresses),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
