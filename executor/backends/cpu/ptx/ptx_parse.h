// SPDX-License-Identifier: Apache-2.0
/*
 * Parser of PTX text. One struct ptx_parser a load; errors leave by longjmp to ptx_parse, memory goes with
 * the unit's arena.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_PARSE_H
#define VGPU_EXECUTOR_CPU_PTX_PARSE_H

#include "executor/backends/cpu/ptx/ptx_ast.h"
#include "executor/backends/cpu/ptx/ptx_lex.h"

#include <setjmp.h>

// 0 or -EINVAL/-ENOMEM with err filled. The unit needs ptx_unit_done in both cases.
int ptx_parse(struct ptx_unit *u, const char *text, size_t len, struct ptx_error *err);
void ptx_unit_done(struct ptx_unit *u);
// Call graph, shared memory layout, what each function needs. After ptx_parse; same errors.
int ptx_sema(struct ptx_unit *u, struct ptx_error *err);

void ptx_error_set(struct ptx_error *err, unsigned line, const char *opcode, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

enum ptx_sym_kind { SYM_REG, SYM_RANGE, SYM_VAR, SYM_FUNC };

struct ptx_sym {
	const char *name;
	size_t len;
	uint32_t hash;
	enum ptx_sym_kind kind;
	enum ptx_type type; // of a range
	uint32_t count;	    // of a range
	void *obj;
	struct ptx_scope *scope;
	struct ptx_sym *bucket_next, *scope_next;
};

// A branch that waits for its label: labels are looked for in the scope of the branch, then further out.
struct ptx_label_ref {
	struct ptx_label_ref *next;
	struct ptx_label **where;
	const char *name;
	unsigned line;
	struct ptx_insn *insn;
};

struct ptx_scope {
	struct ptx_scope *outer;
	struct ptx_sym *syms;
	struct ptx_label *labels;
	struct ptx_label_ref *refs;
};

#define PTX_BUCKETS 4096u

struct ptx_parser {
	struct ptx_lex lex;
	struct ptx_tok tok; // the token not yet consumed
	struct ptx_unit *unit;
	struct ptx_error *err;
	jmp_buf fail;
	struct ptx_scope *scope;
	unsigned depth;
	struct ptx_func *func; // whose body is parsed
	const char *opcode;    // for error messages
	size_t opcode_len;
	unsigned opcode_line;
	bool texture; // addresses of the instruction are of textures or surfaces
	struct ptx_sym *buckets[PTX_BUCKETS];
};

// ptx_parse.c: tokens, symbols, the module level
_Noreturn void ptx_parse_fail(struct ptx_parser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void *ptx_new(struct ptx_parser *p, size_t size);
const char *ptx_copy_name(struct ptx_parser *p, const struct ptx_tok *t);
void ptx_advance(struct ptx_parser *p);
bool ptx_is_punct(const struct ptx_parser *p, char c);
bool ptx_accept(struct ptx_parser *p, char c);
void ptx_expect(struct ptx_parser *p, char c);
bool ptx_is_dot(const struct ptx_parser *p, const char *word);
bool ptx_accept_dot(struct ptx_parser *p, const char *word);
struct ptx_tok ptx_expect_name(struct ptx_parser *p);
uint64_t ptx_expect_int(struct ptx_parser *p, uint64_t max);
void ptx_scope_push(struct ptx_parser *p);
void ptx_scope_pop(struct ptx_parser *p);
struct ptx_sym *ptx_sym_add(struct ptx_parser *p, const char *name, enum ptx_sym_kind kind, void *obj);
struct ptx_sym *ptx_sym_find(struct ptx_parser *p, const char *name, size_t len);
void ptx_skip_loc(struct ptx_parser *p);

// ptx_parse_decl.c: variables, parameters, initialisers
enum ptx_space ptx_space_word(const struct ptx_parser *p);
void ptx_parse_vars(struct ptx_parser *p, enum ptx_space space, bool is_extern);
void ptx_parse_regs(struct ptx_parser *p);
struct ptx_var **ptx_parse_params(struct ptx_parser *p, bool declare, uint32_t *ret_n);
struct ptx_init ptx_parse_const(struct ptx_parser *p, enum ptx_type type);

// ptx_parse_insn.c: bodies
void ptx_parse_body(struct ptx_parser *p, struct ptx_func *f);

#endif
