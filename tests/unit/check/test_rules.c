// SPDX-License-Identifier: Apache-2.0
// vgpu-guest-check's pure rules: texts and bytes of the system, sane and not.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "common/version_note.h"
#include "guest/check/rules.h"

static void kernel_versions(void **state)
{
	unsigned major = 0, minor = 0;

	(void)state;
	assert_true(rule_kernel_version("6.1.0-32-cloud-amd64", &major, &minor));
	assert_int_equal(major, 6);
	assert_int_equal(minor, 1);
	assert_true(rule_kernel_version("6.18-rc2", &major, &minor));
	assert_int_equal(minor, 18);
	assert_false(rule_kernel_version("", &major, &minor));
	assert_false(rule_kernel_version("six", &major, &minor));
	assert_false(rule_kernel_version("6", &major, &minor));
}

static void loaded_modules(void **state)
{
	const char *text =
	    "nvidia_drm 1 0 - Live 0x0\nvgpu2 1 0 - Live 0x0 (OE)\nvgpu 90112 0 - Live 0x0000 (OE)\n";

	(void)state;
	assert_true(rule_modules_has(text, "vgpu"));
	assert_true(rule_modules_has(text, "nvidia-drm"));
	assert_false(rule_modules_has(text, "nvidia"));
	assert_false(rule_modules_has(text, "Live"));
	assert_false(rule_modules_has("", "vgpu"));
}

static void modules_of_a_kernel(void **state)
{
	const char *text =
	    "kernel/drivers/gpu/drm/nouveau/nouveau.ko.xz: kernel/drivers/gpu/nova_core.ko\n"
	    "updates/dkms/vgpu.ko:\nkernel/nvidia-wmi-ec-backlight.ko: x\nupdates/nvidia-drm.ko.zst: y\n"
	    "vgpu\n";
	const char *at = text;
	char name[16];

	(void)state;
	assert_true(rule_dep_has(text, "nouveau"));
	assert_true(rule_dep_has(text, "vgpu"));
	assert_false(rule_dep_has(text, "nova_core")); // is only what another one needs
	assert_false(rule_dep_has("vgpu\n:\n.ko:\n", "vgpu"));
	// The first does not fit.
	assert_true(rule_dep_next(&at, "nvidia", name, sizeof(name)));
	assert_string_equal(name, "nvidia_drm");
	assert_false(rule_dep_next(&at, "nvidia", name, sizeof(name)));
}

static void refused_modules(void **state)
{
	const char *text =
	    "# blacklist nova_core\n  blacklist\tnouveau # no\ninstall nvidia-drm /bin/false\n"
	    "install vgpu /sbin/modprobe --ignore-install vgpu\nblacklist\ninstall\noptions nvidia a=b";

	(void)state;
	assert_true(rule_modprobe_refuses(text, "nouveau"));
	assert_true(rule_modprobe_refuses(text, "nvidia_drm"));
	assert_false(rule_modprobe_refuses(text, "nova_core"));
	assert_false(rule_modprobe_refuses(text, "vgpu"));
	assert_false(rule_modprobe_refuses(text, "nvidia"));
	assert_true(rule_cmdline_refuses("quiet module_blacklist=a,nova-core ro\n", "nova_core"));
	assert_true(rule_cmdline_refuses("modprobe.blacklist=nouveau", "nouveau"));
	assert_false(rule_cmdline_refuses("modprobe.blacklist=,nouveau2, x=nouveau nouveau", "nouveau"));
	assert_false(rule_cmdline_refuses("module_blacklist=", "nouveau"));
}

static void values(void **state)
{
	char word[16], path[32];

	(void)state;
	assert_true(rule_chosen("none [integrity] confidentiality", word, sizeof(word)));
	assert_string_equal(word, "integrity");
	assert_false(rule_chosen("none ]a[", word, sizeof(word)));
	assert_false(rule_chosen("[much longer than there is room]", word, sizeof(word)));
	assert_true(rule_cgroup("1:name=systemd:/a\n0::/user.slice/x\n", path, sizeof(path)));
	assert_string_equal(path, "/user.slice/x");
	assert_false(rule_cgroup("1:memory:/a\n", path, sizeof(path)));
	assert_true(rule_status("Name:\tx\nCapEff:\t000001ff\n", "CapEff", word, sizeof(word)));
	assert_string_equal(word, "000001ff");
	assert_false(rule_status("CapEffX:\t1\n", "CapEff", word, sizeof(word)));
}

static void reasons_in_the_log(void **state)
{
	const char *text = "<3>[ 1.0] vgpu 0000:01:00.0: first\n<4>[ 1.1] vgpu 0000:01:00.0: second\n"
			   "<6>[ 1.2] vgpu 0000:01:00.0: vgpu0: fine\n<3>[ 1.3] other\n<3";
	char reason[32];

	(void)state;
	assert_true(rule_log_last(text, "vgpu 0000:01:00.0: ", reason, sizeof(reason)));
	assert_string_equal(reason, "second");
	assert_false(rule_log_last(text, "vgpu 0000:02:00.0: ", reason, sizeof(reason)));
	assert_false(rule_log_last("<3>[ 1.0] a\n<6> vgpu", "vgpu", reason, sizeof(reason)));
	assert_false(rule_log_last("", "vgpu", reason, sizeof(reason)));
}

static void lists_of_folders(void **state)
{
	(void)state;
	assert_true(rule_list_has("/a:/b/stubs/", "/b/stubs", 8));
	assert_true(rule_list_has("/a", "/a/", 3));
	assert_false(rule_list_has("/a/b:", "/a", 2));
	assert_false(rule_list_has("", "/a", 2));
	assert_true(rule_list_has("/", "/", 1));
}

// ---- the loader's cache ----

struct cache {
	char magic[20];
	uint32_t libraries, string_bytes, flags, extensions, unused[3];
	struct {
		int32_t flags;
		uint32_t name, path, os_version;
		uint64_t hwcap;
	} library[3];
	char text[128];
};

static struct cache example(void)
{
	struct cache c = { .magic = "glibc-ld.so.cache1.", .libraries = 3 };
	static const char text[] =
	    "libcuda.so.1\0/usr/lib32/libcuda.so.1\0/usr/lib/one/libcuda.so.1\0/usr/lib/two/"
	    "libcuda.so.1";
	const uint32_t at = offsetof(struct cache, text);

	c.magic[19] = '1';
	memcpy(c.text, text, sizeof(text));
	for (int i = 0; i < 3; i++) {
		c.library[i].flags = i ? 0x0303 : 0x0003;
		c.library[i].name = at;
	}
	c.library[0].path = at + 13;
	c.library[1].path = at + 13 + 24;
	c.library[2].path = at + 13 + 24 + 26;
	return c;
}

static void cache_answers_as_the_loader(void **state)
{
	struct cache c = example();
	char path[64];

	(void)state;
	assert_int_equal(rule_cache_first(&c, sizeof(c), "libcuda.so.1", path, sizeof(path)),
			 RULE_CACHE_FOUND);
	assert_string_equal(path, "/usr/lib/one/libcuda.so.1"); // the first of this machine's kind
	assert_int_equal(rule_cache_first(&c, sizeof(c), "libcuda.so", path, sizeof(path)), RULE_CACHE_NONE);
}

// From memory of exactly that size, so that valgrind and ASan see a byte too many.
static enum rule_cache first_of(const struct cache *c, size_t bytes)
{
	void *copy = malloc(bytes ? bytes : 1);
	enum rule_cache answer;
	char path[64];

	assert_non_null(copy);
	memcpy(copy, c, bytes);
	answer = rule_cache_first(copy, bytes, "libcuda.so.1", path, sizeof(path));
	free(copy);
	return answer;
}

static void caches_that_are_none(void **state)
{
	struct cache c = example();

	(void)state;
	for (size_t bytes = 0; bytes < offsetof(struct cache, text); bytes++)
		assert_int_equal(first_of(&c, bytes), RULE_CACHE_UNKNOWN);
	for (size_t bytes = offsetof(struct cache, text); bytes < sizeof(c); bytes++)
		first_of(&c, bytes);
	c.library[1].path = c.library[2].name = 0xffffffff;
	assert_int_equal(first_of(&c, sizeof(c)), RULE_CACHE_NONE);
	c.libraries = 0x10000000;
	assert_int_equal(first_of(&c, sizeof(c)), RULE_CACHE_UNKNOWN);
	c = example();
	c.magic[19] = '2';
	assert_int_equal(first_of(&c, sizeof(c)), RULE_CACHE_UNKNOWN);
}

// ---- notes ----

static void versions_in_notes(void **state)
{
	struct {
		Elf64_Nhdr other;
		char name[4], description[20];
		struct version_note ours;
	} notes = {
		.other = { .n_namesz = 4, .n_descsz = 20, .n_type = 3 },
		.name = "GNU",
		.ours = { sizeof(VERSION_NOTE_OWNER), VERSION_NOTE_BYTES, VERSION_NOTE_TYPE,
			  VERSION_NOTE_OWNER, "1.2.3" },
	};
	char version[64];

	(void)state;
	assert_true(rule_version_note(&notes, sizeof(notes), 4, version, sizeof(version)));
	assert_string_equal(version, "1.2.3");
	assert_false(rule_version_note(&notes, sizeof(notes) - 1, 4, version, sizeof(version)));
	assert_false(rule_version_note(&notes, 0, 4, version, sizeof(version)));
	assert_false(rule_version_note(&notes, sizeof(notes), 4, version, 5)); // no room
	memset(notes.ours.version, 'x', sizeof(notes.ours.version));
	assert_true(rule_version_note(&notes, sizeof(notes), 4, version, sizeof(version)));
	assert_int_equal(strlen(version), VERSION_NOTE_BYTES);
	notes.other.n_descsz = 0xffffffff;
	assert_false(rule_version_note(&notes, sizeof(notes), 4, version, sizeof(version)));
	notes.other.n_descsz = 20;
	notes.ours.owner[0] = 'V';
	assert_false(rule_version_note(&notes, sizeof(notes), 4, version, sizeof(version)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_versions),
		cmocka_unit_test(loaded_modules),
		cmocka_unit_test(modules_of_a_kernel),
		cmocka_unit_test(refused_modules),
		cmocka_unit_test(values),
		cmocka_unit_test(lists_of_folders),
		cmocka_unit_test(reasons_in_the_log),
		cmocka_unit_test(cache_answers_as_the_loader),
		cmocka_unit_test(caches_that_are_none),
		cmocka_unit_test(versions_in_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
