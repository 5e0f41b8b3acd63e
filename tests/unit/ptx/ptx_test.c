// SPDX-License-Identifier: Apache-2.0
/*
 * Common ground of the PTX engine's tests; see ptx_test.h.
 */
#include "tests/unit/ptx/ptx_test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096ull

unsigned ptx_test_threads = 1;
struct ptx_machine *ptx_test_machine;
struct ptx_fault last_fault;
static uint64_t next_free = PTX_WINDOW_DEVICE + PAGE;
static struct sigaction engine_handler[2];

int ptx_test_setup(void **state)
{
	void *want = (void *)PTX_WINDOW_DEVICE;
	void *got = mmap(want, PTX_WINDOW_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	(void)state;
	if (got != want)
		return -1;
	ptx_test_machine = ptx_machine_new(ptx_test_threads);
	sigaction(SIGSEGV, NULL, &engine_handler[0]);
	sigaction(SIGBUS, NULL, &engine_handler[1]);
	return ptx_test_machine ? 0 : -1;
}

int ptx_test_teardown(void **state)
{
	(void)state;
	ptx_machine_free(ptx_test_machine);
	return 0;
}

void *dev_alloc(size_t size)
{
	uint64_t at = next_free, pages = (size + PAGE - 1) / PAGE * PAGE;

	if (mprotect((void *)at, pages, PROT_READ | PROT_WRITE))
		abort();
	next_free += pages + PAGE;
	return (void *)at;
}

void dev_free_all(void)
{
	mmap((void *)PTX_WINDOW_DEVICE, next_free - PTX_WINDOW_DEVICE, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	next_free = PTX_WINDOW_DEVICE + PAGE;
}

static int env_alloc(void *opaque, size_t size, size_t align, uint64_t *ret_addr)
{
	(void)opaque;
	(void)align;
	*ret_addr = P(dev_alloc(size));
	return 0;
}

static void env_free(void *opaque, uint64_t addr)
{
	(void)opaque;
	(void)addr;
}

const struct ptx_module_env ptx_test_env = { NULL, env_alloc, env_free };

struct ptx_module *load(const char *text)
{
	struct ptx_module *m = NULL;
	struct ptx_error err;
	int rc = ptx_module_load(text, strlen(text), &ptx_test_env, &m, &err);

	if (rc)
		fail_msg("line %u: %s: %s", err.line, err.opcode, err.text);
	return m;
}

struct ptx_module *load_file(const char *name)
{
	char path[512], *text;
	struct ptx_module *m;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/unit/ptx/%s",
		 getenv("VGPU_SOURCE") ? getenv("VGPU_SOURCE") : ".", name);
	f = fopen(path, "re");
	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	text = calloc(1, 4 << 20);
	assert_non_null(text);
	n = fread(text, 1, (4 << 20) - 1, f);
	fclose(f);
	assert_true(n > 0);
	m = load(text);
	free(text);
	return m;
}

int launch(struct ptx_module *m, const char *kernel, const struct shape *s, unsigned n, const uint64_t *args)
{
	const struct ptx_kernel *k = ptx_module_kernel(m, kernel);
	const struct ptx_kernel_info *info;
	unsigned char buf[4096] = { 0 };

	assert_non_null(k);
	info = ptx_kernel_info(k);
	assert_int_equal(info->n_params, n);
	for (unsigned i = 0; i < n; i++) {
		assert_true(info->params[i].size <= 8);
		memcpy(buf + info->params[i].offset, &args[i], info->params[i].size);
	}
	// cmocka sets handlers of its own around every test and fixture
	sigaction(SIGSEGV, &engine_handler[0], NULL);
	sigaction(SIGBUS, &engine_handler[1], NULL);
	return ptx_launch(ptx_test_machine, k, s->grid, s->block, s->shared, buf, info->param_bytes,
			  &last_fault);
}

void expect_refused(const char *text, unsigned line, const char *opcode, const char *part)
{
	struct ptx_module *m = NULL;
	struct ptx_error err;
	int rc = ptx_module_load(text, strlen(text), &ptx_test_env, &m, &err);

	if (!rc)
		fail_msg("loaded, but '%s' was expected", part);
	assert_null(m);
	if (err.line != line || strncmp(err.opcode, opcode, strlen(opcode)) || !strstr(err.text, part))
		fail_msg("got line %u '%s' '%s', expected line %u '%s' '%s'", err.line, err.opcode, err.text,
			 line, opcode, part);
}
