// SPDX-License-Identifier: Apache-2.0
/*
 * Parser of function bodies: scopes, labels, instructions and their operands. Part of the parser in the
 * executor; what an instruction may carry comes from the table in ptx_ops.c.
 */
#include "executor/backends/cpu/ptx/ptx_ops.h"
#include "executor/backends/cpu/ptx/ptx_parse.h"

#include <string.h>

static void parse_operand(struct ptx_parser *p, struct ptx_operand *o);

static void add_label_ref(struct ptx_parser *p, const struct ptx_tok *t, struct ptx_label **where,
			  struct ptx_insn *in)
{
	struct ptx_label_ref *r = ptx_new(p, sizeof(*r));

	r->name = ptx_copy_name(p, t);
	r->where = where;
	r->line = t->line;
	r->insn = in;
	r->next = p->scope->refs;
	p->scope->refs = r;
}

static void parse_sreg(struct ptx_parser *p, const struct ptx_tok *t, struct ptx_operand *o)
{
	int sr = ptx_sreg_find(t->text + 1, t->len - 1);

	if (sr < 0)
		ptx_parse_fail(p, "unknown register '%.*s'", (int)(t->len < 80 ? t->len : 80), t->text);
	o->kind = OPD_SREG;
	o->sreg = sr;
	if (!ptx_sreg_has_component(sr))
		return;
	if (p->tok.kind != TOK_DOT || p->tok.len != 1 || !strchr("xyzw", p->tok.text[0]))
		ptx_parse_fail(p, "register %%%s needs .x, .y or .z", ptx_sreg_name(sr));
	o->comp = p->tok.text[0] == 'w' ? 3 : p->tok.text[0] - 'x';
	ptx_advance(p);
}

// Symbols that the call graph and the shared memory layout need to know about.
static void note_var(struct ptx_parser *p, struct ptx_var *v)
{
	struct ptx_func *f = p->func;

	if (v->space != SP_SHARED || v->last_user == f)
		return;
	v->last_user = f;
	if (f->n_shared == f->cap_shared) {
		uint32_t cap = f->cap_shared ? f->cap_shared * 2 : 8;
		struct ptx_var **list = ptx_new(p, cap * sizeof(*list));

		if (f->n_shared)
			memcpy(list, f->shared_vars, f->n_shared * sizeof(*list));
		f->shared_vars = list;
		f->cap_shared = cap;
	}
	f->shared_vars[f->n_shared++] = v;
	v->in_func |= !f->is_entry;
}

static void parse_name_operand(struct ptx_parser *p, struct ptx_operand *o)
{
	struct ptx_tok t = ptx_expect_name(p);
	struct ptx_sym *y;

	if (t.len == 1 && t.text[0] == '_') {
		o->kind = OPD_SINK;
		return;
	}
	if (t.len == 7 && !memcmp(t.text, "WARP_SZ", 7)) {
		o->kind = OPD_INT;
		o->u = 32;
		return;
	}
	y = ptx_sym_find(p, t.text, t.len);
	if (!y && t.text[0] == '%') {
		parse_sreg(p, &t, o);
	} else if (!y) {
		o->kind = OPD_LABEL;
		add_label_ref(p, &t, &o->label, NULL);
	} else if (y->kind == SYM_REG) {
		o->kind = OPD_REG;
		o->reg = y->obj;
		if (p->tok.kind == TOK_DOT)
			ptx_parse_fail(p, "vector registers are not supported");
	} else if (y->kind == SYM_FUNC) {
		o->kind = OPD_FUNC;
		o->func = y->obj;
	} else {
		o->kind = OPD_VAR;
		o->var = y->obj;
		o->off = 0;
		note_var(p, o->var);
	}
}

static int64_t parse_offset(struct ptx_parser *p)
{
	int64_t off = 0;

	while (ptx_is_punct(p, '+') || ptx_is_punct(p, '-')) {
		bool minus = ptx_is_punct(p, '-');

		ptx_advance(p);
		if (ptx_accept(p, '-'))
			minus = !minus;
		int64_t v = ptx_expect_int(p, INT64_MAX);

		off = (int64_t)((uint64_t)off + (minus ? -(uint64_t)v : (uint64_t)v));
	}
	return off;
}

static void parse_address(struct ptx_parser *p, struct ptx_operand *o)
{
	struct ptx_operand base = { 0 };

	ptx_expect(p, '[');
	if (p->tok.kind == TOK_NAME) {
		parse_name_operand(p, &base);
		if (base.kind != OPD_REG && base.kind != OPD_VAR)
			ptx_parse_fail(p, "bad address");
		o->reg = base.reg;
		o->var = base.var;
		o->off = parse_offset(p);
	} else {
		o->off = (int64_t)ptx_parse_const(p, T_U64).value;
	}
	if (ptx_is_punct(p, ','))
		ptx_parse_fail(p, "tensor addresses are not supported");
	ptx_expect(p, ']');
	o->kind = OPD_ADDR;
}

static void parse_vector(struct ptx_parser *p, struct ptx_operand *o);

// [object, {x, y}]: the object's value in a register; a sampler apart from the texture is not supported.
static void parse_texture(struct ptx_parser *p, struct ptx_operand *o)
{
	struct ptx_operand base = { 0 };

	ptx_expect(p, '[');
	parse_name_operand(p, &base);
	if (base.kind != OPD_REG)
		ptx_parse_fail(p,
			       "texture and surface references are not supported, only objects in registers");
	ptx_expect(p, ',');
	p->texture = false; // coordinates have none of their own
	if (ptx_is_punct(p, '{')) {
		parse_vector(p, o);
	} else {
		o->n = 1;
		o->elems = ptx_new(p, sizeof(*o->elems));
		parse_operand(p, o->elems);
	}
	if (ptx_is_punct(p, ','))
		ptx_parse_fail(p, "samplers apart from textures are not supported");
	ptx_expect(p, ']');
	o->reg = base.reg;
	o->kind = OPD_TEX;
}

static void parse_vector(struct ptx_parser *p, struct ptx_operand *o)
{
	struct ptx_operand elems[8] = { 0 };

	if (++p->depth > PTX_MAX_DEPTH)
		ptx_parse_fail(p, "operand nested too deeply");
	ptx_expect(p, '{');
	while (!ptx_is_punct(p, '}')) {
		if (o->n == 8)
			ptx_parse_fail(p, "vector of more than 8 elements");
		parse_operand(p, &elems[o->n++]);
		if (!ptx_accept(p, ','))
			break;
	}
	ptx_expect(p, '}');
	p->depth--;
	o->kind = OPD_VEC;
	o->elems = ptx_new(p, (o->n + 1) * sizeof(*elems));
	memcpy(o->elems, elems, o->n * sizeof(*elems));
	for (uint32_t i = 0; i < o->n; i++)
		if (elems[i].kind == OPD_LABEL || elems[i].kind == OPD_VEC)
			ptx_parse_fail(p, "bad vector element");
}

static void parse_operand(struct ptx_parser *p, struct ptx_operand *o)
{
	if (ptx_is_punct(p, '[') && p->texture) {
		parse_texture(p, o);
	} else if (ptx_is_punct(p, '[')) {
		parse_address(p, o);
	} else if (ptx_is_punct(p, '{')) {
		parse_vector(p, o);
	} else if (p->tok.kind == TOK_NAME ||
		   (ptx_is_punct(p, '!') && ptx_accept(p, '!') && (o->negate = 1))) {
		parse_name_operand(p, o);
		if (o->kind == OPD_VAR)
			o->off = parse_offset(p);
		if (ptx_accept(p, '|')) {
			o->second = ptx_new(p, sizeof(*o));
			parse_name_operand(p, o->second);
			if (o->second->kind != OPD_REG && o->second->kind != OPD_SINK)
				ptx_parse_fail(p, "expected a register after '|'");
		}
	} else if (p->tok.kind == TOK_F32 || p->tok.kind == TOK_F64) {
		o->kind = p->tok.kind == TOK_F32 ? OPD_F32 : OPD_F64;
		o->u = p->tok.u;
		ptx_advance(p);
	} else {
		bool minus = ptx_is_punct(p, '-');

		if (minus)
			ptx_advance(p);
		if (minus && (p->tok.kind == TOK_F32 || p->tok.kind == TOK_F64)) {
			o->kind = p->tok.kind == TOK_F32 ? OPD_F32 : OPD_F64;
			o->u = p->tok.u ^ (o->kind == OPD_F32 ? 1ull << 31 : 1ull << 63);
			ptx_advance(p);
			return;
		}
		struct ptx_init v = ptx_parse_const(p, T_U64);

		if (v.var || v.func)
			ptx_parse_fail(p, "bad operand");
		o->kind = OPD_INT;
		o->u = minus ? -v.value : v.value;
	}
}

static struct ptx_operand *parse_list(struct ptx_parser *p, uint32_t *ret_n)
{
	struct ptx_operand tmp[64] = { 0 }, *list;
	uint32_t n = 0;

	ptx_expect(p, '(');
	while (!ptx_is_punct(p, ')')) {
		if (n == 64)
			ptx_parse_fail(p, "call with more than 64 arguments");
		parse_operand(p, &tmp[n]);
		if (tmp[n].kind == OPD_LABEL)
			ptx_parse_fail(p, "bad argument");
		n++;
		if (!ptx_accept(p, ','))
			break;
	}
	ptx_expect(p, ')');
	list = ptx_new(p, (n + 1) * sizeof(*list));
	memcpy(list, tmp, n * sizeof(*list));
	*ret_n = n;
	return list;
}

static void note_callee(struct ptx_parser *p, struct ptx_func *callee)
{
	struct ptx_func *f = p->func;

	if (f->n_callees == f->cap_callees) {
		uint32_t cap = f->cap_callees ? f->cap_callees * 2 : 8;
		struct ptx_func **list = ptx_new(p, cap * sizeof(*list));

		if (f->n_callees)
			memcpy(list, f->callees, f->n_callees * sizeof(*list));
		f->callees = list;
		f->cap_callees = cap;
	}
	f->callees[f->n_callees++] = callee;
}

static void parse_call(struct ptx_parser *p, struct ptx_insn *in)
{
	struct ptx_call *c = ptx_new(p, sizeof(*c));

	in->call = c;
	if (ptx_is_punct(p, '(')) {
		c->rets = parse_list(p, &c->n_rets);
		ptx_expect(p, ',');
	}
	parse_name_operand(p, &c->target);
	if (c->target.kind == OPD_LABEL)
		ptx_parse_fail(p, "call of an unknown function");
	if (c->target.kind != OPD_FUNC && c->target.kind != OPD_REG)
		ptx_parse_fail(p, "bad call target");
	if (ptx_accept(p, ',')) {
		if (ptx_is_punct(p, '('))
			c->args = parse_list(p, &c->n_args);
		else
			c->args = ptx_new(p, sizeof(*c->args));
		if (c->args && !c->n_args && p->tok.kind == TOK_NAME && c->target.kind == OPD_REG) {
			struct ptx_tok t = ptx_expect_name(p);

			add_label_ref(p, &t, &c->proto, NULL);
			return;
		}
		if (ptx_accept(p, ',')) {
			struct ptx_tok t = ptx_expect_name(p);

			add_label_ref(p, &t, &c->proto, NULL);
		}
	}
	if (c->target.kind == OPD_FUNC)
		note_callee(p, c->target.func);
	else
		p->func->calls_indirect = true;
}

static void parse_modifier(struct ptx_parser *p, struct ptx_insn *in)
{
	enum ptx_type type = ptx_type_find(p->tok.text, p->tok.len);
	enum ptx_word w = type ? W_NONE : ptx_word_find(p->tok.text, p->tok.len);

	if (type) {
		if (in->n_types == in->op->max_types)
			ptx_parse_fail(p, "unsupported type .%.*s", (int)p->tok.len, p->tok.text);
		in->types[in->n_types++] = type;
	} else if (w && (ptx_word_classes(w) & in->op->classes)) {
		if (in->n_mods == sizeof(in->mods))
			ptx_parse_fail(p, "too many modifiers");
		in->mods[in->n_mods++] = w;
		in->modset[w / 64] |= 1ull << (w % 64);
	} else {
		ptx_parse_fail(p, "unsupported modifier .%.*s", (int)(p->tok.len < 40 ? p->tok.len : 40),
			       p->tok.text);
	}
	ptx_advance(p);
}

static void note_flags(struct ptx_func *f, const struct ptx_insn *in)
{
	uint8_t flags = in->op->flags;

	f->has_sync |= (flags & OF_SYNC) != 0;
	f->has_exit |= (flags & OF_EXIT) && !f->is_entry; // an entry just returns
	if (flags & OF_YIELD)
		f->has_poll = true;
	if ((flags & OF_ATOM) && (ptx_has(in, W_volat) || ptx_has(in, W_relaxed) || ptx_has(in, W_acquire)))
		f->has_poll = true;
}

static void parse_operands(struct ptx_parser *p, struct ptx_insn *in)
{
	struct ptx_operand ops[PTX_MAX_OPS] = { 0 };

	while (!ptx_is_punct(p, ';')) {
		if (in->n_ops == in->op->max_ops || in->n_ops == PTX_MAX_OPS)
			ptx_parse_fail(p, "too many operands");
		parse_operand(p, &ops[in->n_ops++]);
		if (!ptx_accept(p, ','))
			break;
	}
	if (in->n_ops < in->op->min_ops)
		ptx_parse_fail(p, "too few operands");
	in->ops = ptx_new(p, (in->n_ops + 1) * sizeof(*ops));
	memcpy(in->ops, ops, in->n_ops * sizeof(*ops));
	for (uint32_t i = 0; i < in->n_ops; i++) {
		bool wants_label =
		    ((in->op->flags & OF_BRANCH) && i == 0) || ((in->op->flags & OF_TABLE) && i == 1);

		if ((in->ops[i].kind == OPD_LABEL) != wants_label)
			ptx_parse_fail(p, wants_label ? "expected a label" : "unknown symbol");
		if (!wants_label)
			continue;
		// The reference was noted for the copy on the stack: point it at the operand that stays.
		for (struct ptx_label_ref *r = p->scope->refs; r; r = r->next)
			if (r->where == &ops[i].label) {
				r->where = &in->ops[i].label;
				r->insn = in;
				break;
			}
	}
	for (uint32_t i = 0; i < in->n_ops; i++) {
		if (ops[i].kind == OPD_FUNC)
			ops[i].func->address_taken = true;
		if (ops[i].kind == OPD_VAR)
			ops[i].var->address_taken = true;
	}
}

static struct ptx_insn *new_insn(struct ptx_parser *p, unsigned line)
{
	struct ptx_func *f = p->func;
	struct ptx_insn *in = ptx_new(p, sizeof(*in));

	in->line = line;
	in->position = f->n_insns++;
	return in;
}

static void parse_insn(struct ptx_parser *p, const struct ptx_tok *name, struct ptx_reg *pred, bool negate)
{
	struct ptx_func *f = p->func;
	struct ptx_insn *in = new_insn(p, name->line);

	p->opcode = name->text;
	p->opcode_len = name->len;
	p->opcode_line = name->line;
	in->pred = pred;
	in->pred_negate = negate;
	in->op = ptx_op_find(name->text, name->len);
	// For the message: the opcode with all that follows it.
	for (size_t i = name->len; name->text + i < p->lex.end && i < 47 &&
				   strchr(".:_$abcdefghijklmnopqrstuvwxyz"
					  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
					  name->text[i]) &&
				   name->text[i];
	     i++)
		p->opcode_len = i + 1;
	if (!in->op)
		ptx_parse_fail(p, "instruction is not supported by the cpu backend");
	while (p->tok.kind == TOK_DOT)
		parse_modifier(p, in);
	p->texture = in->op->flags & OF_TEX;
	if (in->op->flags & OF_CALL)
		parse_call(p, in);
	else
		parse_operands(p, in);
	note_flags(f, in);
	*f->insns_end = in;
	f->insns_end = &in->next;
	ptx_expect(p, ';');
	p->opcode = NULL;
}

static void parse_branch_targets(struct ptx_parser *p, struct ptx_label *l)
{
	struct ptx_tok tmp[PTX_MAX_LIST];

	do {
		if (l->n_targets == PTX_MAX_LIST)
			ptx_parse_fail(p, "too many branch targets");
		tmp[l->n_targets++] = ptx_expect_name(p);
	} while (ptx_accept(p, ','));
	l->targets = ptx_new(p, l->n_targets * sizeof(*l->targets));
	for (uint32_t i = 0; i < l->n_targets; i++)
		add_label_ref(p, &tmp[i], &l->targets[i], NULL);
	p->func->has_loop = true; // a table may well go back
	ptx_expect(p, ';');
}

static void parse_prototype(struct ptx_parser *p, struct ptx_label *l)
{
	struct ptx_func *f = ptx_new(p, sizeof(*f));

	if (ptx_is_punct(p, '('))
		f->rets = ptx_parse_params(p, false, &f->n_rets);
	ptx_expect_name(p);
	if (ptx_is_punct(p, '('))
		f->params = ptx_parse_params(p, false, &f->n_params);
	ptx_accept_dot(p, "noreturn");
	ptx_expect(p, ';');
	l->proto = f;
}

static void parse_call_targets(struct ptx_parser *p, struct ptx_label *l)
{
	do {
		struct ptx_tok t = ptx_expect_name(p);
		struct ptx_sym *y = ptx_sym_find(p, t.text, t.len);

		if (!y || y->kind != SYM_FUNC)
			ptx_parse_fail(p, "unknown function '%.*s'", (int)(t.len < 80 ? t.len : 80), t.text);
		if (!l->proto)
			l->proto = y->obj;
	} while (ptx_accept(p, ','));
	ptx_expect(p, ';');
}

static void parse_label(struct ptx_parser *p, const struct ptx_tok *name)
{
	struct ptx_label *l = ptx_new(p, sizeof(*l));
	struct ptx_insn *in;

	l->name = ptx_copy_name(p, name);
	l->line = name->line;
	l->defined = true;
	for (struct ptx_label *o = p->scope->labels; o; o = o->next)
		if (!strcmp(o->name, l->name)) {
			p->tok.line = name->line;
			ptx_parse_fail(p, "label '%.80s' is defined twice", l->name);
		}
	l->next = p->scope->labels;
	p->scope->labels = l;
	if (ptx_accept_dot(p, "branchtargets")) {
		parse_branch_targets(p, l);
	} else if (ptx_accept_dot(p, "callprototype")) {
		parse_prototype(p, l);
	} else if (ptx_accept_dot(p, "calltargets")) {
		parse_call_targets(p, l);
	} else {
		in = new_insn(p, name->line);
		in->label = l;
		l->position = in->position;
		*p->func->insns_end = in;
		p->func->insns_end = &in->next;
	}
}

static void parse_body_directive(struct ptx_parser *p)
{
	enum ptx_space space = ptx_space_word(p);

	if (space == SP_REG) {
		ptx_advance(p);
		ptx_parse_regs(p);
	} else if (space != SP_GENERIC) {
		ptx_advance(p);
		ptx_parse_vars(p, space, false);
	} else if (ptx_accept_dot(p, "loc")) {
		ptx_skip_loc(p);
	} else if (ptx_accept_dot(p, "pragma")) {
		ptx_advance(p);
		ptx_expect(p, ';');
	} else if (ptx_is_dot(p, "extern")) {
		ptx_advance(p);
		space = ptx_space_word(p);
		if (space != SP_SHARED)
			ptx_parse_fail(p, "unsupported .extern in a function");
		ptx_advance(p);
		ptx_parse_vars(p, space, true);
	} else {
		ptx_parse_fail(p, "unsupported directive .%.*s", (int)(p->tok.len < 40 ? p->tok.len : 40),
			       p->tok.text);
	}
}

static void parse_predicated(struct ptx_parser *p)
{
	bool negate = ptx_accept(p, '!');
	struct ptx_tok t = ptx_expect_name(p);
	struct ptx_sym *y = ptx_sym_find(p, t.text, t.len);

	if (!y || y->kind != SYM_REG || ((struct ptx_reg *)y->obj)->type != T_PRED)
		ptx_parse_fail(p, "'%.*s' is no predicate", (int)(t.len < 80 ? t.len : 80), t.text);
	t = ptx_expect_name(p);
	parse_insn(p, &t, y->obj, negate);
}

void ptx_parse_body(struct ptx_parser *p, struct ptx_func *f)
{
	unsigned open = 0;

	for (uint32_t i = 0; i < f->n_params; i++)
		f->params[i]->owner = f;
	for (uint32_t i = 0; i < f->n_rets; i++)
		f->rets[i]->owner = f;
	do {
		if (ptx_accept(p, '{')) {
			ptx_scope_push(p);
			open++;
		} else if (ptx_is_punct(p, '}')) {
			ptx_scope_pop(p);
			open--;
			ptx_advance(p);
		} else if (ptx_accept(p, ';')) {
			continue;
		} else if (ptx_accept(p, '@')) {
			parse_predicated(p);
		} else if (p->tok.kind == TOK_DOT) {
			parse_body_directive(p);
		} else {
			struct ptx_tok t = ptx_expect_name(p);

			if (ptx_accept(p, ':'))
				parse_label(p, &t);
			else
				parse_insn(p, &t, NULL, false);
		}
	} while (open);
}
