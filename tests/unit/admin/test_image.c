// SPDX-License-Identifier: Apache-2.0
// vgpu-admin image: what is said about a host, and a file that is cut while it is read.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/command.h"
#include "admin/image_fits.h"
#include "admin/image_map.h"

static json_t *host(const char *backend, const char *capability, const char *cuda)
{
	return json_pack("{s:s,s:s,s:s?,s:s?}", "name", "card", "backend", backend, "compute_capability",
			 capability, "cuda", cuda);
}

// A document of one image; entries are "code 90 a", "ptx 75 - 8.4".
static json_t *document(bool relocatable, const char *const *entries)
{
	json_t *list = json_array();

	for (; *entries; entries++) {
		char kind[8], suffix[8], ptx[8] = "";
		int sm;

		assert_true(sscanf(*entries, "%7s %d %7s %7s", kind, &sm, suffix, ptx) >= 3);
		json_array_append_new(list, json_pack("{s:s,s:i,s:s,s:s,s:s}", "kind", kind, "sm", sm,
						      "suffix", suffix[0] == '-' ? "" : suffix, "ptx", ptx,
						      "arch", *entries));
	}
	return json_pack("{s:[{s:b,s:o}]}", "images", "relocatable", relocatable, "entries", list);
}

static void expect(json_t *d, json_t *card, const char *runs, const char *arch, const char *build)
{
	const json_t *image;

	image_fits(d, card);
	image = json_array_get(json_object_get(d, "images"), 0);
	assert_string_equal(json_string_value(json_object_get(image, "runs")), runs);
	if (arch)
		assert_string_equal(json_string_value(json_object_get(image, "arch")), arch);
	else
		assert_true(json_is_null(json_object_get(image, "arch")));
	if (build) {
		assert_string_equal(json_string_value(json_object_get(image, "build")), build);
		assert_true(json_is_string(json_object_get(image, "why")));
		assert_true(json_is_false(json_object_get(d, "runs")));
	} else {
		assert_true(json_is_true(json_object_get(d, "runs")));
	}
	json_decref(d);
	json_decref(card);
}

#define DOCUMENT(...) document(false, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void a_card_takes_code_before_ptx(void **state)
{
	(void)state;
	expect(DOCUMENT("code 80 -", "code 90 a", "ptx 75 - 8.0"), host("cuda", "9.0", "13.0"), "code",
	       "code 90 a", NULL);
	expect(DOCUMENT("code 80 -", "code 86 -", "ptx 75 - 8.0"), host("cuda", "8.9", "12.4"), "code",
	       "code 86 -", NULL);
	expect(DOCUMENT("code 80 -", "ptx 75 - 8.0", "ptx 80 - 8.0", "ptx 100 - 8.8"),
	       host("cuda", "9.0", "13.0"), "ptx", "ptx 80 - 8.0", NULL);
	expect(document(true, (const char *const[]){ "code 70 -", NULL }), host("cuda", "9.0", "13.0"),
	       "link", NULL, NULL);
}

static void what_to_build_is_said(void **state)
{
	(void)state;
	expect(DOCUMENT("code 80 -", "ptx 100 - 8.8"), host("cuda", "9.0", "13.0"), "no", NULL,
	       "-gencode arch=compute_90,code=compute_90");
	expect(DOCUMENT("ptx 80 - 9.0"), host("cuda", "9.0", "12.4"), "no", NULL,
	       "-gencode arch=compute_90,code=sm_90");
	expect(DOCUMENT("code 80 -"), host("cpu", "8.0", "13.0"), "no", NULL,
	       "-gencode arch=compute_80,code=compute_80");
	expect(DOCUMENT("ptx 90 - 8.0"), host("cpu", "8.0", "13.0"), "no", NULL,
	       "-gencode arch=compute_80,code=compute_80");
	expect(DOCUMENT("lto 80 -"), host("cuda", "9.0", "13.0"), "no", NULL,
	       "-gencode arch=compute_90,code=compute_90");
	expect(DOCUMENT("ptx 75 - 9.9"), host("cpu", "8.0", NULL), "ptx", "ptx 75 - 9.9", NULL);
}

// nvcc's program has one image with kernels and one without, for the architectures that it was built for.
static void what_is_empty_need_not_run(void **state)
{
	json_t *d = DOCUMENT("code 80 -"), *image = json_array_get(json_object_get(d, "images"), 0);

	(void)state;
	json_object_set_new(json_array_get(json_object_get(image, "entries"), 0), "empty", json_true());
	expect(d, host("cuda", "9.0", "13.0"), "empty", NULL, NULL);
	d = DOCUMENT();
	expect(d, host("cuda", "9.0", "13.0"), "no", NULL, "-gencode arch=compute_90,code=compute_90");
}

static void what_is_not_known_is_not_said(void **state)
{
	json_t *cards[] = { NULL, host("null", "9.0", "13.0"), host("cuda", "0.0", "13.0"),
			    host("cuda", "9.0", NULL), json_object() };

	(void)state;
	for (size_t i = 0; i < sizeof(cards) / sizeof(cards[0]); i++) {
		json_t *d = DOCUMENT("code 90 -");

		image_fits(d, cards[i]);
		assert_true(json_is_null(json_object_get(d, "runs")));
		json_decref(d);
		json_decref(cards[i]);
	}
}

// In a process of its own, since it ends.
static void a_file_that_is_cut_ends_the_program(void **state)
{
	char path[] = "/tmp/vgpu-test-XXXXXX", said[200] = "";
	int fd = mkstemp(path), out[2], status;
	struct image_map m;
	pid_t child;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		dup2(out[1], STDERR_FILENO);
		if (image_map(path, &m) || m.n != 1 << 20 || ftruncate(fd, 4096))
			_exit(100);
		_exit(100 + ((const volatile char *)m.bytes)[1 << 19]);
	}
	close(out[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ADMIN_REFUSED);
	assert_true(read(out[0], said, sizeof(said) - 1) > 0);
	assert_non_null(strstr(said, "became shorter"));
	close(out[0]);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_card_takes_code_before_ptx),
		cmocka_unit_test(what_to_build_is_said),
		cmocka_unit_test(what_is_empty_need_not_run),
		cmocka_unit_test(what_is_not_known_is_not_said),
		cmocka_unit_test(a_file_that_is_cut_ends_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
