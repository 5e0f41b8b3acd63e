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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
