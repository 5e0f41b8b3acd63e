// SPDX-License-Identifier: Apache-2.0
/*
 * Parser, module level: tokens, symbol table, directives, heads of functions. Runs in the executor on the
 * tenant's text; called by ptx_module.c. Every list, depth and size has a bound.
 */
#include "executor/backends/cpu/ptx/ptx_parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ptx_error_set(struct ptx_error *err, unsigned line, const char *opcode, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	err->line = line;
	snprintf(err->opcode, sizeof(err->opcode), "%s", opcode ? opcode : "");
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
}

void ptx_parse_fail(struct ptx_parser *p, const char *fmt, ...)
{
	char text[sizeof(p->err->text)], op[sizeof(p->err->opcode)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(op, sizeof(op), "%.*s", p->opcode ? (int)(p->opcode_len < 47 ? p->opcode_len : 47) : 0,
		 p->opcode ? p->opcode : "");
	ptx_error_set(p->err, p->opcode ? p->opcode_line : p->tok.line, op, "%s", text);
	longjmp(p->fail, EINVAL);
}

void *ptx_new(struct ptx_parser *p, size_t size)
{
	void *mem = ptx_arena_alloc(&p->unit->arena, size);

	if (!mem) {
		ptx_error_set(p->err, p->tok.line, "", "out of memory");
		longjmp(p->fail, ENOMEM);
	}
	return mem;
}

const char *ptx_copy_name(struct ptx_parser *p, const struct ptx_tok *t)
{
	if (t->len > 4096)
		ptx_parse_fail(p, "name too long");
	char *s = ptx_new(p, t->len + 1);

	memcpy(s, t->text, t->len);
	return s;
}

void ptx_advance(struct ptx_parser *p)
{
	p->tok = ptx_lex_next(&p->lex);
	if (p->tok.kind == TOK_BAD)
		ptx_parse_fail(p, "bad character or number");
}

bool ptx_is_punct(const struct ptx_parser *p, char c)
{
	return p->tok.kind == TOK_PUNCT && p->tok.punct == c;
}

bool ptx_accept(struct ptx_parser *p, char c)
{
	if (!ptx_is_punct(p, c))
		return false;
	ptx_advance(p);
	return true;
}

void ptx_expect(struct ptx_parser *p, char c)
{
	if (!ptx_accept(p, c))
		ptx_parse_fail(p, "expected '%c' before '%.*s'", c, (int)(p->tok.len < 40 ? p->tok.len : 40),
			       p->tok.text);
}

bool ptx_is_dot(const struct ptx_parser *p, const char *word)
{
	return p->tok.kind == TOK_DOT && p->tok.len == strlen(word) && !memcmp(p->tok.text, word, p->tok.len);
}

bool ptx_accept_dot(struct ptx_parser *p, const char *word)
{
	if (!ptx_is_dot(p, word))
		return false;
	ptx_advance(p);
	return true;
}

struct ptx_tok ptx_expect_name(struct ptx_parser *p)
{
	struct ptx_tok t = p->tok;

	if (t.kind != TOK_NAME)
		ptx_parse_fail(p, "expected a name before '%.*s'", (int)(t.len < 40 ? t.len : 40), t.text);
	ptx_advance(p);
	return t;
}

uint64_t ptx_expect_int(struct ptx_parser *p, uint64_t max)
{
	uint64_t v = p->tok.u;

	if (p->tok.kind != TOK_INT)
		ptx_parse_fail(p, "expected a number");
	if (v > max)
		ptx_parse_fail(p, "number too large (at most %llu)", (unsigned long long)max);
	ptx_advance(p);
	return v;
}

static uint32_t hash_name(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return h;
}

void ptx_scope_push(struct ptx_parser *p)
{
	struct ptx_scope *s = ptx_new(p, sizeof(*s));

	if (++p->depth > PTX_MAX_DEPTH)
		ptx_parse_fail(p, "scopes nested too deeply");
	s->outer = p->scope;
	p->scope = s;
}

// Resolves the branches of a closing scope; what it does not find is left to the scope around it.
static void resolve_labels(struct ptx_parser *p, struct ptx_scope *s)
{
	struct ptx_label_ref *next;

	for (struct ptx_label_ref *r = s->refs; r; r = next) {
		struct ptx_label *l = s->labels;

		next = r->next;
		while (l && strcmp(l->name, r->name))
			l = l->next;
		if (l) {
			*r->where = l;
			if (r->insn && l->position <= r->insn->position)
				p->func->has_loop = true;
		} else if (!s->outer || !s->outer->outer) {
			p->tok.line = r->line;
			ptx_parse_fail(p, "unknown label or symbol '%.80s'", r->name);
		} else {
			r->next = s->outer->refs;
			s->outer->refs = r;
		}
	}
}

void ptx_scope_pop(struct ptx_parser *p)
{
	struct ptx_scope *s = p->scope;

	resolve_labels(p, s);
	for (struct ptx_sym *y = s->syms; y; y = y->scope_next) {
		struct ptx_sym **at = &p->buckets[y->hash % PTX_BUCKETS];

		while (*at != y)
			at = &(*at)->bucket_next;
		*at = y->bucket_next;
	}
	p->scope = s->outer;
	p->depth--;
}

struct ptx_sym *ptx_sym_add(struct ptx_parser *p, const char *name, enum ptx_sym_kind kind, void *obj)
{
	struct ptx_sym *y = ptx_new(p, sizeof(*y));

	y->name = name;
	y->len = strlen(name);
	y->hash = hash_name(name, y->len);
	y->kind = kind;
	y->obj = obj;
	y->bucket_next = p->buckets[y->hash % PTX_BUCKETS];
	p->buckets[y->hash % PTX_BUCKETS] = y;
	y->scope = p->scope;
	y->scope_next = p->scope->syms;
	p->scope->syms = y;
	return y;
}

static struct ptx_sym *sym_exact(struct ptx_parser *p, const char *name, size_t len, bool range)
{
	uint32_t h = hash_name(name, len);

	for (struct ptx_sym *y = p->buckets[h % PTX_BUCKETS]; y; y = y->bucket_next)
		if (y->hash == h && y->len == len && (y->kind == SYM_RANGE) == range &&
		    !memcmp(y->name, name, len))
			return y;
	return NULL;
}

// A register of a range (%r<100>) comes into being at its first use.
static struct ptx_sym *sym_of_range(struct ptx_parser *p, const char *name, size_t len)
{
	size_t digits = 0;
	uint64_t n = 0;

	while (digits < len && digits < 8 && name[len - digits - 1] >= '0' && name[len - digits - 1] <= '9')
		digits++;
	for (; digits; digits--) {
		struct ptx_sym *range = sym_exact(p, name, len - digits, true);
		struct ptx_tok t = { .text = name, .len = len };
		struct ptx_reg *r;

		if (!range)
			continue;
		n = 0;
		for (size_t i = len - digits; i < len; i++)
			n = n * 10 + (name[i] - '0');
		if (n >= range->count || (digits > 1 && name[len - digits] == '0'))
			continue;
		if (++p->func->n_regs > PTX_MAX_REGS)
			ptx_parse_fail(p, "too many registers");
		r = ptx_new(p, sizeof(*r));
		r->name = ptx_copy_name(p, &t);
		r->type = range->type;
		r->next = p->func->regs;
		p->func->regs = r;
		// It lives as long as its range, not only to the end of the scope that names it first.
		struct ptx_scope *inner = p->scope;
		p->scope = range->scope;
		struct ptx_sym *y = ptx_sym_add(p, r->name, SYM_REG, r);
		p->scope = inner;
		return y;
	}
	return NULL;
}

struct ptx_sym *ptx_sym_find(struct ptx_parser *p, const char *name, size_t len)
{
	struct ptx_sym *y = sym_exact(p, name, len, false);

	if (!y && p->func)
		y = sym_of_range(p, name, len);
	return y;
}

void ptx_skip_loc(struct ptx_parser *p)
{
	for (int i = 0; i < 3; i++)
		ptx_expect_int(p, UINT32_MAX);
	while (ptx_accept(p, ',')) {
		struct ptx_tok t = ptx_expect_name(p);

		if (t.len == 10 && !memcmp(t.text, "inlined_at", 10)) {
			for (int i = 0; i < 3; i++)
				ptx_expect_int(p, UINT32_MAX);
		} else {
			ptx_expect_name(p);
			if (ptx_accept(p, '+'))
				ptx_expect_int(p, UINT32_MAX);
		}
	}
}

static void skip_section(struct ptx_parser *p)
{
	unsigned depth = 0;

	while (!ptx_is_punct(p, '{'))
		if (p->tok.kind == TOK_END)
			ptx_parse_fail(p, "section without body");
		else
			ptx_advance(p);
	do {
		if (p->tok.kind == TOK_END)
			ptx_parse_fail(p, "section not closed");
		depth += ptx_is_punct(p, '{');
		depth -= ptx_is_punct(p, '}');
		ptx_advance(p);
	} while (depth);
}

static void skip_file(struct ptx_parser *p)
{
	ptx_expect_int(p, UINT32_MAX);
	if (p->tok.kind != TOK_STRING)
		ptx_parse_fail(p, "expected a file name");
	ptx_advance(p);
	while (ptx_accept(p, ','))
		ptx_expect_int(p, UINT64_MAX);
}

static void parse_version(struct ptx_parser *p)
{
	unsigned major = 0, minor = 0;

	if (sscanf(p->tok.text, "%3u.%3u", &major, &minor) != 2 || minor > 9 ||
	    (p->tok.kind != TOK_F64 && p->tok.kind != TOK_INT))
		ptx_parse_fail(p, "bad .version");
	p->unit->version = major * 10 + minor;
	ptx_advance(p);
}

static void parse_target(struct ptx_parser *p)
{
	do {
		struct ptx_tok t = ptx_expect_name(p);

		if (t.len > 3 && t.len < 8 && !memcmp(t.text, "sm_", 3)) {
			uint32_t sm = 0;

			for (size_t i = 3; i < t.len && t.text[i] >= '0' && t.text[i] <= '9'; i++)
				sm = sm * 10 + (t.text[i] - '0');
			if (sm > p->unit->sm)
				p->unit->sm = sm; // the highest of texts that were linked
		}
	} while (ptx_accept(p, ','));
}

static struct ptx_func *find_or_add_func(struct ptx_parser *p, const struct ptx_tok *t, bool is_entry)
{
	struct ptx_sym *y = sym_exact(p, t->text, t->len, false);
	struct ptx_func *f;

	if (y) {
		f = y->obj;
		if (y->kind != SYM_FUNC || f->is_entry != is_entry)
			ptx_parse_fail(p, "'%.80s' is declared twice", y->name);
		return f;
	}
	if (++p->unit->n_funcs > PTX_MAX_FUNCS)
		ptx_parse_fail(p, "too many functions");
	f = ptx_new(p, sizeof(*f));
	f->name = ptx_copy_name(p, t);
	f->is_entry = is_entry;
	f->line = t->line;
	f->id = p->unit->n_funcs;
	f->insns_end = &f->insns;
	*p->unit->funcs_end = f;
	p->unit->funcs_end = &f->next;
	ptx_sym_add(p, f->name, SYM_FUNC, f);
	return f;
}

static void parse_ntid(struct ptx_parser *p, uint32_t dim[3])
{
	dim[0] = dim[1] = dim[2] = 1;
	for (int i = 0; i < 3; i++) {
		dim[i] = ptx_expect_int(p, 1024);
		if (!dim[i])
			ptx_parse_fail(p, "a block of no threads");
		if (!ptx_accept(p, ','))
			break;
	}
}

// Performance directives between the head and the body of a function.
static void parse_func_directives(struct ptx_parser *p, struct ptx_func *f)
{
	uint32_t dim[3];

	while (p->tok.kind == TOK_DOT) {
		if (ptx_accept_dot(p, "maxntid")) {
			parse_ntid(p, dim);
			f->maxntid = dim[0] * dim[1] * dim[2];
		} else if (ptx_accept_dot(p, "reqntid")) {
			parse_ntid(p, f->reqntid);
		} else if (ptx_accept_dot(p, "minnctapersm") || ptx_accept_dot(p, "maxnreg") ||
			   ptx_accept_dot(p, "maxnctapersm") || ptx_accept_dot(p, "maxclusterrank")) {
			ptx_expect_int(p, UINT32_MAX);
		} else if (ptx_accept_dot(p, "pragma")) {
			ptx_advance(p);
			ptx_expect(p, ';');
		} else if (!ptx_accept_dot(p, "noreturn")) {
			ptx_parse_fail(p, "unsupported directive .%.*s",
				       (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
		}
	}
}

static void parse_func(struct ptx_parser *p, bool is_entry)
{
	struct ptx_var **rets = NULL, **params = NULL;
	uint32_t n_rets = 0, n_params = 0;
	struct ptx_func *f;
	struct ptx_tok name;
	bool defined;

	ptx_scope_push(p);
	if (!is_entry && ptx_is_punct(p, '('))
		rets = ptx_parse_params(p, true, &n_rets);
	name = ptx_expect_name(p);
	// The function's own name belongs to the module scope, its parameters to this one.
	struct ptx_scope *inner = p->scope;
	p->scope = inner->outer;
	f = find_or_add_func(p, &name, is_entry);
	p->scope = inner;
	defined = f->has_body; // a declaration may follow, in texts that were linked
	if (ptx_is_punct(p, '('))
		params = ptx_parse_params(p, true, &n_params);
	if (!defined) {
		f->rets = rets;
		f->n_rets = n_rets;
		f->params = params;
		f->n_params = n_params;
	}
	parse_func_directives(p, f);
	if (defined && ptx_is_punct(p, '{'))
		ptx_parse_fail(p, "'%.80s' is declared twice", f->name);
	if (ptx_is_punct(p, '{')) {
		f->has_body = true;
		p->func = f;
		ptx_parse_body(p, f);
		ptx_scope_pop(p);
		p->func = NULL;
	} else {
		ptx_expect(p, ';');
		ptx_scope_pop(p);
	}
}

static void parse_directive(struct ptx_parser *p)
{
	bool is_extern = false;
	enum ptx_space space;

	while (ptx_is_dot(p, "visible") || ptx_is_dot(p, "extern") || ptx_is_dot(p, "weak") ||
	       ptx_is_dot(p, "common")) {
		is_extern |= ptx_is_dot(p, "extern");
		ptx_advance(p);
	}
	space = ptx_space_word(p);
	if (space != SP_GENERIC) {
		ptx_advance(p);
		ptx_parse_vars(p, space, is_extern);
	} else if (ptx_accept_dot(p, "entry")) {
		parse_func(p, true);
	} else if (ptx_accept_dot(p, "func")) {
		parse_func(p, false);
	} else if (ptx_accept_dot(p, "version")) {
		parse_version(p);
	} else if (ptx_accept_dot(p, "target")) {
		parse_target(p);
	} else if (ptx_accept_dot(p, "address_size")) {
		if (p->tok.kind != TOK_INT || p->tok.u != 64)
			ptx_parse_fail(p, "only .address_size 64 is supported");
		ptx_advance(p);
	} else if (ptx_accept_dot(p, "file")) {
		skip_file(p);
	} else if (ptx_accept_dot(p, "loc")) {
		ptx_skip_loc(p);
	} else if (ptx_accept_dot(p, "section")) {
		skip_section(p);
	} else if (ptx_accept_dot(p, "pragma")) {
		ptx_advance(p);
		ptx_expect(p, ';');
	} else {
		ptx_parse_fail(p, "unsupported directive .%.*s", (int)(p->tok.len < 40 ? p->tok.len : 40),
			       p->tok.text);
	}
}

static void parse_module(struct ptx_parser *p)
{
	ptx_scope_push(p);
	ptx_advance(p);
	if (!ptx_is_dot(p, "version"))
		ptx_parse_fail(p, "not PTX: no .version at the start");
	while (p->tok.kind != TOK_END) {
		if (ptx_accept(p, ';'))
			continue;
		if (p->tok.kind != TOK_DOT)
			ptx_parse_fail(p, "expected a directive before '%.*s'",
				       (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
		parse_directive(p);
	}
	if (!p->unit->sm)
		ptx_parse_fail(p, "no .target");
}

int ptx_parse(struct ptx_unit *u, const char *text, size_t len, struct ptx_error *err)
{
	static __thread struct ptx_parser parser; // too large for a small stack
	static __thread struct ptx_error dummy;
	struct ptx_parser *p = &parser;
	int rc;

	*u = (struct ptx_unit){ 0 };
	u->funcs_end = &u->funcs;
	u->vars_end = &u->vars;
	memset(p, 0, sizeof(*p));
	p->unit = u;
	p->err = err ? err : &dummy;
	if (len > PTX_MAX_TEXT) {
		ptx_error_set(err, 0, "", "PTX text longer than %u bytes", PTX_MAX_TEXT);
		return -EINVAL;
	}
	ptx_lex_init(&p->lex, text, len);
	rc = setjmp(p->fail);
	if (rc)
		return -rc;
	parse_module(p);
	return 0;
}

void ptx_unit_done(struct ptx_unit *u)
{
	ptx_arena_done(&u->arena);
}
