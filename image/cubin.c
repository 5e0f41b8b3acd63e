// SPDX-License-Identifier: Apache-2.0
// Lists the kernels and variables of machine code; see the header. Called by the cpu backend in the executor
// on a tenant's bytes, and by vgpu-admin. Memory and time are bounded by the file's size: symbols, parameters
// and records of attributes are counted against it, for sections of a hostile file may overlap.
#include "image/cubin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "image/bytes.h"
#include "image/cubin_info.h"
#include "image/elf64.h"

#define TYPE_OBJECT	13	    // of a variable's symbol in code that is to be linked; else STT_OBJECT
#define OTHER_ENTRY	0x10	    // st_other of a kernel; device functions lack it
#define SECTION_INFO	0x70000000u // sh_type of .nv.info
#define SECTION_ZEROS	0x70000007u // sh_type of .nv.global in code that is to be linked
#define REGISTERS_SHIFT 24	    // of a .text section's sh_info, before sm_90
#define FLAG_ARCH_OLD	0x800u	    // of e_flags until CUDA 12
#define ABI_NEW		8
#define MAX_SHARED	(228u * 1024)

struct reading {
	struct cubin *c;
	struct elf64 e;
	Elf64_Shdr symbols;
	uint64_t info_left; // bytes of attributes that may still be read
	size_t room_params;
};

static const char *behind(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

static int compare_kernels(const void *a, const void *b)
{
	return strcmp(((const struct cubin_kernel *)a)->name, ((const struct cubin_kernel *)b)->name);
}

static int compare_variables(const void *a, const void *b)
{
	return strcmp(((const struct cubin_variable *)a)->name, ((const struct cubin_variable *)b)->name);
}

const struct cubin_kernel *cubin_kernel(const struct cubin *c, const char *name)
{
	struct cubin_kernel key = { .name = name };

	return c->n_kernels ? bsearch(&key, c->kernels, c->n_kernels, sizeof(key), compare_kernels) : NULL;
}

// ---- symbols

static bool is_kernel(const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_other & OTHER_ENTRY && s->st_shndx != SHN_UNDEF;
}

// Where variables of the whole module live; not shared memory, and not the banks of single kernels.
static bool holds_variables(const struct elf64 *e, size_t i, Elf64_Shdr *ret, bool *ret_constant)
{
	const char *name, *bank;

	if (i >= e->n_sections)
		return false;
	*ret = elf64_section(e, i);
	if (elf64_name(e, ret, &name))
		return false;
	bank = behind(name, ".nv.constant");
	*ret_constant = bank != NULL;
	if (bank)
		return !strchr(bank, '.');
	return strcmp(name, ".nv.global") == 0 || strcmp(name, ".nv.global.init") == 0;
}

static bool is_object(const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);

	return (type == STT_OBJECT || type == TYPE_OBJECT) && s->st_size;
}

// False: it lies nowhere, or leaves its section.
static bool place_variable(const struct elf64 *e, const Elf64_Sym *s, struct cubin_variable *ret)
{
	Elf64_Shdr home;

	if (!holds_variables(e, s->st_shndx, &home, &ret->constant) ||
	    !inside(home.sh_size, s->st_value, s->st_size))
		return false;
	ret->size = s->st_size;
	ret->section = s->st_shndx;
	ret->offset = s->st_value;
	if (home.sh_type != SECTION_ZEROS && elf64_holds(e, &home))
		ret->bytes = e->image + home.sh_offset + s->st_value;
	return home.sh_type == SHT_NOBITS || home.sh_type == SECTION_ZEROS || ret->bytes;
}

static int make_room(struct reading *r, size_t n)
{
	struct cubin *c = r->c;
	size_t kernels = 0, variables = 0;

	for (size_t i = 0; i < n; i++) {
		Elf64_Sym s = elf64_symbol(&r->e, &r->symbols, i);

		kernels += is_kernel(&s);
		variables += is_object(&s);
	}
	if (kernels > VGPU_MAX_IMAGE_SYMBOLS || variables > VGPU_MAX_IMAGE_SYMBOLS)
		return -ENOMEM;
	c->kernels = calloc(kernels + 1, sizeof(*c->kernels));
	c->variables = calloc(variables + 1, sizeof(*c->variables));
	return c->kernels && c->variables ? 0 : -ENOMEM;
}

static int add_symbol(struct reading *r, size_t i)
{
	Elf64_Sym s = elf64_symbol(&r->e, &r->symbols, i);
	struct cubin_variable v = { 0 };
	struct cubin *c = r->c;
	const char *name;
	int result;

	if (!is_kernel(&s) && !(is_object(&s) && place_variable(&r->e, &s, &v)))
		return 0;
	result = elf64_text(&r->e, r->symbols.sh_link, s.st_name, VGPU_MAX_SYMBOL, &name);
	if (result == -E2BIG || (!result && !name[0]))
		return 0;
	if (result)
		return result;
	if (is_kernel(&s)) {
		c->kernels[c->n_kernels++] = (struct cubin_kernel){ .name = name, .symbol = (uint32_t)i };
	} else {
		v.name = name;
		c->variables[c->n_variables++] = v;
	}
	return 0;
}

static int read_symbols(struct reading *r)
{
	size_t i, n;
	int result;

	for (i = 0; i < r->e.n_sections; i++) {
		r->symbols = elf64_section(&r->e, i);
		if (r->symbols.sh_type == SHT_SYMTAB)
			break;
	}
	if (i == r->e.n_sections)
		return 0;
	if (!elf64_holds(&r->e, &r->symbols))
		return -EINVAL;
	n = r->symbols.sh_size / sizeof(Elf64_Sym);
	result = make_room(r, n);
	for (i = 0; i < n && !result; i++)
		result = add_symbol(r, i);
	return result;
}

// ---- sections

static int spend_info(struct reading *r, const Elf64_Shdr *s)
{
	if (!elf64_holds(&r->e, s) || s->sh_size > r->info_left)
		return -EINVAL;
	r->info_left -= s->sh_size;
	return 0;
}

static struct cubin_kernel *by_symbol(struct cubin *c, uint32_t symbol)
{
	size_t low = 0, high = c->n_kernels;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->kernels[middle].symbol < symbol)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->n_kernels && c->kernels[low].symbol == symbol ? &c->kernels[low] : NULL;
}

// .nv.info, while the kernels are still in the order of their symbols.
static int read_file_info(struct reading *r, const Elf64_Shdr *s)
{
	const unsigned char *p, *end;
	struct info_record record;
	uint32_t symbol;
	int result = spend_info(r, s);

	if (result)
		return result;
	p = r->e.image + s->sh_offset;
	end = p + s->sh_size;
	while (info_next(&p, end, &record)) {
		struct cubin_kernel *k = info_names_kernel(&record, &symbol) ? by_symbol(r->c, symbol) : NULL;

		if (k)
			info_of_file(k, &record);
	}
	return 0;
}

static int read_file_section(struct reading *r, size_t i)
{
	Elf64_Shdr s = elf64_section(&r->e, i);
	const char *name;
	int result = elf64_name(&r->e, &s, &name);

	if (result)
		return result == -E2BIG ? 0 : result;
	if (strcmp(name, ".nv.info") == 0 && s.sh_type == SECTION_INFO)
		return read_file_info(r, &s);
	if (strcmp(name, ".nv.compat") == 0 && elf64_holds(&r->e, &s))
		r->c->arch |= info_is_arch(r->e.image + s.sh_offset, s.sh_size);
	r->c->debug |= strcmp(name, ".debug_info") == 0;
	return 0;
}

static int read_kernel_info(struct reading *r, struct cubin_kernel *k, const Elf64_Shdr *s)
{
	struct cubin *c = r->c;
	struct cubin_param *at = c->params + c->n_params;
	int result;

	if (k->params)
		return 0;
	result = spend_info(r, s);
	if (!result)
		result = info_of_kernel(k, r->e.image + s->sh_offset, s->sh_size, at,
					r->room_params - c->n_params);
	c->n_params += k->n_params;
	return result;
}

enum { OF_INFO, OF_TEXT, OF_SHARED, OF_BANK, OF_NONE };

// What a section's name says that it is, and the kernel's name in it.
static int kind_of(const char *name, const char **ret_kernel)
{
	static const char *const prefixes[OF_NONE] = { ".nv.info.", ".text.", ".nv.shared.",
						       ".nv.constant0." };
	int kind = 0;

	while (kind < OF_NONE && !(*ret_kernel = behind(name, prefixes[kind])))
		kind++;
	return kind;
}

static int read_kernel_section(struct reading *r, size_t i)
{
	Elf64_Shdr s = elf64_section(&r->e, i);
	struct cubin_kernel *k;
	const char *name, *of;
	int kind;

	if (elf64_name(&r->e, &s, &name))
		return 0;
	kind = kind_of(name, &of);
	k = kind < OF_NONE ? (struct cubin_kernel *)cubin_kernel(r->c, of) : NULL;
	if (!k)
		return 0;
	if (kind == OF_INFO && s.sh_type == SECTION_INFO)
		return read_kernel_info(r, k, &s);
	if (kind == OF_TEXT && !k->registers)
		k->registers = s.sh_info >> REGISTERS_SHIFT;
	else if (kind == OF_SHARED && s.sh_size <= MAX_SHARED)
		k->shared_bytes = (uint32_t)s.sh_size;
	else if (kind == OF_BANK && s.sh_size <= UINT32_MAX)
		k->constant_bytes = (uint32_t)s.sh_size;
	return 0;
}

// One block for the parameters of all kernels.
static int make_params(struct reading *r)
{
	struct cubin *c = r->c;
	uint64_t bytes = 0;

	for (size_t i = 0; i < r->e.n_sections; i++) {
		Elf64_Shdr s = elf64_section(&r->e, i);
		const char *name;

		if (s.sh_type != SECTION_INFO || elf64_name(&r->e, &s, &name) || !behind(name, ".nv.info."))
			continue;
		if (!elf64_holds(&r->e, &s) || s.sh_size > r->info_left - bytes)
			return -EINVAL;
		bytes += s.sh_size;
		r->room_params += info_count_params(r->e.image + s.sh_offset, s.sh_size);
	}
	c->params = calloc(r->room_params + 1, sizeof(*c->params));
	return c->params ? 0 : -ENOMEM;
}

static int read_all(struct reading *r)
{
	struct cubin *c = r->c;
	int result = read_symbols(r);

	for (size_t i = 0; i < r->e.n_sections && !result; i++)
		result = read_file_section(r, i);
	if (!result && c->n_kernels)
		qsort(c->kernels, c->n_kernels, sizeof(*c->kernels), compare_kernels);
	if (!result && c->n_variables)
		qsort(c->variables, c->n_variables, sizeof(*c->variables), compare_variables);
	if (!result)
		result = make_params(r);
	for (size_t i = 0; i < r->e.n_sections && !result; i++)
		result = read_kernel_section(r, i);
	return result;
}

int cubin_read(const void *image, size_t bytes, struct cubin *ret)
{
	struct cubin c = { 0 };
	struct reading r = { .c = &c, .info_left = bytes };
	int result = elf64_open(image, bytes, &r.e);

	if (result || !elf64_is_cubin(&r.e))
		return -EINVAL;
	c.linked = r.e.type == ET_EXEC;
	c.sm = (r.e.abi >= ABI_NEW ? r.e.flags >> 8 : r.e.flags) & 0xff;
	c.arch = r.e.abi < ABI_NEW && r.e.flags & FLAG_ARCH_OLD;
	result = read_all(&r);
	if (result)
		cubin_done(&c);
	else
		*ret = c;
	return result;
}

void cubin_done(struct cubin *c)
{
	free(c->kernels);
	free(c->variables);
	free(c->params);
	*c = (struct cubin){ 0 };
}
