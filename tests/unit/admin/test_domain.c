// SPDX-License-Identifier: Apache-2.0
// Domains before and after: of each form that the agent writes, the whole result is compared, so that what is
// not said to change has not.
#include "tests/unit/admin/domain_samples.h"
#include "tests/unit/admin/test.h"

#include <libxml/c14n.h>
#include <libxml/parser.h>

#include "admin/cloudstack/domain.h"
#include "common/cleanup.h"

// In canonical form, without what is blank between elements.
static char *canonical(const char *xml)
{
	xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, "UTF-8", XML_PARSE_NOBLANKS);
	xmlChar *text = NULL;
	char *copy;

	assert_non_null(doc);
	assert_true(xmlC14NDocDumpMemory(doc, NULL, 0, NULL, 0, &text) > 0);
	copy = text_print("%s", (const char *)text);
	xmlFree(text);
	xmlFreeDoc(doc);
	return copy;
}

static void same(const char *xml, const char *expected)
{
	cleanup_free char *a = canonical(xml), *b = canonical(expected);

	assert_string_equal(a, b);
}

static struct domain *read_domain(const char *xml)
{
	char *why;
	struct domain *d = domain_read(xml, strlen(xml), DOMAIN_MOST_BYTES, &why);

	if (!d)
		fail_msg("%s", why);
	return d;
}

// With n vGPUs of ours, A and B; to be freed.
static char *rewritten(const char *xml, size_t n, const char *emulator)
{
	const struct domain_plan plan = { .emulator = emulator,
					  .vgpus = { { VGPU_A, SOCKET_A, NULL }, { VGPU_B, SOCKET_B, NULL } },
					  .n = n };
	struct domain *d = read_domain(xml);
	char *text, *why;

	assert_null(d->strange);
	assert_string_equal(d->uuid, VM);
	assert_string_equal(d->name, "i-2-33-VM");
	text = domain_rewrite(d, &plan, &why);
	if (!text)
		fail_msg("%s", why);
	domain_free(d);
	return text;
}

// The result is as expected, ours by every sign, and there is nothing more to do.
static void becomes(const char *xml, size_t n, const char *expected)
{
	cleanup_free char *text = rewritten(xml, n, NULL), *again = NULL;
	struct domain *d = read_domain(text);

	same(text, expected);
	assert_null(d->strange);
	assert_int_equal(d->n_sockets, n);
	assert_string_equal(d->sockets[0], SOCKET_A);
	for (size_t i = 0; i < d->n_mdevs; i++) {
		assert_string_not_equal(d->mdevs[i].uuid, VGPU_A);
		assert_true(n == 1 || strcmp(d->mdevs[i].uuid, VGPU_B) != 0);
	}
	domain_free(d);
	again = rewritten(text, 0, NULL);
	same(again, expected);
}

static void test_pc(void **state)
{
	(void)state;
	becomes(HEAD OS_PC CPU DEVICES HOSTDEV(VGPU_A) TAIL END, 1,
		HEAD BACKING OS_PC CPU DEVICES TAIL LINE(DEVICE("0", "pci.0", "0x1e", SOCKET_A)) END);
	becomes(HEAD OS_PC DEVICES TAIL "<devices>" HOSTDEV(VGPU_A) "</devices>" END, 1,
		HEAD BACKING OS_PC DEVICES TAIL
		"<devices>\n</devices>" LINE(DEVICE("0", "pci.0", "0x1e", SOCKET_A)) END);
}

static void test_q35(void **state)
{
	(void)state;
	becomes(HEAD OS_Q35 CPU DEVICES HOSTDEV(VGPU_A) HOSTDEV(VGPU_B) TAIL END, 2,
		HEAD BACKING OS_Q35 CPU DEVICES TAIL LINE(DEVICE("0", "pcie.0", "0x1e", SOCKET_A)
							      DEVICE("1", "pcie.0", "0x1c", SOCKET_B)) END);
#define BRIDGE "<controller type='pci' model='dmi-to-pci-bridge'/>"
	becomes(HEAD OS_Q35 DEVICES BRIDGE HOSTDEV(VGPU_A) TAIL END, 1,
		HEAD BACKING OS_Q35 DEVICES BRIDGE TAIL LINE(DEVICE("0", "pcie.0", "0x1c", SOCKET_A)) END);
}

static void test_numa(void **state)
{
	(void)state;
#define NUMA(more)                                                                                      \
	"<maxMemory slots='16' unit='KiB'>8388608</maxMemory><cpu mode='host-passthrough'><numa><cell " \
	"id='0' cpus='0-1' memory='2097152' unit='KiB'" more "/><cell id='1' cpus='2-3' "               \
	"memory='2097152' unit='KiB'" more "/></numa></cpu>"
	becomes(HEAD NUMA("") OS_PC DEVICES HOSTDEV(VGPU_A) TAIL END, 1,
		HEAD BACKING NUMA(" memAccess='shared'")
		    OS_PC DEVICES TAIL LINE(DEVICE("0", "pci.0", "0x1e", SOCKET_A)) END);
	becomes(HEAD NUMA(" memAccess='private'") OS_PC DEVICES HOSTDEV(VGPU_A) TAIL END, 1,
		HEAD BACKING NUMA(" memAccess='shared'")
		    OS_PC DEVICES TAIL LINE(DEVICE("0", "pci.0", "0x1e", SOCKET_A)) END);
}

static void test_memory_that_is_backed_already(void **state)
{
	(void)state;
#define HUGE "<hugepages><page size='2' unit='M'/></hugepages>"
#define ONE  LINE(DEVICE("0", "pci.0", "0x1e", SOCKET_A))
	becomes(HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL "<memoryBacking>" HUGE "</memoryBacking>" END, 1,
		HEAD OS_PC DEVICES TAIL "<memoryBacking>" HUGE SHARED "</memoryBacking>" ONE END);
	becomes(
	    HEAD "<memoryBacking><access mode='private'/><source type='file'/><locked/></memoryBacking>" OS_PC
		DEVICES HOSTDEV(VGPU_A) TAIL "<memoryBacking>" HUGE
					     "<source type='anonymous'/></memoryBacking>" END,
	    1,
	    HEAD "<memoryBacking><access mode='shared'/><source type='memfd'/><locked/></memoryBacking>" OS_PC
		DEVICES TAIL "<memoryBacking>" HUGE "</memoryBacking>" ONE END);
}

static void test_command_line_that_is_there(void **state)
{
	(void)state;
#define RNG                                                                                          \
	"<qemu:arg value='-device'/><qemu:arg value='virtio-rng-pci,addr=0x1e'/><qemu:env name='A' " \
	"value='b'/>"
	becomes(HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL LINE(RNG) END, 1,
		HEAD BACKING OS_PC DEVICES TAIL LINE(RNG DEVICE("0", "pci.0", "0x1d", SOCKET_A)) END);
	// The namespace on the domain, where another tool puts it.
#define NS_HEAD                                                                       \
	"<domain type='kvm' xmlns:qemu='" QEMU_NS "'><name>i-2-33-VM</name><uuid>" VM \
	"</uuid><memory>1</memory>"
	becomes(NS_HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL END, 1,
		NS_HEAD BACKING OS_PC DEVICES TAIL
		"<qemu:commandline>" DEVICE("0", "pci.0", "0x1e", SOCKET_A) "</qemu:commandline>" END);
	// One of ours is there, a second one comes.
	{
		cleanup_free char *text = rewritten(HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL ONE END, 1, NULL);

		same(text, HEAD BACKING OS_PC DEVICES TAIL LINE(DEVICE("0", "pci.0", "0x1e", SOCKET_A) DEVICE(
			       "1", "pci.0", "0x1d", SOCKET_A)) END);
	}
}

static void test_addresses_that_are_taken(void **state)
{
	(void)state;
#define AT(slot)  "<address type='pci' domain='0x0000' bus='0x00' slot='" slot "' function='0x0'/>"
#define ELSEWHERE "<address type='pci' domain='0x0000' bus='0x01' slot='0x1c' function='0x0'/>"
#define DISKS	  DISK("vdb", AT("0x1e")) DISK("vdc", AT("29")) DISK("vdd", ELSEWHERE)
	becomes(HEAD OS_PC DEVICES DISKS HOSTDEV(VGPU_A) TAIL END, 1,
		HEAD BACKING OS_PC DEVICES DISKS TAIL LINE(DEVICE("0", "pci.0", "0x1c", SOCKET_A)) END);
}

#define DISKS_AT_1E DISK("vdb", AT("0x1e")) DISK("vdc", "")

static void test_other_host_devices_stay(void **state)
{
	(void)state;
	becomes(HEAD OS_PC DEVICES PCI_HOSTDEV HOSTDEV(OTHER) HOSTDEV("0A1B2C3D00004000800000000000000A")
		    TAIL END,
		1, HEAD BACKING OS_PC DEVICES PCI_HOSTDEV HOSTDEV(OTHER) TAIL ONE END);
}

static void test_emulator(void **state)
{
	cleanup_free char *text = rewritten(HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL END, 1, "/opt/a&b/qemu");
	cleanup_free char *none =
	    rewritten(HEAD OS_PC "<devices>" HOSTDEV(VGPU_A) "</devices>" END, 1, "/opt/qemu");

	(void)state;
	same(text, HEAD BACKING OS_PC "<devices><emulator>/opt/a&amp;b/qemu</emulator>" DISK("vda", "")
		       TAIL ONE END);
	same(none, HEAD BACKING OS_PC "<devices><emulator>/opt/qemu</emulator></devices>" ONE END);
}

// Every way to put the forms together.
static void test_combinations(void **state)
{
	static const char *const devices[2][2] = {
		{ DEVICE("0", "pci.0", "0x1d", SOCKET_A), DEVICE("1", "pci.0", "0x1c", SOCKET_B) },
		{ DEVICE("0", "pcie.0", "0x1c", SOCKET_A), DEVICE("1", "pcie.0", "0x1b", SOCKET_B) },
	};

	(void)state;
	for (unsigned bits = 0; bits < 64; bits++) {
		bool q35 = bits & 1, numa = bits & 2, huge = bits & 4, line = bits & 8, other = bits & 16,
		     two = bits & 32;
		const char *os = q35 ? OS_Q35 : OS_PC, *rest = other ? PCI_HOSTDEV HOSTDEV(OTHER) : "";
		// 0x1e is taken by an argument or by a disk.
		const char *disks = line ? DISK("vdb", "") : DISKS_AT_1E;
		cleanup_free char *xml = text_print(HEAD "%s%s%s" DEVICES "%s%s%s%s" TAIL "%s" END,
						    huge ? "<memoryBacking>" HUGE "</memoryBacking>" : "",
						    numa ? NUMA("") : CPU, os, disks, HOSTDEV(VGPU_A),
						    two ? HOSTDEV(VGPU_B) : "", rest, line ? LINE(RNG) : "");
		cleanup_free char *expected = text_print(
		    HEAD "<memoryBacking>%s" SHARED "</memoryBacking>%s%s" DEVICES "%s%s" TAIL
			 "<qemu:commandline xmlns:qemu='" QEMU_NS "'>%s%s%s</qemu:commandline>" END,
		    huge ? HUGE : "", numa ? NUMA(" memAccess='shared'") : CPU, os, disks, rest,
		    line ? RNG : "", devices[q35][0], two ? devices[q35][1] : "");

		becomes(xml, two ? 2 : 1, expected);
	}
}

// ---- what is not rewritten ----

static void cannot(const char *xml, size_t n, const char *expected)
{
	const struct domain_plan plan = { .vgpus = { { VGPU_A, SOCKET_A }, { VGPU_B, SOCKET_B } }, .n = n };
	struct domain *d = read_domain(xml);
	cleanup_free char *why = NULL, *text = domain_rewrite(d, &plan, &why);

	assert_null(text);
	if (!strstr(why, expected))
		fail_msg("'%s' and not '%s'", why, expected);
	domain_free(d);
}

static void test_machines_without(void **state)
{
	cleanup_free char *long_text = text_memory(calloc(1, 70000)), *xml = NULL;

	(void)state;
	cannot(HEAD "<os><type arch='aarch64' machine='virt'>hvm</type></os>" DEVICES HOSTDEV(VGPU_A)
		   TAIL END,
	       1, "architecture is aarch64");
	cannot(HEAD "<os><type machine='microvm'>hvm</type></os>" DEVICES HOSTDEV(VGPU_A) TAIL END, 1,
	       "machine type is microvm");
	cannot(HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL END, 2, "does not have the vGPU " VGPU_B);
	cannot(HEAD OS_PC DEVICES HOSTDEV(VGPU_A) TAIL LINE(
		   "<qemu:arg value='addr=0x1e'/><qemu:arg value='addr=29'/><qemu:arg value='addr=28'/>"
		   "<qemu:arg value='addr=27'/><qemu:arg value='addr=26'/><qemu:arg value='addr=25'/>"
		   "<qemu:arg value='addr=24'/><qemu:arg value='addr=23'/><qemu:arg value='addr=22'/>"
		   "<qemu:arg value='addr=21'/><qemu:arg value='addr=20'/><qemu:arg value='addr=19'/>"
		   "<qemu:arg value='addr=18'/><qemu:arg value='addr=17'/><qemu:arg "
		   "value='{\"addr\":\"0x10\"}'/>") END,
	       1, "no PCI slot");
	memset(long_text, 'x', 69999);
	xml = text_print("%s<title>%s</title>%s", HEAD, long_text, OS_PC DEVICES HOSTDEV(VGPU_A) TAIL END);
	cannot(xml, 1, "more than 65536 bytes");
}

static void unreadable(const char *xml, size_t len, const char *expected)
{
	cleanup_free char *why = NULL;

	assert_null(domain_read(xml, len, DOMAIN_MOST_BYTES, &why));
	if (!strstr(why, expected))
		fail_msg("'%s' and not '%s'", why, expected);
}

#define UNREADABLE(xml, expected) unreadable(xml, sizeof(xml) - 1, expected)

static void test_what_is_no_domain(void **state)
{
	cleanup_free char *great = text_memory(calloc(1, DOMAIN_MOST_BYTES + 1));
	cleanup_free char *deep = NULL, *begin = NULL;

	(void)state;
	UNREADABLE("", "not XML");
	UNREADABLE("hello", "not XML");
	UNREADABLE("<domain>", "not XML");
	UNREADABLE("<domain/><domain/>", "not XML");
	UNREADABLE("<domains><domain/></domains>", "no domain but <domains>");
	UNREADABLE("<domain xmlns='urn:x'/>", "no domain");
	UNREADABLE("<domain>&x;</domain>", "not XML");
	UNREADABLE("<!DOCTYPE domain><domain/>", "document type");
	UNREADABLE("<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain>&x;</domain>",
		   "document type");
	UNREADABLE("<\0d\0/\0>\0", "not UTF-8");
	UNREADABLE("<domain>\xff</domain>", "not XML");
	UNREADABLE("<domain><qemu:commandline/></domain>", "prefix qemu");
	memset(great, ' ', DOMAIN_MOST_BYTES + 1);
	memcpy(great, "<domain/>", 9);
	unreadable(great, DOMAIN_MOST_BYTES + 1, "more than 131071 bytes");
	// Exactly as much as there may be.
	domain_free(domain_read(great, DOMAIN_MOST_BYTES, DOMAIN_MOST_BYTES, &deep));
	assert_null(deep);
	begin = text_memory(calloc(1, 100001));
	for (size_t i = 0; i < 20000; i++)
		memcpy(begin + 3 * i, "<a>", 3);
	unreadable(begin, 60000, "not XML"); // too deep
}

static void test_too_many(void **state)
{
	(void)state;
#define FOUR HOSTDEV(OTHER) HOSTDEV(OTHER) HOSTDEV(OTHER) HOSTDEV(OTHER)
	UNREADABLE(HEAD DEVICES FOUR FOUR FOUR FOUR HOSTDEV(OTHER) TAIL END, "more than 16 mediated devices");
}

// ---- what others wrote ----

static void is_strange(const char *xml, const char *expected)
{
	struct domain *d = read_domain(xml);

	if (!d->strange || !strstr(d->strange, expected))
		fail_msg("'%s' and not '%s' of %s", d->strange ? d->strange : "", expected, xml);
	domain_free(d);
}

static void is_plain(const char *xml)
{
	struct domain *d = read_domain(xml);

	assert_null(d->strange);
	assert_false(domain_concerns_us(d));
	domain_free(d);
}

#define WITH(args) HEAD OS_PC DEVICES TAIL LINE(args) END
#define ARG(value) "<qemu:arg value='" value "'/>"

static void test_strange(void **state)
{
	(void)state;
	is_strange(WITH(ARG("-device") ARG("vfio-user-pci,socket=/x")), "vfio-user-pci,socket=/x");
	// As ours, but one thing is not.
	is_strange(WITH(DEVICE("x", "pci.0", "0x1e", SOCKET_A)), "vgpux");
	is_strange(WITH(DEVICE("0", "pci.0", "0x1e", "x.sock")), "x.sock");
	is_strange(
	    WITH(ARG(
		"-object") "<qemu:arg value='{\"driver\":\"vfio-user-pci\",\"id\":\"vgpu0\",\"bus\":\"b\","
			   "\"addr\":\"1\",\"socket\":{\"type\":\"unix\",\"path\":\"/s\"}}'/>"),
	    "vfio-user");
	is_strange(
	    WITH(ARG(
		"-device") "<qemu:arg value='{\"driver\":\"vfio-user-pci\",\"id\":\"vgpu0\",\"bus\":\"b\","
			   "\"addr\":\"1\",\"rombar\":0,\"socket\":{\"type\":\"unix\",\"path\":\"/s\"}}'/>"),
	    "rombar");
	// Letters in disguise, of XML and of JSON, also of JSON that only QEMU takes.
	is_strange(WITH(ARG("-device") ARG("vfi&#x6f;-user-pci,socket=/x")), "vfio-user");
	is_strange(WITH(ARG("-device") ARG("{\"driver\":\"vfio\\u002duser-pci\"}")), "not vgpu's");
	is_strange(WITH(ARG("-device") "<qemu:arg value=\"{'driver':'vfio\\u002duser-pci'}\"/>"),
		   "cannot be read");
	// Our sockets by other ways.
	is_strange(WITH(ARG("-chardev") ARG("socket,id=c,path=/var/run/vgpu-stub/x.sock")), "vgpu-stub");
	is_strange(HEAD OS_PC DEVICES "<serial type='unix'><source mode='connect' path='" SOCKET_B
				      "'/></serial>" TAIL END,
		   "<source>");
	is_strange(HEAD OS_PC DEVICES "<emulator>" SOCKET_B "</emulator>" TAIL END, "<emulator>");
	is_strange(HEAD OS_PC DEVICES TAIL
		   "<q:override xmlns:q='" QEMU_NS "'><q:device alias='a'><q:frontend>"
		   "<q:property name='x' value='" SOCKET_B "'/></q:frontend></q:device></q:override>" END,
		   "<property>");
	// What libvirt could read otherwise than we do.
	is_strange(HEAD "<uuid>" OTHER "</uuid>" OS_PC DEVICES TAIL END, "two elements <uuid>");
	is_strange(HEAD "<name>x</name>" OS_PC DEVICES TAIL END, "two elements <name>");
	is_strange(HEAD OS_PC DEVICES "<hostdev mode='subsystem' type='mdev'><source><address uuid='" OTHER
				      "'/><address uuid='" VGPU_A "'/></source></hostdev>" TAIL END,
		   "without one address");
}

static void test_plain(void **state)
{
	(void)state;
	is_plain(HEAD OS_PC DEVICES TAIL END);
	is_plain(HEAD OS_PC DEVICES PCI_HOSTDEV TAIL END);
	is_plain(WITH(RNG ARG("{\"qom-type\":\"rng-random\",\"id\":\"r\"}")));
	// Not libvirt's own, so that it means nothing.
	is_plain(HEAD "<metadata><x:a xmlns:x='urn:x'>" HOSTDEV(VGPU_A) SOCKET_A
		 "</x:a></metadata>" OS_PC DEVICES TAIL END);
	is_plain(HEAD "<title>about vfio-user</title>" OS_PC DEVICES TAIL END);
}

static void test_host_bridge(void **state)
{
	struct domain *d = read_domain(
	    HEAD OS_PC DEVICES
	    "<hostdev mode='subsystem' type='pci' managed='yes'><source><address "
	    "domain='0x0000' bus='0x00' slot='0x00' function='0x0'/></source></hostdev>" TAIL END);

	(void)state;
	assert_true(d->host_bridge);
	domain_free(d);
	d = read_domain(HEAD OS_PC DEVICES PCI_HOSTDEV TAIL END);
	assert_false(d->host_bridge);
	domain_free(d);
}

static void test_uuid(void **state)
{
	static const char *const bad[] = { "",	   "x",	    "6f1c4ae2",
					   VM "0", VM " x", "6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9g" };
	char uuid[DOMAIN_UUID_BYTES];

	(void)state;
	assert_true(domain_uuid(" 6F1C4AE252A54D5C8A450D2F7D6A1B9E\n", uuid));
	assert_string_equal(uuid, VM);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(domain_uuid(bad[i], uuid));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pc),
		cmocka_unit_test(test_q35),
		cmocka_unit_test(test_numa),
		cmocka_unit_test(test_memory_that_is_backed_already),
		cmocka_unit_test(test_command_line_that_is_there),
		cmocka_unit_test(test_addresses_that_are_taken),
		cmocka_unit_test(test_other_host_devices_stay),
		cmocka_unit_test(test_emulator),
		cmocka_unit_test(test_combinations),
		cmocka_unit_test(test_machines_without),
		cmocka_unit_test(test_what_is_no_domain),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_strange),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_host_bridge),
		cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
