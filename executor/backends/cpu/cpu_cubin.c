// SPDX-License-Identifier: Apache-2.0
// Lists the kernels and variables of a cubin; see the header. Executor process, loop thread. Every offset and
// length is the tenant's word and is checked against the image before it is used.
#include "executor/backends/cpu/cpu_cubin.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#define MACHINE_CUDA	 190
#define TYPE_OBJECT	 13	     // of a variable's symbol in code that is to be linked; else STT_OBJECT
#define OTHER_ENTRY	 0x10	     // st_other of a kernel; device functions lack it
#define SECTION_INFO	 0x70000000u // sh_type of .nv.info.KERNEL
#define SECTION_ZEROS	 0x70000007u // sh_type of .nv.global in code that is to be linked
#define REGISTERS_SHIFT	 24	     // of a .text section's sh_info
#define DEFAULT_THREADS	 1024
#define FORMAT_NONE	 1
#define FORMAT_SIZED	 4
#define ATTR_MAX_THREADS 0x05
#define ATTR_KPARAM	 0x17
#define ATTR_PARAM_BYTES 0x19
#define ATTR_KPARAM2	 0x45

struct kernel {
	struct ptx_kernel_info info;
	char *name;
	struct ptx_param *params;
};

struct variable {
	struct cpu_variable shown;
	char *name;
	size_t section;
	uint64_t offset; // in the section
};

struct cpu_cubin {
	struct kernel *kernels; // sorted by name
	size_t n;
	struct variable *variables; // sorted by name
	size_t n_variables;
	unsigned char *bytes; // initial contents of the sections that variables lie in, one behind the other
	size_t n_bytes;
	size_t memory; // bytes of all of it
};

struct elf {
	const unsigned char *image;
	size_t bytes;
	const unsigned char *sections; // n_sections times Elf64_Shdr, perhaps not aligned
	size_t n_sections, names;      // names: section of the sections' names
};

static bool inside(const struct elf *e, uint64_t at, uint64_t bytes)
{
	return at <= e->bytes && bytes <= e->bytes - at;
}

static Elf64_Shdr section(const struct elf *e, size_t i)
{
	Elf64_Shdr s;

	memcpy(&s, e->sections + i * sizeof(s), sizeof(s));
	return s;
}

// The text at an offset of a string section, or NULL.
static const char *text_at(const struct elf *e, size_t strings, uint64_t at)
{
	Elf64_Shdr s;

	if (strings >= e->n_sections)
		return NULL;
	s = section(e, strings);
	if (s.sh_type == SHT_NOBITS || !inside(e, s.sh_offset, s.sh_size) || at >= s.sh_size)
		return NULL;
	if (!memchr(e->image + s.sh_offset + at, 0, s.sh_size - at))
		return NULL;
	return (const char *)e->image + s.sh_offset + at;
}

static int open_elf(const void *image, size_t bytes, struct elf *ret)
{
	struct elf e = { .image = image, .bytes = bytes };
	Elf64_Ehdr h;

	if (bytes < sizeof(h))
		return -EINVAL;
	memcpy(&h, image, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_machine != MACHINE_CUDA || h.e_shentsize != sizeof(Elf64_Shdr) ||
	    !inside(&e, h.e_shoff, sizeof(Elf64_Shdr)))
		return -EINVAL;
	e.sections = e.image + h.e_shoff;
	e.n_sections = h.e_shnum;
	e.names = h.e_shstrndx;
	// More sections than the header has room to say: the first one says.
	if (!h.e_shnum)
		e.n_sections = section(&e, 0).sh_size;
	if (h.e_shstrndx == SHN_XINDEX)
		e.names = section(&e, 0).sh_link;
	if (e.n_sections > (bytes - h.e_shoff) / sizeof(Elf64_Shdr))
		return -EINVAL;
	*ret = e;
	return 0;
}

static uint32_t word(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t half(const unsigned char *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

// ---- .nv.info.KERNEL: records of {format, attribute, 16 bits, perhaps more}

struct record {
	unsigned format, attribute;
	uint16_t value; // inline, or the length of the bytes
	const unsigned char *bytes;
};

static bool next_record(const unsigned char **at, const unsigned char *end, struct record *ret)
{
	const unsigned char *p = *at;

	if (end - p < 4)
		return false;
	*ret = (struct record){ .format = p[0], .attribute = p[1], .value = half(p + 2), .bytes = p + 4 };
	if (ret->format < FORMAT_NONE || ret->format > FORMAT_SIZED)
		return false;
	*at = p + 4;
	if (ret->format != FORMAT_SIZED)
		return true;
	if (end - *at < ret->value)
		return false;
	*at += ret->value;
	return true;
}

static bool is_param(const struct record *r)
{
	return r->format == FORMAT_SIZED && r->value >= 12 &&
	       (r->attribute == ATTR_KPARAM || r->attribute == ATTR_KPARAM2);
}

static int take_params(struct kernel *k, const unsigned char *p, const unsigned char *end)
{
	uint32_t total = k->info.param_bytes;
	struct record r;

	k->params = calloc(k->info.n_params, sizeof(*k->params));
	if (!k->params)
		return -ENOMEM;
	while (next_record(&p, end, &r)) {
		uint32_t ordinal, offset, size;

		if (!is_param(&r))
			continue;
		ordinal = half(r.bytes + 4);
		offset = half(r.bytes + 6);
		size = r.attribute == ATTR_KPARAM ? word(r.bytes + 8) >> 18 : half(r.bytes + 8);
		if (ordinal >= k->info.n_params || k->params[ordinal].size || !size || offset > total ||
		    size > total - offset)
			return -EINVAL;
		k->params[ordinal] = (struct ptx_param){ offset, size, 1 };
	}
	k->info.params = k->params;
	return 0;
}

static int take_info(struct kernel *k, const unsigned char *begin, size_t bytes)
{
	const unsigned char *p = begin, *end = begin + bytes;
	struct record r;

	while (next_record(&p, end, &r)) {
		if (is_param(&r))
			k->info.n_params++;
		else if (r.attribute == ATTR_PARAM_BYTES && r.format != FORMAT_SIZED)
			k->info.param_bytes = r.value;
		else if (r.attribute == ATTR_MAX_THREADS && r.format == FORMAT_SIZED && r.value >= 12)
			for (unsigned i = 0, n = 1; i < 3; i++, k->info.max_threads = n)
				n *= word(r.bytes + 4 * i) % (DEFAULT_THREADS + 1);
	}
	if (k->info.param_bytes > VGPU_MAX_PARAM_BYTES)
		return -EINVAL;
	if (!k->info.max_threads || k->info.max_threads > DEFAULT_THREADS)
		k->info.max_threads = DEFAULT_THREADS;
	return k->info.n_params ? take_params(k, begin, end) : 0;
}

// ---- the list

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct kernel *)a)->info.name, ((const struct kernel *)b)->info.name);
}

static struct kernel *find(const struct cpu_cubin *c, const char *name)
{
	struct kernel key = { .info.name = name };

	return c->n ? bsearch(&key, c->kernels, c->n, sizeof(*c->kernels), compare) : NULL;
}

static bool is_kernel(const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_other & OTHER_ENTRY && s->st_shndx != SHN_UNDEF;
}

static int add_kernel(struct cpu_cubin *c, const char *name)
{
	size_t length = strlen(name);
	struct kernel *k = &c->kernels[c->n];

	if (!length || length > VGPU_MAX_SYMBOL)
		return 0; // nobody could ask for it
	*k = (struct kernel){ .name = strdup(name) };
	if (!k->name)
		return -ENOMEM;
	k->info.name = k->name;
	c->n++;
	c->memory += sizeof(*k) + length + 1;
	return 0;
}

// Where variables of the whole module live; not shared memory, and not the banks of single kernels.
static bool holds_variables(const struct elf *e, size_t i, Elf64_Shdr *ret)
{
	static const char bank[] = ".nv.constant";
	const char *name;

	if (i >= e->n_sections)
		return false;
	*ret = section(e, i);
	name = text_at(e, e->names, ret->sh_name);
	if (!name)
		return false;
	if (strncmp(name, bank, sizeof(bank) - 1) == 0)
		return !strchr(name + sizeof(bank) - 1, '.');
	return strcmp(name, ".nv.global") == 0 || strcmp(name, ".nv.global.init") == 0;
}

static bool is_variable(const struct elf *e, const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);
	Elf64_Shdr home;

	return (type == STT_OBJECT || type == TYPE_OBJECT) && s->st_size &&
	       holds_variables(e, s->st_shndx, &home) && s->st_value <= home.sh_size &&
	       s->st_size <= home.sh_size - s->st_value;
}

static int add_variable(struct cpu_cubin *c, const char *name, const Elf64_Sym *s)
{
	struct variable *v = &c->variables[c->n_variables];
	size_t length = strlen(name);

	if (!length || length > VGPU_MAX_SYMBOL)
		return 0;
	*v = (struct variable){ .name = strdup(name), .section = s->st_shndx, .offset = s->st_value };
	if (!v->name)
		return -ENOMEM;
	v->shown = (struct cpu_variable){ .name = v->name, .size = s->st_size };
	c->n_variables++;
	c->memory += sizeof(*v) + length + 1;
	return 0;
}

// Whether the section holds initial values of variables.
static bool holds_bytes(const struct elf *e, size_t i, Elf64_Shdr *ret)
{
	return holds_variables(e, i, ret) && ret->sh_type != SHT_NOBITS && ret->sh_type != SECTION_ZEROS;
}

// Memory for the initial values. Sections may overlap in a hostile file, but all that is kept of it is never
// more than the file.
static int make_bytes(struct cpu_cubin *c, const struct elf *e)
{
	Elf64_Shdr s;
	size_t all = 0;

	for (size_t i = 0; i < e->n_sections; i++) {
		if (!holds_bytes(e, i, &s))
			continue;
		if (!inside(e, s.sh_offset, s.sh_size) || s.sh_size > e->bytes - all)
			return -EINVAL;
		all += s.sh_size;
	}
	c->bytes = malloc(all + 1);
	if (!c->bytes)
		return -ENOMEM;
	c->memory += all + 1;
	return 0;
}

// Keeps the contents of a section that variables lie in.
static void keep_bytes(struct cpu_cubin *c, const struct elf *e, size_t i)
{
	Elf64_Shdr s;

	if (!holds_bytes(e, i, &s))
		return;
	for (size_t k = 0; k < c->n_variables; k++)
		if (c->variables[k].section == i)
			c->variables[k].shown.bytes = c->bytes + c->n_bytes + c->variables[k].offset;
	memcpy(c->bytes + c->n_bytes, e->image + s.sh_offset, s.sh_size);
	c->n_bytes += s.sh_size;
}

static Elf64_Sym symbol(const struct elf *e, const Elf64_Shdr *table, size_t i)
{
	Elf64_Sym s;

	memcpy(&s, e->image + table->sh_offset + i * sizeof(s), sizeof(s));
	return s;
}

static int make_room(struct cpu_cubin *c, size_t kernels, size_t variables)
{
	struct variable *v;
	struct kernel *k;

	if (kernels > VGPU_MAX_IMAGE_SYMBOLS - c->n || variables > VGPU_MAX_IMAGE_SYMBOLS - c->n_variables)
		return -ENOMEM;
	k = reallocarray(c->kernels, c->n + kernels + 1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	c->kernels = k;
	v = reallocarray(c->variables, c->n_variables + variables + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	c->variables = v;
	return 0;
}

// The kernels and variables that the symbols of one table name.
static int add_symbols(struct cpu_cubin *c, const struct elf *e, const Elf64_Shdr *table)
{
	size_t n = table->sh_size / sizeof(Elf64_Sym), kernels = 0, variables = 0;
	int r;

	if (!inside(e, table->sh_offset, table->sh_size))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		Elf64_Sym s = symbol(e, table, i);

		kernels += is_kernel(&s);
		variables += is_variable(e, &s);
	}
	r = make_room(c, kernels, variables);
	for (size_t i = 0; i < n && !r; i++) {
		Elf64_Sym s = symbol(e, table, i);
		const char *name = text_at(e, table->sh_link, s.st_name);

		if (is_kernel(&s))
			r = name ? add_kernel(c, name) : -EINVAL;
		else if (is_variable(e, &s))
			r = name ? add_variable(c, name, &s) : -EINVAL;
	}
	return r;
}

// What a section tells of the kernel in its name.
static int take_section(struct cpu_cubin *c, const struct elf *e, const Elf64_Shdr *s)
{
	static const char text[] = ".text.", info[] = ".nv.info.", shared[] = ".nv.shared.";
	const char *name = text_at(e, e->names, s->sh_name);
	struct kernel *k;

	if (!name)
		return -EINVAL;
	if (strncmp(name, info, sizeof(info) - 1) == 0 && s->sh_type == SECTION_INFO) {
		k = find(c, name + sizeof(info) - 1);
		if (!k || k->params || k->info.n_params)
			return 0;
		return inside(e, s->sh_offset, s->sh_size) ? take_info(k, e->image + s->sh_offset, s->sh_size)
							   : -EINVAL;
	}
	if (strncmp(name, text, sizeof(text) - 1) == 0) {
		k = find(c, name + sizeof(text) - 1);
		if (k)
			k->info.regs_estimate = s->sh_info >> REGISTERS_SHIFT;
	} else if (strncmp(name, shared, sizeof(shared) - 1) == 0) {
		k = find(c, name + sizeof(shared) - 1);
		if (k && s->sh_size <= PTX_MAX_SHARED)
			k->info.shared_static = (uint32_t)s->sh_size;
	}
	return 0;
}

static int compare_variables(const void *a, const void *b)
{
	return strcmp(((const struct variable *)a)->name, ((const struct variable *)b)->name);
}

static int read_all(struct cpu_cubin *c, const struct elf *e)
{
	int r = 0;

	for (size_t i = 0; i < e->n_sections && !r; i++) {
		Elf64_Shdr s = section(e, i);

		if (s.sh_type == SHT_SYMTAB)
			r = add_symbols(c, e, &s);
	}
	if (r)
		return r;
	if (c->n)
		qsort(c->kernels, c->n, sizeof(*c->kernels), compare);
	if (c->n_variables)
		qsort(c->variables, c->n_variables, sizeof(*c->variables), compare_variables);
	for (size_t i = 0; i < c->n; i++)
		c->kernels[i].info.max_threads = DEFAULT_THREADS;
	if (c->n_variables)
		r = make_bytes(c, e);
	for (size_t i = 0; i < e->n_sections && !r; i++) {
		Elf64_Shdr s = section(e, i);

		r = take_section(c, e, &s);
		if (c->n_variables)
			keep_bytes(c, e, i);
	}
	for (size_t i = 0; i < c->n; i++)
		c->memory += c->kernels[i].info.n_params * sizeof(struct ptx_param);
	return r;
}

int cpu_cubin_read(const void *image, size_t bytes, struct cpu_cubin **ret)
{
	struct cpu_cubin *c;
	struct elf e;
	int r = open_elf(image, bytes, &e);

	if (r)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = read_all(c, &e);
	if (r)
		cpu_cubin_free(c);
	else
		*ret = c;
	return r;
}

void cpu_cubin_free(struct cpu_cubin *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++) {
		free(c->kernels[i].name);
		free(c->kernels[i].params);
	}
	for (size_t i = 0; i < c->n_variables; i++)
		free(c->variables[i].name);
	free(c->kernels);
	free(c->variables);
	free(c->bytes);
	free(c);
}

size_t cpu_cubin_count(const struct cpu_cubin *c)
{
	return c->n;
}

const struct ptx_kernel_info *cpu_cubin_kernel_at(const struct cpu_cubin *c, size_t i)
{
	return &c->kernels[i].info;
}

const struct ptx_kernel_info *cpu_cubin_kernel(const struct cpu_cubin *c, const char *name)
{
	const struct kernel *k = find(c, name);

	return k ? &k->info : NULL;
}

const struct cpu_variable *cpu_cubin_variable(const struct cpu_cubin *c, const char *name)
{
	struct variable key = { .name = (char *)name };
	const struct variable *v = c->n_variables ? bsearch(&key, c->variables, c->n_variables,
							    sizeof(*c->variables), compare_variables)
						  : NULL;

	return v ? &v->shown : NULL;
}

size_t cpu_cubin_memory(const struct cpu_cubin *c)
{
	return c->memory;
}
