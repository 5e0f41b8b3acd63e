// SPDX-License-Identifier: Apache-2.0
// Compares a file's entries with a host's card, by the rules of image/device.h; see the header.
#include "admin/image_fits.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"
#include "image/device.h"

// What is known of the host.
struct host {
	bool known; // enough to say what runs
	bool cpu;
	const char *cuda;
	struct image_device device;
};

// What one image has for the host.
struct best {
	const json_t *code, *ptx; // entries that run
	bool has_ptx;
	bool not_empty; // there is something that somebody could ask for
	bool newer_ptx; // one would run if its PTX were older
};

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

// 10 * major + minor; 0: it is no version.
static unsigned version_of(const char *text)
{
	unsigned major, minor;

	return sscanf(text, "%3u.%1u", &major, &minor) == 2 ? 10 * major + minor : 0;
}

static struct host read_host(const json_t *host)
{
	const char *backend = text_of(host, "backend");
	struct host h = { .cpu = strcmp(backend, "cpu") == 0, .cuda = text_of(host, "cuda") };
	unsigned cuda;

	h.device.sm = version_of(text_of(host, "compute_capability"));
	h.device.code = strcmp(backend, "cuda") == 0;
	// The cpu backend reads every version, and refuses what instructions it does not know.
	cuda = version_of(h.cuda);
	h.device.ptx = h.cpu ? 0 : image_ptx_of_cuda(1000 * (cuda / 10) + 10 * (cuda % 10));
	h.known = h.device.sm && (h.cpu || (h.device.code && h.device.ptx));
	return h;
}

static struct image_target target_of(const json_t *entry)
{
	const char *suffix = text_of(entry, "suffix");
	struct image_target t = { (unsigned)json_integer_value(json_object_get(entry, "sm")), REACH_ALL };

	if (suffix[0])
		t.reach = suffix[0] == 'a' ? REACH_ARCH : REACH_FAMILY;
	return t;
}

static const char *fit_text(enum image_fit fit)
{
	switch (fit) {
	case FIT_RUNS: return "runs";
	case FIT_ARCH: return "other architecture";
	case FIT_NEWER: return "newer architecture";
	case FIT_PTX: return "newer PTX";
	default: return "only PTX runs";
	}
}

static bool is_later(const json_t *entry, const json_t *than)
{
	return !than || json_integer_value(json_object_get(entry, "sm")) >=
			    json_integer_value(json_object_get(than, "sm"));
}

static const char *judge_entry(const struct host *h, json_t *entry, struct best *best)
{
	bool code = strcmp(text_of(entry, "kind"), "code") == 0;
	struct image_target t = target_of(entry);
	enum image_fit fit;

	if (!code && strcmp(text_of(entry, "kind"), "ptx") != 0) {
		best->not_empty = true;
		return "-";
	}
	best->has_ptx |= !code;
	best->not_empty |= !json_is_true(json_object_get(entry, "empty"));
	fit = code ? image_code_fit(&h->device, &t)
		   : image_ptx_fit(&h->device, &t, version_of(text_of(entry, "ptx")));
	best->newer_ptx |= fit == FIT_PTX;
	if (fit == FIT_RUNS && code && is_later(entry, best->code))
		best->code = entry;
	if (fit == FIT_RUNS && !code && is_later(entry, best->ptx))
		best->ptx = entry;
	return fit_text(fit);
}

static char *why_not(const struct host *h, const struct best *best)
{
	unsigned sm = h->device.sm;

	if (h->cpu && !best->has_ptx)
		return text_print("It has no PTX, and the cpu backend runs PTX only: it is loaded, but its "
				  "kernels cannot be launched.");
	if (h->cpu)
		return text_print("Its PTX is for later cards than compute capability %u.%u, which the cpu "
				  "backend is like.",
				  sm / 10, sm % 10);
	if (best->newer_ptx)
		return text_print("Its PTX is of a later version than the driver's (CUDA %s takes up to PTX "
				  "%u.%u), and no machine code in it is for compute capability %u.%u.",
				  h->cuda, h->device.ptx / 10, h->device.ptx % 10, sm / 10, sm % 10);
	return text_print(
	    "Nothing in it is for compute capability %u.%u: neither machine code nor PTX for it "
	    "or for older cards.",
	    sm / 10, sm % 10);
}

// What makes a program run on this card, and for PTX on later ones as well.
static char *how_to_build(const struct host *h, const struct best *best)
{
	unsigned sm = h->device.sm;

	if (best->newer_ptx)
		return text_print("-gencode arch=compute_%u,code=sm_%u", sm, sm);
	return text_print("-gencode arch=compute_%u,code=compute_%u", sm, sm);
}

static void set_text(json_t *o, const char *name, const char *text)
{
	json_object_set_new(o, name, text ? json_string(text) : json_null());
}

static bool judge_image(const struct host *h, json_t *image)
{
	bool link = json_is_true(json_object_get(image, "relocatable")), empty, runs;
	cleanup_free char *why = NULL, *build = NULL;
	const json_t *used;
	struct best best = { 0 };
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(image, "entries"), i, entry)
	    set_text(entry, "here", judge_entry(h, entry, &best));
	used = best.code ? best.code : best.ptx;
	empty = !used && !link && json_array_size(json_object_get(image, "entries")) && !best.not_empty;
	runs = used || link || empty;
	if (!runs) {
		why = why_not(h, &best);
		build = how_to_build(h, &best);
	}
	set_text(image, "runs",
		 link	     ? "link"
		 : best.code ? "code"
		 : best.ptx  ? "ptx"
		 : empty     ? "empty"
			     : "no");
	set_text(image, "arch", used ? text_of(used, "arch") : NULL);
	set_text(image, "why", why);
	set_text(image, "build", build);
	return runs;
}

void image_fits(json_t *document, const json_t *host)
{
	struct host h = read_host(host);
	json_t *images = json_object_get(document, "images"), *image;
	bool runs = true;
	size_t i;

	if (host)
		json_object_set_new(document, "host",
				    json_pack("{s:O?,s:O?,s:O?,s:O?}", "name", json_object_get(host, "name"),
					      "backend", json_object_get(host, "backend"),
					      "compute_capability",
					      json_object_get(host, "compute_capability"), "cuda",
					      json_object_get(host, "cuda")));
	else
		json_object_set_new(document, "host", json_null());
	if (!h.known) {
		json_object_set_new(document, "runs", json_null());
		return;
	}
	json_array_foreach(images, i, image) runs &= judge_image(&h, image);
	json_object_set_new(document, "runs", json_boolean(runs && json_array_size(images)));
}
