// SPDX-License-Identifier: Apache-2.0
// The checks of vgpu-admin cloudstack doctor: tables of them, one for each part of a host, and what
// they share.
#ifndef VGPU_ADMIN_CLOUDSTACK_DOCTOR_H
#define VGPU_ADMIN_CLOUDSTACK_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

#include "admin/call.h"
#include "admin/cloudstack/cloudstack.h"
#include "admin/cloudstack/install_plan.h"
#include "admin/cloudstack/tree.h"

enum doctor_result { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAILED, DOCTOR_NOT_CHECKED };

// What earlier checks found is there for later ones.
struct doctor {
	struct admin_call *call;
	char *root; // as host.h has it
	struct tree tree;
	struct install_plan plan;
	char *properties, *settings, *qemu_conf; // texts; "": there is no such file
	json_t *gpus, *slots;			 // the mediator's; NULL: it does not answer
	struct cloudstack cloud;		 // api NULL: not filled in, or wrong
	json_t *host;				 // CloudStack's; NULL: not known
};

// What one check has to say. The first call counts.
struct doctor_finding {
	char *text, *next; // next: what to do unless it is ok, in one line; NULL: nothing
};

struct doctor_check {
	const char *name; // NULL ends a table
	bool as_root;	  // can be seen by root only
	enum doctor_result (*look)(struct doctor *d, struct doctor_finding *f);
};

extern const struct doctor_check doctor_host_checks[], doctor_agent_checks[], doctor_libvirt_checks[],
    doctor_api_checks[];

// Returns result.
enum doctor_result doctor_say(struct doctor_finding *f, enum doctor_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_next(struct doctor_finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Of a text of several lines the first is what is wrong, the second what to do; otherwise: what to
// do without one.
enum doctor_result doctor_say_lines(struct doctor_finding *f, enum doctor_result result, const char *lines,
				    const char *otherwise);

// When the first program that is meant (rules_is_program, rules_is_java) started, in seconds since
// 1970; 0: none runs, -1: not to be seen.
long long doctor_started(const struct doctor *d, bool (*is)(const char *cmdline, size_t n, const char *word),
			 const char *word);
// Whether started is at or after the last change of the file.
bool doctor_is_after(const struct doctor *d, long long started, const char *path);

#endif
