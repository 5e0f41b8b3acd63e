// SPDX-License-Identifier: Apache-2.0
/*
 * printf and assert of kernels. Formats on the kernel's stack into the worker's buffer; the scheduler hands
 * it to the sink. On worker threads of the executor. Everything read here is the tenant's: addresses are
 * checked, holes fault like any access.
 */
#include "executor/backends/cpu/ptx/ptx_cta.h"
#include "executor/backends/cpu/ptx/ptx_fiber.h"
#include "executor/backends/cpu/ptx/ptx_window.h"

#include <stdio.h>
#include <string.h>

#define MAX_FORMAT 4096u
#define MAX_PIECE  1024u

static void read_bytes(const struct ptx_block *blk, uint64_t addr, void *to, size_t n)
{
	if (addr < PTX_REACH_LO || addr > PTX_REACH_HI - n)
		ptx_rt_bad_access(blk, addr, n, 0);
	memcpy(to, (const void *)(uintptr_t)addr, n);
}

// At most cap - 1 characters of a string, always ended. Returns its length.
static size_t read_string(const struct ptx_block *blk, uint64_t addr, char *to, size_t cap)
{
	size_t n = 0;

	for (; n < cap - 1; n++) {
		read_bytes(blk, addr + n, &to[n], 1);
		if (!to[n])
			return n;
	}
	to[n] = 0;
	return n;
}

static void put(const struct ptx_block *blk, struct ptx_fiber *self, const char *text, size_t n)
{
	struct ptx_worker *w = blk->cta->worker;

	if (w->out_len + n > PTX_OUT_SIZE) { // the scheduler empties it, then goes on here
		if (self) {
			self->yielded = 0;
			ptx_cta_ready(blk->cta, self);
			ptx_switch(&self->sp, w->sched_sp);
		} else {
			ptx_switch(&w->run_sp, w->sched_sp);
		}
		if (w->out_len + n > PTX_OUT_SIZE)
			return;
	}
	memcpy(w->out + w->out_len, text, n);
	w->out_len += n;
}

struct spec {
	char flags[8];
	int width, precision;
	bool is_long;
	char conv;
};

// Parses what follows a '%'; returns the characters used, 0 when it is no conversion.
static size_t parse_spec(const char *s, struct spec *sp)
{
	size_t i = 0, nf = 0;

	*sp = (struct spec){ .width = -1, .precision = -1 };
	while (s[i] && strchr("-+ #0", s[i])) {
		if (nf < sizeof(sp->flags) - 1)
			sp->flags[nf++] = s[i];
		i++;
	}
	for (; s[i] >= '0' && s[i] <= '9'; i++)
		sp->width = sp->width > 500 ? 500 : (sp->width < 0 ? 0 : sp->width) * 10 + s[i] - '0';
	if (s[i] == '.')
		for (sp->precision = 0, i++; s[i] >= '0' && s[i] <= '9'; i++)
			sp->precision = sp->precision > 300 ? 300 : sp->precision * 10 + s[i] - '0';
	for (; s[i] && strchr("hlLzjt", s[i]); i++)
		sp->is_long |= s[i] != 'h' && s[i] != 'L';
	sp->conv = s[i];
	return sp->conv && strchr("diouxXcsfFeEgGaAp", sp->conv) ? i + 1 : 0;
}

static size_t clamp_piece(int n)
{
	return n < 0 ? 0 : (size_t)n < MAX_PIECE ? (size_t)n : MAX_PIECE - 1;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

// One conversion; *at walks over the arguments, each aligned to its size as the compiler packs them.
static size_t format_one(const struct ptx_block *blk, const struct spec *sp, uint64_t *at, char *out)
{
	char fmt[32], string[MAX_PIECE / 2], num[2][12] = { "", "" };
	bool is_float = strchr("fFeEgGaA", sp->conv),
	     wide = is_float || sp->is_long || sp->conv == 's' || sp->conv == 'p';
	uint64_t v = 0;
	double d;

	if (wide)
		*at = (*at + 7) & ~7ull;
	read_bytes(blk, *at, &v, wide ? 8 : 4);
	*at += wide ? 8 : 4;
	if (sp->width >= 0)
		snprintf(num[0], sizeof(num[0]), "%d", sp->width > 500 ? 500 : sp->width);
	if (sp->precision >= 0)
		snprintf(num[1], sizeof(num[1]), ".%d", sp->precision > 300 ? 300 : sp->precision);
	snprintf(fmt, sizeof(fmt), "%%%s%s%s%s%c", sp->flags, num[0], num[1],
		 wide && !is_float && sp->conv != 's' && sp->conv != 'p' ? "ll" : "", sp->conv);
	if (is_float) {
		memcpy(&d, &v, 8);
		return clamp_piece(snprintf(out, MAX_PIECE, fmt, d));
	}
	if (sp->conv == 's') {
		read_string(blk, v, string, sizeof(string));
		return clamp_piece(snprintf(out, MAX_PIECE, fmt, string));
	}
	if (sp->conv == 'p')
		return clamp_piece(snprintf(out, MAX_PIECE, fmt, (void *)(uintptr_t)v));
	return clamp_piece(wide ? snprintf(out, MAX_PIECE, fmt, (long long)v)
				: snprintf(out, MAX_PIECE, fmt, (int)v));
}

#pragma GCC diagnostic pop

uint32_t ptx_rt_vprintf(const struct ptx_block *blk, struct ptx_fiber *self, uint64_t fmt, uint64_t args)
{
	char text[MAX_FORMAT], piece[MAX_PIECE];
	size_t n = read_string(blk, fmt, text, sizeof(text)), i = 0;
	uint32_t count = 0;

	while (i < n) {
		size_t run = strcspn(text + i, "%"), used;
		struct spec sp;

		put(blk, self, text + i, run);
		i += run;
		if (i >= n)
			break;
		if (text[i + 1] == '%') {
			put(blk, self, "%", 1);
			i += 2;
			continue;
		}
		used = parse_spec(text + i + 1, &sp);
		if (used) {
			put(blk, self, piece, format_one(blk, &sp, &args, piece));
			count++;
		} else {
			put(blk, self, "%", 1);
		}
		i += used + 1;
	}
	return count;
}

void ptx_rt_assertfail(const struct ptx_block *blk, const uint32_t *tid, uint64_t msg, uint64_t file,
		       uint32_t line, uint64_t func)
{
	char parts[3][128], text[512];
	uint64_t from[3] = { file, func, msg };

	for (int i = 0; i < 3; i++)
		read_string(blk, from[i], parts[i], sizeof(parts[i]));
	snprintf(text, sizeof(text),
		 "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.", parts[0], line,
		 parts[1], blk->ctaid[0], blk->ctaid[1], blk->ctaid[2], tid[0], tid[1], tid[2], parts[2]);
	ptx_job_fault(blk->cta->worker->job, PTX_FAULT_ASSERT, 0, text);
	ptx_leave(blk->cta->worker);
}
