// SPDX-License-Identifier: Apache-2.0
// Settings: defaults, values with units, ranges, words, files and the documentation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mediator/settings.h"

static struct settings s;
static char error[512];

static int set(const char *word)
{
	error[0] = 0;
	return settings_set_word(&s, word, error, sizeof(error));
}

static int set_up(void **state)
{
	(void)state;
	settings_init(&s);
	return 0;
}

static void test_defaults_agree_with_their_own_ranges(void **state)
{
	(void)state;
	assert_int_equal(settings_check(&s, error, sizeof(error)), 0);
	assert_int_equal(s.turn_length, 8000000);
	assert_int_equal(s.turn_idle_grace, 100000);
	assert_int_equal(s.turn_overrun, 250000000);
	assert_int_equal(s.turn_watchdog, 30000000000);
	assert_int_equal(s.executor_start, 30000000000);
	assert_int_equal(s.paths_socket_mode, 0666);
	assert_string_equal(s.gpu_backend, "auto");
	assert_string_equal(s.paths_socket, "/run/vgpu/mediator.sock");
}

static void test_units(void **state)
{
	(void)state;
	assert_int_equal(set("turn.length=4ms"), 0);
	assert_int_equal(s.turn_length, 4000000);
	assert_int_equal(set("turn.length=250 us"), 0);
	assert_int_equal(s.turn_length, 250000);
	assert_int_equal(set("turn.length=1s"), 0);
	assert_int_equal(s.turn_length, 1000000000);
	assert_int_equal(set("tenant.memory=5G"), 0);
	assert_int_equal(s.tenant_memory, 5ull << 30);
	assert_int_equal(set("tenant.memory=17"), 0);
	assert_int_equal(s.tenant_memory, 17);
	assert_int_equal(set("paths.socket_mode=0600"), 0);
	assert_int_equal(s.paths_socket_mode, 0600);
	assert_int_equal(set("tenant.weight=10000"), 0);
}

static void test_refused_values_change_nothing_and_name_the_setting(void **state)
{
	static const char *const words[] = {
		"turn.length=8",
		"turn.length=-1ms",
		"turn.length=",
		"turn.length= 8ms",
		"turn.length=8 m",
		"turn.length=99s",
		"turn.length=1ns",
		"turn.length=8ms ",
		"turn.length=99999999999999999999s",
		"tenant.memory=99999999999G",
		"tenant.memory=1.5G",
		"tenant.memory=G",
		"tenant.weight=0",
		"tenant.weight=10001",
		"tenant.weight=0x10",
		"gpu.backend=CPU",
		"gpu.backend=",
		"gpu.backend=auto|cuda",
		"gpu.backend=cp",
		"paths.socket_mode=0778",
		"paths.socket_mode=01777",
	};
	struct settings before = s;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t name = strcspn(words[i], "=");

		assert_int_equal(set(words[i]), -EINVAL);
		assert_memory_equal(error, words[i], name);
		assert_memory_equal(&s, &before, sizeof(s));
	}
}

static void test_words_that_are_no_settings(void **state)
{
	static const char *const words[] = { "",
					     "=",
					     ".",
					     ".=",
					     "turn",
					     "turn.length",
					     "turn=8ms",
					     "turn.len=8ms",
					     "Turn.length=8ms",
					     "turn.length.x=8ms",
					     "=turn.length" };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_int_equal(set(words[i]), -EINVAL);
		assert_true(strlen(error) > 0);
	}
}

static void test_texts_have_a_limit(void **state)
{
	char word[400] = "paths.executor=";

	(void)state;
	memset(word + 15, 'x', 255);
	assert_int_equal(set(word), 0);
	assert_int_equal(strlen(s.paths_executor), 255);
	word[15 + 255] = 'x';
	assert_int_equal(set(word), -EINVAL);
}

static void test_rules_between_settings(void **state)
{
	(void)state;
	assert_int_equal(set("turn.shortest=9ms"), 0);
	assert_int_equal(settings_check(&s, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "turn.shortest"));
	settings_init(&s);
	assert_int_equal(set("turn.watchdog=100ms"), 0);
	assert_int_equal(settings_check(&s, error, sizeof(error)), -EINVAL);
	settings_init(&s);
	assert_int_equal(set("paths.run_directory=relative"), 0);
	assert_int_equal(settings_check(&s, error, sizeof(error)), -EINVAL);
	settings_init(&s);
	assert_int_equal(set("store.path=store.db"), 0);
	assert_int_equal(settings_check(&s, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "store.path"));
}

static int read_text(const char *text)
{
	char path[] = "/tmp/vgpu-test-settings-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	error[0] = 0;
	r = settings_read_file(&s, path, error, sizeof(error));
	unlink(path);
	return r;
}

static void test_files(void **state)
{
	(void)state;
	assert_int_equal(read_text("[turn]\nlength = 2 ms ; short\n\n[log]\nlevel=debug\n"), 0);
	assert_int_equal(s.turn_length, 2000000);
	assert_string_equal(s.log_level, "debug");
	assert_int_equal(read_text(""), 0);
	assert_int_equal(read_text("[turn]\nnever = 1\nlength = x\n"), -EINVAL);
	assert_non_null(strstr(error, ":2: unknown setting 'turn.never'"));
	assert_int_equal(read_text("[turn]\nwhat\nlength = x\n"), -EINVAL);
	assert_non_null(strstr(error, ":2: not an INI line"));
	assert_int_equal(settings_read_file(&s, "/nonexistent", error, sizeof(error)), -ENOENT);
}

static void test_documentation_fits_and_is_complete(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	settings_print_help(f, 78);
	fclose(f);
	for (char *line = text; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 90);
#define TEXT(section, key, def, help)		assert_non_null(strstr(text, "  " #key " = "));
#define CHOICE(section, key, def, words, help)	assert_non_null(strstr(text, words));
#define MODE(section, key, def, help)		TEXT(section, key, def, help)
#define NUMBER(section, key, def, lo, hi, help) TEXT(section, key, def, help)
#define SIZE(section, key, def, lo, hi, help)	TEXT(section, key, def, help)
#define TIME(section, key, def, lo, hi, help)	TEXT(section, key, def, help)
#include "mediator/settings.def"
	free(text);
}

static void test_pools_and_profiles(void **state)
{
	const struct named_policy *profile;

	(void)state;
	assert_int_equal(set("pool A.weight=300"), 0);
	assert_int_equal(set("pool A.share=30"), 0);
	assert_int_equal(set("profile small.gpu_cap=12.5"), 0);
	assert_int_equal(set("profile small.priority=low"), 0);
	assert_int_equal(s.n_pools, 1);
	assert_string_equal(s.pools[0].name, "A");
	assert_int_equal(s.pools[0].policy.value[POLICY_SHARE], 3000);
	profile = settings_profile(&s, "small");
	assert_non_null(profile);
	assert_int_equal(profile->policy.value[POLICY_GPU_CAP], 1250);
	assert_null(settings_profile(&s, "no-such-profile"));
	assert_int_equal(settings_check(&s, error, sizeof(error)), 0);
	assert_int_equal(set("profile small.weight=5"), 0);
	assert_true(settings_check(&s, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "profile small"));
}

static void test_what_pools_and_profiles_refuse(void **state)
{
	static const char *const words[] = {
		"pool .weight=1",    "pool a/b.weight=1",     "pool A.memory=1G", "pool A.weight=0",
		"profile x.share=5", "profile x.class=fast",  "pools A.weight=1", "profile x.nothing=1",
		"pool A.weight=",    "profile x.gpu_cap=101", "poolA.weight=1"
	};
	char word[100];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (set(words[i]) >= 0)
			fail_msg("%s was taken", words[i]);
		assert_true(error[0]);
	}
	for (unsigned i = 0; i < VGPU_MAX_PROFILES; i++) {
		snprintf(word, sizeof(word), "profile p%u.weight=1", i);
		if (i < VGPU_MAX_PROFILES - 1) // one is there from above
			assert_int_equal(set(word), 0);
		else
			assert_true(set(word) < 0);
	}
	assert_int_equal(set("tenant.profile=nobody"), 0);
	assert_true(settings_check(&s, error, sizeof(error)) < 0);
	assert_int_equal(set("tenant.profile="), 0);
	assert_int_equal(set("tenant.pool=nowhere"), 0);
	assert_true(settings_check(&s, error, sizeof(error)) < 0);
}

static struct setting_view view_of(const char *name)
{
	struct setting_view v;

	for (unsigned i = 0; i < SETTINGS; i++) {
		char is[80];

		settings_view(&s, (enum setting_index)i, &v);
		snprintf(is, sizeof(is), "%s.%s", v.section, v.key);
		if (strcmp(is, name) == 0)
			return v;
	}
	fail_msg("no setting %s", name);
	return v;
}

static void test_where_values_come_from(void **state)
{
	char path[] = "/tmp/vgpu-settings-XXXXXX";
	int fd = mkstemp(path);
	static const char text[] = "[turn]\nlength = 3 ms\nround = 1 s\n[pool gold]\nweight = 3\n";
	struct setting_view v;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(settings_read_file(&s, path, error, sizeof(error)), 0);
	unlink(path);
	assert_int_equal(set("turn.round=2 s"), 0);
	assert_int_equal(set("profile small.weight=3"), 0);
	assert_true(set("turn.shortest=never") < 0);
	v = view_of("turn.length");
	assert_int_equal(v.source, SETTINGS_FILE);
	assert_int_equal(v.number, 3 * NSEC_PER_MSEC);
	assert_int_equal(v.default_number, 8 * NSEC_PER_MSEC);
	assert_string_equal(v.shown, "3ms");
	assert_int_equal(view_of("turn.round").source, SETTINGS_COMMAND_LINE);
	assert_int_equal(view_of("turn.shortest").source, SETTINGS_DEFAULT);
	assert_string_equal(view_of("log.level").text, "info");
	assert_int_equal(s.pools[0].source, SETTINGS_FILE);
	assert_int_equal(s.profiles[0].source, SETTINGS_COMMAND_LINE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, set_up)
	const struct CMUnitTest tests[] = {
		T(test_defaults_agree_with_their_own_ranges),
		T(test_units),
		T(test_refused_values_change_nothing_and_name_the_setting),
		T(test_words_that_are_no_settings),
		T(test_texts_have_a_limit),
		T(test_rules_between_settings),
		T(test_files),
		T(test_documentation_fits_and_is_complete),
		T(test_where_values_come_from),
		cmocka_unit_test_setup(test_pools_and_profiles, set_up),
		cmocka_unit_test_setup(test_what_pools_and_profiles_refuse, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
