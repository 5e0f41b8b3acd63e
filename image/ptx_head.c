// SPDX-License-Identifier: Apache-2.0
// Reads the declarations of PTX text; see the header. Called by vgpu-admin. One pass, no allocation: words
// are found as they come, and what is of no interest is passed over up to its ';' or matching brace.
#include "image/ptx_head.h"

#include <errno.h>
#include <string.h>

// A word is a run of letters, digits and "_$%.", a string with its quotes, or any other single character. So
// "ld.shared.u32" is one word, and a word that begins with '.' a directive.
struct scanner {
	const char *at, *end;
	struct ptx_words word; // n is 0 at the end
};

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '$' || c == '%' || c == '.';
}

static void skip_comment(struct scanner *s, const char *mark)
{
	const char *end = memmem(s->at, (size_t)(s->end - s->at), mark, strlen(mark));

	s->at = end ? end + strlen(mark) : s->end;
}

static void skip_blanks(struct scanner *s)
{
	while (s->at < s->end) {
		size_t left = (size_t)(s->end - s->at);

		if (strchr(" \t\r\n\f\v", *s->at)) {
			s->at++;
		} else if (left > 1 && s->at[0] == '/' && s->at[1] == '/') {
			skip_comment(s, "\n");
		} else if (left > 1 && s->at[0] == '/' && s->at[1] == '*') {
			s->at += 2;
			skip_comment(s, "*/");
		} else {
			return;
		}
	}
}

static void next(struct scanner *s)
{
	const char *p;

	skip_blanks(s);
	p = s->at;
	if (s->at == s->end) {
		s->word = (struct ptx_words){ p, 0 };
		return;
	}
	if (*s->at++ == '"') {
		while (s->at < s->end && *s->at != '"' && *s->at != '\n')
			s->at++;
		s->at += s->at < s->end;
	} else if (is_word(*p)) {
		while (s->at < s->end && is_word(*s->at))
			s->at++;
	}
	s->word = (struct ptx_words){ p, (size_t)(s->at - p) };
}

static bool is(const struct scanner *s, const char *what)
{
	return s->word.n == strlen(what) && memcmp(s->word.at, what, s->word.n) == 0;
}

static bool accept(struct scanner *s, const char *what)
{
	if (!is(s, what))
		return false;
	next(s);
	return true;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

// The number that the word is, at most most; what is no number is 0.
static uint64_t number(const struct ptx_words *w, uint64_t most)
{
	bool hex = w->n > 2 && w->at[0] == '0' && (w->at[1] == 'x' || w->at[1] == 'X');
	uint64_t v = 0;

	for (size_t i = hex ? 2 : 0; i < w->n; i++) {
		int d = digit(w->at[i]), base = hex ? 16 : 10;

		if (d >= base)
			return i + 1 == w->n && (w->at[i] == 'u' || w->at[i] == 'U') ? v : 0;
		v = v > (most - (uint64_t)d) / (uint64_t)base ? most : v * (uint64_t)base + (uint64_t)d;
	}
	return v;
}

static uint32_t take_number(struct scanner *s)
{
	uint32_t n = (uint32_t)number(&s->word, UINT32_MAX);

	next(s);
	return n;
}

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

// ---- head

static void read_version(struct scanner *s, struct ptx_head *h)
{
	const char *dot = memchr(s->word.at, '.', s->word.n);
	struct ptx_words major = s->word, minor = { 0 };

	if (dot) {
		major.n = (size_t)(dot - s->word.at);
		minor = (struct ptx_words){ dot + 1, s->word.n - major.n - 1 };
	}
	h->version = (unsigned)(10 * number(&major, 99) + number(&minor, 9));
	next(s);
}

static void read_target(struct scanner *s, struct ptx_head *h)
{
	do {
		struct image_target t;

		if (s->word.n > 3 && memcmp(s->word.at, "sm_", 3) == 0 &&
		    image_target_parse(s->word.at + 3, s->word.n - 3, &t) && t.sm > h->target.sm)
			h->target = t;
		h->debug |= is(s, "debug");
		next(s);
	} while (accept(s, ","));
}

int ptx_head_read(const char *text, size_t bytes, struct ptx_head *ret)
{
	struct scanner s = { .at = text, .end = text + strnlen(text, bytes) };
	struct ptx_head h = { .end = s.end };

	next(&s);
	if (!accept(&s, ".version"))
		return -EINVAL;
	read_version(&s, &h);
	if (accept(&s, ".target"))
		read_target(&s, &h);
	if (accept(&s, ".address_size"))
		h.address_bits = take_number(&s);
	if (!h.version || !h.target.sm)
		return -EINVAL;
	h.at = s.word.at;
	*ret = h;
	return 0;
}

// ---- objects

// Bytes of a type behind its '.'; 0: no type.
static unsigned type_bytes(const struct ptx_words *w)
{
	static const struct {
		char name[11];
		unsigned char bytes;
	} types[] = {
		{ "b8", 1 },	 { "u8", 1 },	   { "s8", 1 },		{ "b16", 2 },	 { "u16", 2 },
		{ "s16", 2 },	 { "f16", 2 },	   { "bf16", 2 },	{ "b32", 4 },	 { "u32", 4 },
		{ "s32", 4 },	 { "f32", 4 },	   { "f16x2", 4 },	{ "bf16x2", 4 }, { "tf32", 4 },
		{ "b64", 8 },	 { "u64", 8 },	   { "s64", 8 },	{ "f64", 8 },	 { "b128", 16 },
		{ "texref", 8 }, { "surfref", 8 }, { "samplerref", 8 },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (w->n == strlen(types[i].name) + 1 && memcmp(w->at + 1, types[i].name, w->n - 1) == 0)
			return types[i].bytes;
	}
	return 0;
}

static void skip_group(struct scanner *s, const char *open, const char *close)
{
	size_t depth = 0;

	do {
		depth += is(s, open);
		depth -= is(s, close);
		next(s);
	} while (depth && s->word.n);
}

// What stands between the space and the first name: alignment, vector, type.
static void read_type(struct scanner *s, struct ptx_object *o)
{
	bool pointee = false;
	unsigned lanes = 1;

	while (s->word.n > 1 && s->word.at[0] == '.') {
		unsigned bytes = type_bytes(&s->word);

		if (bytes) {
			o->type = (struct ptx_words){ s->word.at + 1, s->word.n - 1 };
			o->bytes = (uint64_t)bytes * lanes;
		} else if (s->word.n == 3 && s->word.at[1] == 'v') {
			lanes = (unsigned)digit(s->word.at[2]);
		}
		pointee |= is(s, ".ptr");
		if (accept(s, ".align")) {
			// Of a pointer it is said how that is aligned which it points to.
			if (!pointee)
				o->align = (uint32_t)number(&s->word, UINT32_MAX);
			next(s);
		} else if (accept(s, ".attribute")) {
			skip_group(s, "(", ")");
		} else {
			next(s);
		}
	}
}

// A name with its dimensions; initial values are passed over.
static void read_name(struct scanner *s, struct ptx_object *o)
{
	o->name = s->word;
	next(s);
	while (accept(s, "[")) {
		o->bytes = is(s, "]") ? 0 : times(o->bytes, number(&s->word, UINT64_MAX));
		while (s->word.n && !accept(s, "]"))
			next(s);
	}
	while (s->word.n && !is(s, ",") && !is(s, ";") && !is(s, ")")) {
		if (is(s, "{"))
			skip_group(s, "{", "}");
		else if (is(s, "("))
			skip_group(s, "(", ")");
		else
			next(s);
	}
}

bool ptx_next_param(const struct ptx_head *h, const char **at, struct ptx_object *ret)
{
	struct scanner s = { .at = *at, .end = h->end };
	struct ptx_object o = { 0 };

	next(&s);
	if (!accept(&s, ".param"))
		return false;
	read_type(&s, &o);
	read_name(&s, &o);
	accept(&s, ",");
	*at = s.word.at;
	*ret = o;
	return true;
}

// ---- kernels

static void add_params(const struct ptx_head *h, struct ptx_item *k)
{
	const char *at = k->params;
	struct ptx_object o;

	while (ptx_next_param(h, &at, &o)) {
		uint64_t align = o.align ? o.align : o.bytes ? o.bytes : 1;

		// What is no power of two, or too large to be a parameter, is not added up.
		if (!(align & (align - 1)) && o.bytes < UINT32_MAX && align < UINT32_MAX)
			k->param_bytes = ((k->param_bytes + align - 1) & ~(align - 1)) + o.bytes;
		k->n_params++;
	}
}

static void read_sides(struct scanner *s, uint32_t sides[3])
{
	for (int i = 0; i < 3; i++)
		sides[i] = 1;
	for (int i = 0; i < 3; i++) {
		sides[i] = take_number(s);
		if (!accept(s, ","))
			break;
	}
}

// The body from its brace on: static shared memory is declared at the beginning of a statement.
static int read_body(struct scanner *s, struct ptx_item *k)
{
	bool begins = true;
	size_t depth = 0;

	do {
		struct ptx_object o = { 0 };

		if (begins && accept(s, ".shared")) {
			read_type(s, &o);
			read_name(s, &o);
			k->shared_bytes =
			    o.bytes > UINT64_MAX - k->shared_bytes ? UINT64_MAX : k->shared_bytes + o.bytes;
			continue;
		}
		depth += is(s, "{");
		depth -= is(s, "}");
		begins = is(s, "{") || is(s, "}") || is(s, ";");
		next(s);
	} while (depth && s->word.n);
	return depth ? -EINVAL : 0;
}

// From the word behind .entry or .func to the end of it. 1, 0: it is only declared, or -EINVAL.
static int read_function(struct scanner *s, const struct ptx_head *h, struct ptx_item *k)
{
	*k = (struct ptx_item){ .what = PTX_KERNEL, .name = s->word };
	next(s);
	if (is(s, "(")) {
		k->params = s->at;
		skip_group(s, "(", ")");
	}
	while (s->word.n && !is(s, "{") && !is(s, ";")) {
		if (accept(s, ".maxntid"))
			read_sides(s, k->max_ntid);
		else if (accept(s, ".reqntid"))
			read_sides(s, k->req_ntid);
		else if (accept(s, ".minnctapersm"))
			k->min_ctas = take_number(s);
		else
			next(s);
	}
	if (accept(s, ";"))
		return 0;
	if (k->params)
		add_params(h, k);
	return read_body(s, k) ? -EINVAL : 1;
}

// ---- items

static void read_variable(struct scanner *s, struct ptx_head *h, struct ptx_item *ret)
{
	*ret = (struct ptx_item){ .what = PTX_VARIABLE, .variable = h->declared };
	read_name(s, &ret->variable);
	ret->name = ret->variable.name;
	h->in_list = accept(s, ",");
}

// What begins with the present word. 1: *ret is an item; 0: nothing of interest; -EINVAL.
static int read_thing(struct scanner *s, struct ptx_head *h, bool external, struct ptx_item *ret)
{
	struct ptx_item unused;
	bool constant = is(s, ".const");

	if (accept(s, ".entry"))
		return read_function(s, h, ret);
	if (accept(s, ".func")) {
		if (is(s, "("))
			skip_group(s, "(", ")");
		return read_function(s, h, &unused) < 0 ? -EINVAL : 0;
	}
	if (accept(s, ".global") || accept(s, ".const")) {
		h->declared = (struct ptx_object){ .constant = constant, .external = external };
		read_type(s, &h->declared);
		read_variable(s, h, ret);
		return 1;
	}
	if (is(s, "{"))
		skip_group(s, "{", "}");
	else
		next(s);
	return 0;
}

int ptx_head_next(struct ptx_head *h, struct ptx_item *ret)
{
	struct scanner s = { .at = h->at, .end = h->end };
	bool external = false;
	int found = 0;

	next(&s);
	if (h->in_list && s.word.n) {
		read_variable(&s, h, ret);
		found = 1;
	}
	while (!found && s.word.n) {
		if (accept(&s, ".extern"))
			external = true;
		found = read_thing(&s, h, external, ret);
		external = external && s.word.n && s.word.at[0] == '.';
	}
	h->at = s.word.at;
	return found;
}
