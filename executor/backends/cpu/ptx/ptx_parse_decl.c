// SPDX-License-Identifier: Apache-2.0
/*
 * Parser of declarations: registers, variables of every space, parameters, constant expressions and
 * initialisers. Part of the parser in the executor; hostile text, so sizes are checked before they are
 * multiplied.
 */
#include "executor/backends/cpu/ptx/ptx_parse.h"

#include <string.h>

enum ptx_space ptx_space_word(const struct ptx_parser *p)
{
	static const struct {
		const char *word;
		enum ptx_space space;
	} spaces[] = { { "global", SP_GLOBAL }, { "shared", SP_SHARED }, { "local", SP_LOCAL },
		       { "const", SP_CONST },	{ "param", SP_PARAM },	 { "reg", SP_REG } };

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (ptx_is_dot(p, spaces[i].word))
			return spaces[i].space;
	return SP_GENERIC;
}

static enum ptx_type expect_type(struct ptx_parser *p)
{
	enum ptx_type t = p->tok.kind == TOK_DOT ? ptx_type_find(p->tok.text, p->tok.len) : T_NONE;

	if (t == T_NONE)
		ptx_parse_fail(p, "unsupported type '%.*s'", (int)(p->tok.len < 40 ? p->tok.len : 40),
			       p->tok.text);
	ptx_advance(p);
	return t;
}

static uint32_t parse_align(struct ptx_parser *p)
{
	uint64_t a = ptx_expect_int(p, 1u << 16);

	if (!a || (a & (a - 1)))
		ptx_parse_fail(p, "alignment is no power of two");
	return a;
}

void ptx_parse_regs(struct ptx_parser *p)
{
	enum ptx_type type;

	if (ptx_is_dot(p, "v2") || ptx_is_dot(p, "v4"))
		ptx_parse_fail(p, "vector registers are not supported");
	type = expect_type(p);
	do {
		struct ptx_tok t = ptx_expect_name(p);
		const char *name = ptx_copy_name(p, &t);

		if (ptx_accept(p, '<')) {
			struct ptx_sym *y = ptx_sym_add(p, name, SYM_RANGE, NULL);

			y->type = type;
			y->count = ptx_expect_int(p, UINT32_MAX);
			ptx_expect(p, '>');
		} else {
			struct ptx_reg *r = ptx_new(p, sizeof(*r));

			r->name = name;
			r->type = type;
			r->next = p->func->regs;
			p->func->regs = r;
			if (++p->func->n_regs > PTX_MAX_REGS)
				ptx_parse_fail(p, "too many registers");
			ptx_sym_add(p, name, SYM_REG, r);
		}
	} while (ptx_accept(p, ','));
	ptx_expect(p, ';');
}

// ---- constant expressions ----

static struct ptx_init parse_expr(struct ptx_parser *p, int min_prec, enum ptx_type type);

static uint64_t float_bits(uint64_t bits, bool is_f32, enum ptx_type type)
{
	double d;
	float f;
	uint32_t b32 = bits;

	if (is_f32) {
		memcpy(&f, &b32, 4);
		d = f;
	} else {
		memcpy(&d, &bits, 8);
		f = (float)d;
	}
	if (type == T_F32) {
		if (is_f32)
			return b32;
		memcpy(&b32, &f, 4);
		return b32;
	}
	if (type == T_F64 && is_f32)
		memcpy(&bits, &d, 8);
	return bits;
}

static struct ptx_init parse_symbol_value(struct ptx_parser *p, enum ptx_type type)
{
	struct ptx_init v = { 0 };
	struct ptx_tok t = ptx_expect_name(p);
	struct ptx_sym *y;

	if (t.len == 7 && !memcmp(t.text, "generic", 7)) {
		ptx_expect(p, '(');
		v = parse_expr(p, 0, type);
		ptx_expect(p, ')');
		return v;
	}
	y = ptx_sym_find(p, t.text, t.len);
	if (y && y->kind == SYM_FUNC) {
		v.func = y->obj;
		v.func->address_taken = true;
	} else if (y && y->kind == SYM_VAR) {
		v.var = y->obj;
	} else {
		ptx_parse_fail(p, "unknown symbol '%.*s' in a constant", (int)(t.len < 80 ? t.len : 80),
			       t.text);
	}
	return v;
}

static struct ptx_init parse_unary(struct ptx_parser *p, enum ptx_type type)
{
	struct ptx_init v = { 0 };

	if (++p->depth > PTX_MAX_DEPTH)
		ptx_parse_fail(p, "expression nested too deeply");
	if (ptx_accept(p, '-')) {
		bool is_float = p->tok.kind == TOK_F64 || p->tok.kind == TOK_F32;

		v = parse_unary(p, type);
		if (is_float)
			v.value ^= 1ull << (ptx_type_bits(type) == 32 ? 31 : 63);
		else
			v.value = -v.value;
	} else if (ptx_accept(p, '+')) {
		v = parse_unary(p, type);
	} else if (ptx_accept(p, '~')) {
		v = parse_unary(p, type);
		v.value = ~v.value;
	} else if (ptx_accept(p, '!')) {
		v = parse_unary(p, type);
		v.value = !v.value;
	} else if (ptx_accept(p, '(')) {
		if (p->tok.kind == TOK_DOT) // a cast such as (.s64)
			ptx_advance(p);
		else
			v = parse_expr(p, 0, type);
		ptx_expect(p, ')');
		if (!v.value && !v.var && !v.func && p->tok.kind == TOK_INT)
			v = parse_unary(p, type);
	} else if (p->tok.kind == TOK_INT) {
		v.value = ptx_expect_int(p, UINT64_MAX);
	} else if (p->tok.kind == TOK_F32 || p->tok.kind == TOK_F64) {
		v.value = float_bits(p->tok.u, p->tok.kind == TOK_F32, type);
		ptx_advance(p);
	} else {
		v = parse_symbol_value(p, type);
	}
	p->depth--;
	return v;
}

static int precedence(const struct ptx_parser *p)
{
	static const char levels[] = "|^&E<L+*"; // one operator of each level, loosest first

	if (p->tok.kind != TOK_PUNCT)
		return 0;
	for (int i = 0; levels[i]; i++)
		if (levels[i] == p->tok.punct || (levels[i] == 'E' && p->tok.punct == 'N') ||
		    (levels[i] == 'L' && p->tok.punct == 'R') || (levels[i] == '+' && p->tok.punct == '-') ||
		    (levels[i] == '<' && p->tok.punct == '>') || (levels[i] == '*' && p->tok.punct == '/'))
			return i + 1;
	return 0;
}

static uint64_t apply(struct ptx_parser *p, char op, uint64_t a, uint64_t b)
{
	switch (op) {
	case '|': return a | b;
	case '^': return a ^ b;
	case '&': return a & b;
	case 'E': return a == b;
	case 'N': return a != b;
	case '<': return a < b;
	case '>': return a > b;
	case 'L': return b > 63 ? 0 : a << b;
	case 'R': return b > 63 ? 0 : a >> b;
	case '+': return a + b;
	case '-': return a - b;
	case '*': return a * b;
	default:
		if (!b)
			ptx_parse_fail(p, "division by zero in a constant");
		return a / b;
	}
}

static struct ptx_init parse_expr(struct ptx_parser *p, int min_prec, enum ptx_type type)
{
	struct ptx_init v = parse_unary(p, type);
	int prec;

	if (++p->depth > PTX_MAX_DEPTH)
		ptx_parse_fail(p, "expression nested too deeply");
	while ((prec = precedence(p)) > min_prec) {
		char op = p->tok.punct;
		struct ptx_init r;

		ptx_advance(p);
		r = parse_expr(p, prec, type);
		if (r.var || r.func) {
			if (op != '+' || v.var || v.func)
				ptx_parse_fail(p, "only symbol + constant is supported");
			r.value += v.value;
			v = r;
		} else {
			if ((v.var || v.func) && op != '+' && op != '-')
				ptx_parse_fail(p, "only symbol + constant is supported");
			v.value = apply(p, op, v.value, r.value);
		}
	}
	p->depth--;
	return v;
}

struct ptx_init ptx_parse_const(struct ptx_parser *p, enum ptx_type type)
{
	return parse_expr(p, 0, type);
}

// ---- variables ----

#define MAX_DIMS 8

static void add_init(struct ptx_parser *p, struct ptx_var *v, uint64_t at, uint8_t size)
{
	struct ptx_init value = ptx_parse_const(p, v->type), *i;

	if (at + size > v->size)
		ptx_parse_fail(p, "more initialisers than elements");
	if (!value.value && !value.var && !value.func)
		return; // memory starts as zero
	if ((value.var || value.func) && size != 8)
		ptx_parse_fail(p, "an address needs an element of 64 bits");
	i = ptx_new(p, sizeof(*i));
	*i = value;
	i->at = at;
	i->size = size;
	i->next = v->inits;
	v->inits = i;
}

static void parse_init_list(struct ptx_parser *p, struct ptx_var *v, const uint64_t *strides, unsigned level,
			    uint64_t at)
{
	uint8_t elem = ptx_type_bits(v->type) / 8;

	if (++p->depth > PTX_MAX_DEPTH)
		ptx_parse_fail(p, "initialiser nested too deeply");
	if (!ptx_accept(p, '{')) {
		add_init(p, v, at, elem);
	} else {
		while (!ptx_is_punct(p, '}')) {
			bool nested = ptx_is_punct(p, '{');
			uint64_t step = nested && level < MAX_DIMS ? strides[level] : elem;

			if (nested)
				parse_init_list(p, v, strides, level + 1, at);
			else
				add_init(p, v, at, elem);
			at += step;
			if (!ptx_accept(p, ','))
				break;
		}
		ptx_expect(p, '}');
	}
	p->depth--;
}

// Dimensions after a name; sets the size. strides[i] is the bytes of one element of dimension i.
static void parse_dims(struct ptx_parser *p, struct ptx_var *v, unsigned vec, uint64_t strides[MAX_DIMS])
{
	uint64_t dims[MAX_DIMS], elem = ptx_type_bits(v->type) / 8 * (uint64_t)vec, total;
	unsigned n = 0;

	while (ptx_accept(p, '[')) {
		if (n == MAX_DIMS)
			ptx_parse_fail(p, "too many dimensions");
		dims[n] = ptx_is_punct(p, ']') ? 0 : ptx_parse_const(p, T_U64).value;
		n++;
		ptx_expect(p, ']');
	}
	total = elem;
	for (unsigned i = n; i-- > 0;) {
		strides[i] = total;
		if (dims[i] && total > PTX_MAX_VAR / dims[i])
			ptx_parse_fail(p, "variable too large");
		total *= dims[i];
	}
	for (unsigned i = n; i < MAX_DIMS; i++)
		strides[i] = ptx_type_bits(v->type) / 8;
	v->size = total;
	if (!v->align)
		v->align = elem;
}

static struct ptx_var *new_var(struct ptx_parser *p, enum ptx_space space, enum ptx_type type, uint32_t align)
{
	struct ptx_var *v = ptx_new(p, sizeof(*v));

	v->space = space;
	v->type = type;
	v->align = align;
	v->line = p->tok.line;
	return v;
}

static void link_var(struct ptx_parser *p, struct ptx_var *v)
{
	bool in_func = p->func && v->space != SP_GLOBAL && v->space != SP_CONST;

	v->owner = in_func ? p->func : NULL;
	if (in_func) {
		v->next = p->func->vars;
		p->func->vars = v;
	} else {
		*p->unit->vars_end = v;
		p->unit->vars_end = &v->next;
	}
	ptx_sym_add(p, v->name, SYM_VAR, v);
}

// An extern declaration may come before or behind the definition of the same name.
static struct ptx_var *declared_before(struct ptx_parser *p, const struct ptx_tok *t, bool is_extern)
{
	struct ptx_sym *y = ptx_sym_find(p, t->text, t->len);

	if (p->func || !y)
		return NULL;
	if (y->kind != SYM_VAR || !(is_extern || ((struct ptx_var *)y->obj)->is_extern))
		ptx_parse_fail(p, "'%.80s' is declared twice", y->name);
	return y->obj;
}

static void parse_declarator(struct ptx_parser *p, struct ptx_var *v, unsigned vec, bool is_extern)
{
	struct ptx_tok t = ptx_expect_name(p);
	struct ptx_var *old = declared_before(p, &t, is_extern);
	uint64_t strides[MAX_DIMS];

	v->name = ptx_copy_name(p, &t);
	v->is_extern = is_extern;
	parse_dims(p, v, vec, strides);
	if (old) {
		struct ptx_var *next = old->next;

		if (old->space != v->space || is_extern)
			return;
		*old = *v;
		old->next = next;
		v = old;
	} else {
		link_var(p, v);
	}
	v->is_dynamic = v->space == SP_SHARED && !v->size;
	if (v->is_dynamic && !is_extern)
		ptx_parse_fail(p, "array without size");
	if (v->space == SP_LOCAL && !p->func)
		ptx_parse_fail(p, ".local at module scope is not supported");
	if (ptx_accept(p, '=')) {
		if (v->space != SP_GLOBAL && v->space != SP_CONST)
			ptx_parse_fail(p, "only .global and .const can be initialised");
		if (p->tok.kind == TOK_STRING)
			ptx_parse_fail(p, "string initialisers are not supported");
		parse_init_list(p, v, strides, 0, 0);
	}
}

void ptx_parse_vars(struct ptx_parser *p, enum ptx_space space, bool is_extern)
{
	uint32_t align = 0;
	unsigned vec = 1;
	enum ptx_type type;

	for (;;) {
		if (ptx_accept_dot(p, "align")) {
			align = parse_align(p);
		} else if (ptx_accept_dot(p, "attribute")) {
			ptx_expect(p, '(');
			while (!ptx_is_punct(p, ')') && p->tok.kind != TOK_END)
				ptx_advance(p);
			ptx_expect(p, ')');
		} else if (ptx_is_dot(p, "v2") || ptx_is_dot(p, "v4")) {
			vec = p->tok.text[1] - '0';
			ptx_advance(p);
		} else {
			break;
		}
	}
	type = expect_type(p);
	if (space == SP_REG || type == T_PRED)
		ptx_parse_fail(p, "not allowed here");
	do {
		struct ptx_var *v = new_var(p, space, type,
					    align     ? align
					    : vec > 1 ? vec * ptx_type_bits(type) / 8
						      : 0);

		parse_declarator(p, v, vec, is_extern);
	} while (ptx_accept(p, ','));
	ptx_expect(p, ';');
}

static struct ptx_var *parse_param(struct ptx_parser *p, bool declare)
{
	uint64_t strides[MAX_DIMS];
	struct ptx_var *v;
	struct ptx_tok t;
	uint32_t align = 0;
	bool is_reg = ptx_is_dot(p, "reg");

	if (!is_reg && !ptx_is_dot(p, "param"))
		ptx_parse_fail(p, "expected .param");
	ptx_advance(p);
	if (ptx_accept_dot(p, "align"))
		align = parse_align(p);
	v = new_var(p, SP_PARAM, expect_type(p), align);
	if (v->type == T_PRED)
		ptx_parse_fail(p, "predicates cannot be parameters");
	if (ptx_accept_dot(p, "ptr")) {
		if (ptx_space_word(p) != SP_GENERIC)
			ptx_advance(p);
		if (ptx_accept_dot(p, "align"))
			parse_align(p);
	}
	t = ptx_expect_name(p);
	v->name = ptx_copy_name(p, &t);
	v->is_reg = is_reg;
	parse_dims(p, v, 1, strides);
	if (!v->size || v->size > PTX_MAX_PARAMS)
		ptx_parse_fail(p, "parameter of %llu bytes", (unsigned long long)v->size);
	if (declare && !is_reg)
		ptx_sym_add(p, v->name, SYM_VAR, v);
	if (declare && is_reg) {
		v->reg = ptx_new(p, sizeof(*v->reg));
		v->reg->name = v->name;
		v->reg->type = v->type;
		ptx_sym_add(p, v->name, SYM_REG, v->reg);
	}
	return v;
}

struct ptx_var **ptx_parse_params(struct ptx_parser *p, bool declare, uint32_t *ret_n)
{
	struct ptx_var *tmp[PTX_MAX_LIST], **list;
	uint32_t n = 0;

	ptx_expect(p, '(');
	while (!ptx_is_punct(p, ')')) {
		if (n == PTX_MAX_LIST)
			ptx_parse_fail(p, "too many parameters");
		tmp[n++] = parse_param(p, declare);
		if (!ptx_accept(p, ','))
			break;
	}
	ptx_expect(p, ')');
	list = ptx_new(p, (n + 1) * sizeof(*list));
	memcpy(list, tmp, n * sizeof(*list));
	*ret_n = n;
	return list;
}
