// SPDX-License-Identifier: Apache-2.0
// vgpu-admin image: what a file of GPU code has in it, and whether this host runs it. Needs no mediator; one
// that answers tells what card there is.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/commands.h"
#include "admin/image_contents.h"
#include "admin/image_fits.h"
#include "admin/image_map.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define PATIENCE_S 5l

static const struct view_column file_columns[] = {
	{ "File", "file", FORMAT_TEXT },
	{ "Kind", "kind", FORMAT_TEXT },
	{ "Size", "bytes", FORMAT_BYTES },
	{ "Images", "images", FORMAT_LENGTH },
	{ 0 },
};
static const struct view file_view = { .columns = file_columns };

static const struct view_column host_columns[] = {
	{ "This host", "name", FORMAT_TEXT },
	{ "Backend", "backend", FORMAT_TEXT },
	{ "Compute capability", "compute_capability", FORMAT_TEXT },
	{ "CUDA", "cuda", FORMAT_TEXT },
	{ 0 },
};
static const struct view host_view = { .columns = host_columns };

static const struct view_column entry_columns[] = {
	{ "FORM", "kind", FORMAT_TEXT },
	{ "ARCH", "arch", FORMAT_TEXT },
	{ "PTX", "ptx", FORMAT_TEXT },
	{ "N", "n", FORMAT_COUNT, .drop = 1 },
	{ "SIZE", "bytes", FORMAT_BYTES },
	{ "COMPRESSED", "compression", FORMAT_TEXT, .drop = 3 },
	{ "DEBUG", "debug", FORMAT_YES, .drop = 4 },
	{ "HERE", "here", FORMAT_TEXT },
	{ "OPTIONS", "options", FORMAT_TEXT, .cut = true, .drop = 2 },
	{ 0 },
};
static const struct view entry_view = { .columns = entry_columns };

static const struct view_column kernel_columns[] = {
	{ "KERNEL", "name", FORMAT_TEXT, .cut = true },
	{ "PARAMS", "params", FORMAT_LENGTH },
	{ "BYTES", "param_bytes", FORMAT_COUNT },
	{ "REGISTERS", "registers", FORMAT_COUNT, .drop = 1 },
	{ "SHARED", "shared_bytes", FORMAT_BYTES, .drop = 2 },
	{ "STACK", "stack_bytes", FORMAT_BYTES, .drop = 4 },
	{ "THREADS", "max_threads", FORMAT_COUNT, .drop = 3 },
	{ "BARRIERS", "barriers", FORMAT_COUNT, .drop = 5 },
	{ 0 },
};
static const struct view kernel_view = { .columns = kernel_columns };

static const struct view_column variable_columns[] = {
	{ "VARIABLE", "name", FORMAT_TEXT, .cut = true },
	{ "BYTES", "bytes", FORMAT_COUNT },
	{ "CONSTANT", "constant", FORMAT_YES },
	{ 0 },
};
static const struct view variable_view = { .columns = variable_columns };

// ---- forms

// Entries that differ in nothing but what is in them make one row: a library has hundreds of each.
static bool is_same_form(const json_t *a, const json_t *b)
{
	static const char *const fields[] = {
		"kind", "arch", "ptx", "compression", "debug", "here", "options"
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		json_t *mine = json_object_get(a, fields[i]), *its = json_object_get(b, fields[i]);

		if ((mine || its) && !json_equal(mine, its))
			return false;
	}
	return true;
}

static void add_number(json_t *row, const char *name, json_int_t n)
{
	json_object_set_new(row, name, json_integer(json_integer_value(json_object_get(row, name)) + n));
}

static void add_form(json_t *forms, const json_t *entry)
{
	json_t *row = NULL;
	size_t i;

	json_array_foreach(forms, i, row)
	{
		if (is_same_form(row, entry))
			break;
	}
	if (i == json_array_size(forms)) {
		row = json_copy((json_t *)entry);
		json_object_del(row, "kernels");
		json_object_del(row, "variables");
		json_object_set_new(row, "bytes", json_integer(0));
		json_array_append_new(forms, row);
	}
	add_number(row, "n", 1);
	add_number(row, "bytes", json_integer_value(json_object_get(entry, "bytes")));
}

// Machine code before what becomes it, each by architecture.
static int compare_forms(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	json_int_t mine = json_integer_value(json_object_get(x, "sm"));
	json_int_t its = json_integer_value(json_object_get(y, "sm"));
	int kinds = strcmp(json_string_value(json_object_get(x, "kind")),
			   json_string_value(json_object_get(y, "kind")));

	return kinds ? kinds : mine < its ? -1 : mine > its;
}

static json_t *sorted(const json_t *forms)
{
	size_t n = json_array_size(forms);
	json_t **rows = text_memory(calloc(n + 1, sizeof(json_t *))), *list = json_array();

	for (size_t i = 0; i < n; i++)
		rows[i] = json_array_get(forms, i);
	qsort(rows, n, sizeof(json_t *), compare_forms);
	for (size_t i = 0; i < n; i++)
		json_array_append(list, rows[i]);
	free(rows);
	return list;
}

static void print_forms(const json_t *images, const struct output *o)
{
	json_t *forms = json_array(), *list, *image, *entry;
	size_t i, k;

	json_array_foreach((json_t *)images, i, image)
	{
		json_array_foreach(json_object_get(image, "entries"), k, entry) add_form(forms, entry);
	}
	list = sorted(forms);
	if (json_array_size(list)) {
		fputc('\n', o->out);
		view_print_list(&entry_view, list, o);
	}
	json_decref(list);
	json_decref(forms);
}

// ---- kernels

static void print_list(const struct view *view, const json_t *list, const struct output *o)
{
	if (json_array_size(list))
		view_print_list(view, list, o);
}

static void print_kernels(const json_t *images, const struct output *o)
{
	json_t *image, *entry;
	size_t i, k;

	json_array_foreach((json_t *)images, i, image)
	{
		const char *member = json_string_value(json_object_get(image, "member"));

		json_array_foreach(json_object_get(image, "entries"), k, entry)
		{
			cleanup_free char *clean = text_clean(member ? member : "");

			if (!json_object_get(entry, "kernels"))
				continue;
			fprintf(o->out, "\n%s%s%s %s\n", clean, member ? ": " : "",
				json_string_value(json_object_get(entry, "kind")),
				json_string_value(json_object_get(entry, "arch")));
			print_list(&kernel_view, json_object_get(entry, "kernels"), o);
			print_list(&variable_view, json_object_get(entry, "variables"), o);
		}
	}
}

// ---- the verdict

struct count {
	size_t code, ptx, no, link, empty, all;
	const json_t *first_no;
	const char *arch; // of what is used, when it is the same everywhere; "" if not
};

static struct count count_images(const json_t *images)
{
	struct count n = { 0 };
	json_t *image;
	size_t i;

	json_array_foreach((json_t *)images, i, image)
	{
		const char *runs = json_string_value(json_object_get(image, "runs"));
		const char *arch = json_string_value(json_object_get(image, "arch"));

		n.all++;
		n.code += strcmp(runs, "code") == 0;
		n.ptx += strcmp(runs, "ptx") == 0;
		n.link += strcmp(runs, "link") == 0;
		n.empty += strcmp(runs, "empty") == 0;
		if (strcmp(runs, "no") == 0 && !n.no++)
			n.first_no = image;
		if (arch && (strcmp(runs, "code") == 0 || strcmp(runs, "ptx") == 0))
			n.arch = !n.arch || strcmp(n.arch, arch) == 0 ? arch : "";
	}
	return n;
}

static void say_runs(const struct count *n, bool cpu, FILE *out)
{
	cleanup_free char *arch = text_clean(n->arch ? n->arch : "");

	if (n->code)
		fprintf(out, "%zu of %zu run with machine code%s%s.\n", n->code, n->all,
			arch[0] ? " for " : "", arch);
	if (n->ptx)
		fprintf(out, "%zu of %zu run%s with PTX%s%s, which %s.\n", n->ptx, n->all,
			n->ptx == 1 ? "s" : "", arch[0] ? " for " : "", arch,
			cpu ? "the cpu backend compiles, if it knows all instructions in it"
			    : "the driver compiles");
	if (n->link)
		fprintf(out, "%zu of %zu %s to be linked (nvcc, nvlink) before anything can load %s.\n",
			n->link, n->all, n->link == 1 ? "is" : "are", n->link == 1 ? "it" : "them");
	if (n->empty)
		fprintf(out, "%zu of %zu %s no kernels, as nvcc puts one into every program.\n", n->empty,
			n->all, n->empty == 1 ? "has" : "have");
}

static void say_fits(const json_t *document, const struct output *o)
{
	FILE *out = o->out;
	const json_t *host = json_object_get(document, "host");
	const char *backend = json_string_value(json_object_get(host, "backend"));
	struct count n;

	if (!json_is_object(host))
		return;
	fputc('\n', out);
	view_print_object(&host_view, host, o);
	if (json_is_null(json_object_get(document, "runs"))) {
		fputs(backend && strcmp(backend, "null") == 0
			  ? "The null backend loads anything and runs nothing.\n"
			  : "What this host runs is not known: its mediator does not tell it, or not yet.\n",
		      out);
		return;
	}
	n = count_images(json_object_get(document, "images"));
	say_runs(&n, backend && strcmp(backend, "cpu") == 0, out);
	if (n.no)
		fprintf(out, "%zu of %zu cannot run here. %s%s\nBuild with: nvcc %s\n", n.no, n.all,
			n.no > 1 ? "The first: " : "", json_string_value(json_object_get(n.first_no, "why")),
			json_string_value(json_object_get(n.first_no, "build")));
}

// ---- the command

// The card, if a mediator tells it; why not is said on stderr. NULL: not known.
static json_t *ask_host(struct admin_call *c)
{
	struct http_answer a = { 0 };
	json_t *answer = NULL, *host;

	http_set_patience(c->http, PATIENCE_S);
	if (http_ask(c->http, "GET", "/v1/gpus", NULL, &a) < 0)
		admin_complain("what this host runs is not known: %s", http_failure(c->http));
	else if (a.status != 200)
		admin_complain("what this host runs is not known: %s: status %ld", http_place(c->http),
			       a.status);
	else
		answer = json_loadb(a.body ? a.body : "", a.len, 0, NULL);
	http_answer_done(&a);
	host = json_incref(json_array_get(json_object_get(answer, "gpus"), 0));
	json_decref(answer);
	return host;
}

static enum admin_exit print(const struct admin_call *c, const json_t *document)
{
	const char *damaged = json_string_value(json_object_get(document, "damaged"));
	const json_t *images = json_object_get(document, "images");
	bool known = json_is_string(json_object_get(document, "kind"));

	if (c->json) {
		cleanup_free char *text = text_memory(json_dumps(document, JSON_INDENT(2)));

		text_put_json(c->output.out, text, strlen(text));
		fputc('\n', c->output.out);
	} else {
		view_print_object(&file_view, document, &c->output);
		print_forms(images, &c->output);
		print_kernels(images, &c->output);
		say_fits(document, &c->output);
	}
	if (!known)
		admin_complain(
		    "it is neither PTX, a fat binary or a cubin, nor a program, library or object file");
	else if (damaged)
		admin_complain("%s What is shown was found before that.", damaged);
	else if (!json_array_size(images))
		admin_complain("there is no GPU code in it");
	if (json_is_true(json_object_get(document, "kernels_left_out")))
		admin_complain("there are more kernels than are listed (VGPU_MAX_IMAGE_LISTED)");
	return known && !damaged && json_array_size(images) ? ADMIN_OK : ADMIN_REFUSED;
}

static int image_run(struct admin_call *c)
{
	struct image_map file;
	enum admin_exit r;
	json_t *document, *host;
	int error;

	if (!admin_connect(c)) // connects to nothing, but says what is wrong with --url and the like
		return ADMIN_USAGE;
	error = image_map(c->argument[0], &file);
	if (error) {
		cleanup_free char *name = text_clean(c->argument[0]);

		admin_complain("%s: %s", name, error == -EINVAL ? "not a file" : strerror(-error));
		return ADMIN_REFUSED;
	}
	document = image_contents(c->argument[0], &file, admin_flag(c, "kernels"));
	host = json_array_size(json_object_get(document, "images")) ? ask_host(c) : NULL;
	image_fits(document, host);
	r = print(c, document);
	json_decref(host);
	json_decref(document);
	image_map_done(&file);
	return r;
}

static const struct admin_argument arguments[] = { { "FILE", NULL, false, NAMES_FILE, NULL,
						     "PTX, a fat binary or a cubin; or a program, shared "
						     "library, object file or archive with such in it." },
						   { 0 } };
static const struct admin_option options[] = { { "kernels", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL,
						 "List the kernels and variables of each form too." },
					       { 0 } };

static const struct admin_action actions[] = {
	{ "",
	  "Shows what GPU code a file has, for which architectures, and with a mediator whether this host "
	  "runs "
	  "it.",
	  .arguments = arguments, .options = options, .run = image_run },
	{ 0 },
};

static const char *const examples[] = { "image /usr/lib/libmodel.so",
					"for which cards a library was built",
					"image --kernels kernels.ptx",
					"its kernels with their parameters",
					"image --json app | jq .runs",
					"whether it runs here, for scripts",
					NULL };

const struct admin_command admin_command_image = {
	"image", "GPU code in a file, and whether it runs here",
	"Nothing is sent and nothing is run: the file is read here, and the mediator is asked for its card.\n"
	"A program holds each of its images in several forms, and a driver takes one: machine code for its "
	"architecture, else PTX for an earlier one, which it compiles. HERE says which of them this host "
	"could "
	"take. An image of which it can take none fails to load with CUDA_ERROR_NO_BINARY_FOR_GPU, or, from "
	"PTX "
	"of a later version than the driver's, with CUDA_ERROR_UNSUPPORTED_PTX_VERSION.\n"
	"The exit status is 1 when there is no GPU code in the file, or it contradicts itself.",
	actions, examples
};
