// SPDX-License-Identifier: Apache-2.0
// What install, uninstall and doctor decide by: seals, other programs' settings, the plan of files,
// versions and times.
#include "tests/unit/admin/test.h"

#include "admin/cloudstack/doctor_rules.h"
#include "admin/cloudstack/install_plan.h"
#include "admin/cloudstack/seal.h"
#include "admin/cloudstack/settings.h"

static void test_seals(void **state)
{
	static const char text[] = "#!/bin/sh\necho\n";
	size_t n;
	char *sealed = seal_add(text, sizeof(text) - 1, &n);

	(void)state;
	assert_memory_equal(sealed, text, sizeof(text) - 1);
	assert_int_equal(strlen(sealed), n);
	assert_int_equal(seal_check(sealed, n), SEAL_WHOLE);
	assert_int_equal(seal_check(text, sizeof(text) - 1), SEAL_NONE);
	assert_int_equal(seal_check("", 0), SEAL_NONE);
	for (size_t i = 0; i < n; i++) { // any byte
		sealed[i] ^= 1;
		assert_int_not_equal(seal_check(sealed, n), SEAL_WHOLE);
		sealed[i] ^= 1;
	}
	assert_int_equal(seal_check(sealed, n - 1), SEAL_BROKEN);
	assert_int_equal(seal_check(strstr(sealed, "# written"), 60), SEAL_NONE);
	free(sealed);
	// One whose last line has no end gets it.
	sealed = seal_add("a", 1, &n);
	assert_memory_equal(sealed, "a\n# written", 11);
	assert_int_equal(seal_check(sealed, n), SEAL_WHOLE);
	free(sealed);
}

static void test_properties(void **state)
{
	static const char text[] = "# a=1\n!a=2\n a = 3 \nab=4\nb:5\nc 6\nd=a\\\n   b\ne=x\\=y\\\\z\nf=\n"
				   "g=1\r\ng = 2\r\nlast=/x y";

	(void)state;
	is(settings_property(text, "a"), "3");
	is(settings_property(text, "ab"), "4");
	is(settings_property(text, "b"), "5");
	is(settings_property(text, "c"), "6");
	is(settings_property(text, "d"), "ab");
	is(settings_property(text, "e"), "x=y\\z");
	is(settings_property(text, "f"), "");
	is(settings_property(text, "g"), "2");
	is(settings_property(text, "last"), "/x y");
	assert_null(settings_property(text, "l"));
	assert_null(settings_property("", "a"));
	assert_null(settings_property("\\", "a"));
}

static void test_assignments(void **state)
{
	static const char text[] = "#user = \"a\"\nuser = \"b\" # c\n\tusers=d\nexport X='/e f'\nY=/g # h\n"
				   "security_driver = [ \"selinux\", \"apparmor\" ]\nZ=\nuser=root";

	(void)state;
	is(settings_assignment(text, "user"), "root");
	is(settings_assignment(text, "users"), "d");
	is(settings_assignment(text, "X"), "/e f");
	is(settings_assignment(text, "Y"), "/g");
	is(settings_assignment(text, "Z"), "");
	is(settings_assignment(text, "security_driver"), "[ \"selinux\", \"apparmor\" ]");
	assert_null(settings_assignment(text, "use"));
	assert_null(settings_assignment("user", "user"));
	assert_false(settings_are_said("# a\n\n  ; b\n[c]\n"));
	assert_true(settings_are_said("# a\n[c]\n url = x\n"));
}

static void is_path(const struct install_plan *p, const char *path, const char *source)
{
	const struct install_item *item = install_plan_find(p, path);

	assert_non_null(item);
	assert_string_equal(item->source, source);
}

static void test_plan(void **state)
{
	struct install_plan p;

	(void)state;
	assert_null(install_plan_make(&p, NULL));
	assert_int_equal(p.n, 6);
	is_path(&p, "/etc/cloudstack/agent/hooks/libvirt-vm-xml-transformer.sh",
		"libvirt-vm-xml-transformer.sh");
	is_path(&p, "/etc/cloudstack/agent/hooks/libvirt-vm-state-change.sh", "libvirt-vm-state-change.sh");
	// Not among what libvirt runs.
	assert_string_equal(install_plan_find(&p, INSTALL_GUARD)->backup,
			    "/etc/libvirt/hooks/50-vgpu.before-vgpu");
	assert_string_equal(p.groovy, "/etc/cloudstack/agent/hooks/libvirt-vm-xml-transformer.groovy");
	install_plan_done(&p);

	assert_null(install_plan_make(&p, "agent.hooks.basedir=/opt/hooks/\n"
					  "agent.hooks.libvirt_vm_on_stop.shell_script=stop.sh\n"
					  "agent.hooks.libvirt_vm_xml_transformer.script = x.groovy\n"));
	assert_int_equal(p.n, 7);
	is_path(&p, "/opt/hooks/stop.sh", "libvirt-vm-state-change.sh");
	is_path(&p, "/opt/hooks/libvirt-vm-state-change.sh", "libvirt-vm-state-change.sh");
	assert_string_equal(p.groovy, "/opt/hooks/x.groovy");
	install_plan_done(&p);
}

static void test_plans_that_are_refused(void **state)
{
	static const char *const bad[] = {
		"agent.hooks.basedir=hooks",
		"agent.hooks.libvirt_vm_on_start.shell_script=../x",
		"agent.hooks.libvirt_vm_on_stop.shell_script=/x",
		"agent.hooks.libvirt_vm_xml_transformer.script=.",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct install_plan p;
		char *wrong = install_plan_make(&p, bad[i]);

		assert_non_null(wrong);
		assert_non_null(strstr(wrong, "agent.properties"));
		free(wrong);
		install_plan_done(&p);
	}
}

static enum install_state judge(const char *there, mode_t mode, bool settings)
{
	static const struct install_item program = { .mode = 0755 };
	static const struct install_item template = { .mode = 0600, .settings = true };
	struct tree_file f = { .there = there != NULL,
			       .st.st_mode = mode,
			       .text = S_ISREG(mode) ? (char *)there : NULL,
			       .n = there ? strlen(there) : 0 };
	size_t n;
	char *sealed = seal_add("new\n", 4, &n);
	enum install_state s = install_judge(settings ? &template : &program, "new\n", 4, sealed, n, &f, 0);

	free(sealed);
	return s;
}

static void test_what_is_there(void **state)
{
	size_t n;
	char *same = seal_add("new\n", 4, &n), *older = seal_add("old\n", 4, &n);

	(void)state;
	assert_int_equal(judge(NULL, 0, false), INSTALL_NEW);
	assert_int_equal(judge(same, S_IFREG | 0755, false), INSTALL_SAME);
	assert_int_equal(judge(same, S_IFREG | 0644, false), INSTALL_OLDER);
	assert_int_equal(judge(older, S_IFREG | 0755, false), INSTALL_OLDER);
	assert_int_equal(judge("new\n", S_IFREG | 0755, false), INSTALL_OLDER);
	assert_int_equal(judge("mine\n", S_IFREG | 0755, false), INSTALL_FOREIGN);
	assert_int_equal(judge("x", S_IFLNK | 0777, false), INSTALL_FOREIGN);
	assert_int_equal(judge("x", S_IFDIR | 0755, false), INSTALL_BLOCKED);
	older[0] = 'x';
	assert_int_equal(judge(older, S_IFREG | 0755, false), INSTALL_EDITED);
	assert_int_equal(judge("mine\n", S_IFREG | 0644, true), INSTALL_KEPT);
	assert_int_equal(judge(NULL, 0, true), INSTALL_NEW);
	free(same);
	free(older);
}

static void test_differences(void **state)
{
	(void)state;
	is(install_difference("a\nb\nc\n", "a\nb\nc\n"), "mode or owner");
	is(install_difference("a\nb\nc\n", "a\nx\ny\nc\n"), "lines 2-2 of 3 become 2");
	is(install_difference("a\nb\nc\n", "a\nc\n"), "lines 2-2 of 3 become 0");
	is(install_difference("a\nc\n", "a\nb\nc\n"), "1 lines more before line 2");
	is(install_difference("a\n", "x\na\n"), "1 lines more before line 1");
	is(install_difference("a\n", "xa\n"), "lines 1-1 of 1 become 1");
	is(install_difference("a\na\n", "a\na\na\n"), "1 lines more before line 3");
	is(install_difference("", "a\n"), "1 lines more before line 1");
	is(install_difference("a", "b"), "lines 1-1 of 1 become 1");
}

static void test_versions(void **state)
{
	struct rules_version v;

	(void)state;
	assert_true(rules_version("QEMU emulator version 10.1.0 (Debian 1:10.1.0)\n", "version ", &v));
	assert_true(rules_at_least(v, 10, 1) && rules_at_least(v, 9, 5));
	assert_false(rules_at_least(v, 10, 2) || rules_at_least(v, 11, 0));
	assert_true(rules_version("libvirtd (libvirt) 9.0.0\n", "(libvirt) ", &v));
	assert_int_equal(v.major, 9);
	assert_false(rules_version("version x", "version ", &v));
	assert_false(rules_version("", "version ", &v));
	assert_true(rules_jar("cloud-plugin-hypervisor-kvm-4.22.0.0-SNAPSHOT.jar", &v));
	assert_int_equal(v.minor, 22);
	assert_false(rules_jar("cloud-agent-4.22.0.0.jar", &v));
	assert_false(rules_jar("x-cloud-plugin-hypervisor-kvm-4.22.jar", &v));
}

static void test_groups(void **state)
{
	static const char groups[] =
	    "root:x:0:\nvgpu:x:990:a,libvirt-qemu2,b\nlibvirt-qemu:x:64055:libvirt-qemu\n";
	static const char users[] =
	    "root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:64055:64055::/:/x\nc:x:5:990::/:/x\n";

	(void)state;
	assert_true(rules_in_group(groups, users, "vgpu", "a"));
	assert_true(rules_in_group(groups, users, "vgpu", "b"));
	assert_true(rules_in_group(groups, users, "vgpu", "c"));
	assert_false(rules_in_group(groups, users, "vgpu", "libvirt-qemu"));
	assert_false(rules_in_group(groups, users, "vgp", "a"));
	assert_false(rules_in_group(groups, users, "vgpu", ""));
	assert_false(rules_in_group(NULL, users, "vgpu", "a"));
	assert_true(rules_in_group(groups, NULL, "vgpu", "a"));
	assert_false(rules_in_group("vgpu:x", "d:x", "vgpu", "d"));
}

static void test_processes(void **state)
{
	static const char process[] = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 5000 9 9\n";
	static const char cmdline[] = "/usr/sbin/libvirtd\0--listen\0virtqemud";
	static const char java[] = "java\0-cp\0com.cloud.agent.AgentShell";

	(void)state;
	assert_int_equal(rules_started(process, "cpu 1\nbtime 1000\n", 100), 1050);
	assert_int_equal(rules_started(process, "cpu 1\n", 100), -1);
	assert_int_equal(rules_started("7 (a) S 1", "btime 1000\n", 100), -1);
	assert_int_equal(rules_started("", "btime 1000\n", 100), -1);
	assert_int_equal(rules_meminfo("MemTotal: 5 kB\nMemAvailable:   77 kB\n", "MemAvailable"), 77);
	assert_int_equal(rules_meminfo("MemTotal: 5 kB\n", "MemAvailable"), -1);
	assert_true(rules_is_program(cmdline, sizeof(cmdline), "libvirtd"));
	assert_false(rules_is_program(cmdline, sizeof(cmdline), "libvirt"));
	assert_false(rules_is_program(cmdline, sizeof(cmdline), "virtqemud"));
	assert_true(rules_is_java(java, sizeof(java), "com.cloud.agent.AgentShell"));
	assert_false(rules_is_java(java, sizeof(java), "com.cloud.agent"));
	assert_false(rules_is_java(cmdline, sizeof(cmdline), "virtqemud"));
	assert_false(rules_is_program("", 0, "libvirtd"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seals),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_assignments),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_plans_that_are_refused),
		cmocka_unit_test(test_what_is_there),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_processes),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
