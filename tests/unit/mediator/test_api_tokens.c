// SPDX-License-Identifier: Apache-2.0
// The file of tokens: what is read, what is refused, who a token is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "mediator/api/tokens.h"

// Of "abc" (FIPS 180-2) and of the empty text.
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"

static void good_files(void **state)
{
	const struct api_token *t;
	struct api_tokens tokens;
	char error[200];

	(void)state;
	assert_int_equal(api_tokens_parse(&tokens, "", error, sizeof(error)), 0);
	assert_int_equal(tokens.n, 0);
	assert_null(api_tokens_find(&tokens, "abc", 3));
	api_tokens_done(&tokens);
	assert_int_equal(
	    api_tokens_parse(&tokens, "# who may\n\n  admin\t" ABC "  ops@home.1 \r\nviewer " EMPTY " nobody",
			     error, sizeof(error)),
	    0);
	assert_int_equal(tokens.n, 2);
	t = api_tokens_find(&tokens, "abc", 3);
	assert_string_equal(t->name, "ops@home.1");
	assert_true(t->admin);
	t = api_tokens_find(&tokens, "", 0);
	assert_string_equal(t->name, "nobody");
	assert_false(t->admin);
	assert_null(api_tokens_find(&tokens, "abd", 3));
	assert_null(api_tokens_find(&tokens, "abc", 2));
	assert_null(api_tokens_find(&tokens, ABC, sizeof(ABC) - 1));
	api_tokens_done(&tokens);
}

static void bad_lines(void **state)
{
	static const char *const lines[] = {
		"admin",
		"admin " ABC,
		"admin " ABC " a b",
		"root " ABC " a",
		"adminn " ABC " a",
		"Admin " ABC " a",
		"admin x" ABC " a",
		"admin " ABC "0 a",
		"admin ba78 a",
		"admin " ABC " a/b",
		"admin " ABC " \xc3",
		"viewer 0x" ABC " a",
		"admin " ABC " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"admin g"
		"a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad a",
		"admin " ABC " a\nviewer " ABC " b",
		"admin " ABC " a\nviewer " EMPTY " a",
	};
	struct api_tokens tokens = { 0 };
	char text[300], error[200];

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(text, sizeof(text), "# one\n%s\n", lines[i]);
		if (api_tokens_parse(&tokens, text, error, sizeof(error)) == 0)
			fail_msg("'%s' was read", lines[i]);
		assert_null(tokens.list);
		assert_true(strncmp(error, "line 2: ", 8) == 0 || strncmp(error, "line 3: ", 8) == 0);
	}
}

static void too_many(void **state)
{
	size_t room = (VGPU_MAX_API_TOKENS + 1) * 100, n = 0;
	char *text = malloc(room), error[200];
	struct api_tokens tokens;

	(void)state;
	for (unsigned i = 0; i < VGPU_MAX_API_TOKENS; i++)
		n += (size_t)snprintf(text + n, room - n, "viewer %064x t%u\n", i, i);
	assert_int_equal(api_tokens_parse(&tokens, text, error, sizeof(error)), 0);
	assert_int_equal(tokens.n, VGPU_MAX_API_TOKENS);
	api_tokens_done(&tokens);
	snprintf(text + n, room - n, "viewer %064x one-more\n", VGPU_MAX_API_TOKENS);
	assert_true(api_tokens_parse(&tokens, text, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "VGPU_MAX_API_TOKENS"));
	free(text);
}

static void a_token_that_is_too_long(void **state)
{
	char secret[VGPU_MAX_API_TOKEN + 1], error[200];
	struct api_tokens tokens;

	(void)state;
	memset(secret, 'x', sizeof(secret));
	assert_int_equal(api_tokens_parse(&tokens, "viewer " ABC " a\n", error, sizeof(error)), 0);
	assert_null(api_tokens_find(&tokens, secret, sizeof(secret)));
	api_tokens_done(&tokens);
}

static void write_file(const char *path, const char *data, size_t n, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
	chmod(path, mode);
}

static void files(void **state)
{
	char path[] = "/tmp/vgpu-tokens-XXXXXX", error[300], *text = NULL;

	(void)state;
	close(mkstemp(path));
	write_file(path, "hello", 5, 0600);
	assert_int_equal(api_read_file("x.y", path, true, &text, error, sizeof(error)), 0);
	assert_string_equal(text, "hello");
	free(text);
	chmod(path, 0640);
	assert_int_equal(api_read_file("x.y", path, true, &text, error, sizeof(error)), 0);
	free(text);
	chmod(path, 0604);
	assert_true(api_read_file("x.y", path, true, &text, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "not be open to others"));
	assert_int_equal(api_read_file("x.y", path, false, &text, error, sizeof(error)), 0);
	free(text);
	write_file(path, "a\0b", 3, 0600);
	assert_true(api_read_file("x.y", path, true, &text, error, sizeof(error)) < 0);
	assert_true(api_read_file("x.y", "/", false, &text, error, sizeof(error)) < 0);
	assert_true(api_read_file("x.y", "/none/at/all", false, &text, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "x.y /none/at/all: "));
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_files),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(too_many),
		cmocka_unit_test(files),
		cmocka_unit_test(a_token_that_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
