// SPDX-License-Identifier: Apache-2.0
// The commands of vgpu-admin as one table: what is parsed, helped, completed, asked of the API and written in
// the manual comes from it. Each command is a file (cmd_NAME.c) that exports its entry; commands.c lists
// them.
#ifndef VGPU_ADMIN_COMMAND_H
#define VGPU_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "admin/view.h"

#define ADMIN_MAX_ARGUMENTS 4
#define ADMIN_MAX_OPTIONS   8

// What vgpu-admin's exit status says.
enum admin_exit {
	ADMIN_OK = 0,
	ADMIN_REFUSED = 1,	 // by the server, or by the user when asked
	ADMIN_USAGE = 2,	 // nothing was sent
	ADMIN_NO_CONNECTION = 3, // or what answered is no mediator
};

// What stands for a value, for completion.
enum admin_names {
	NAMES_NONE,
	NAMES_TENANT,
	NAMES_POOL,
	NAMES_PROFILE,
	NAMES_VM,
	NAMES_SLOT,
	NAMES_SESSION,
	NAMES_COMMAND,
	NAMES_FILE,
	NAMES_WORDS,   // those of the argument or option
	NAMES_OF_KIND, // of what the argument before says
	NAMES_KINDS,
};

// Where a value goes: a part of the path where the template has {field}, else the query of a GET and the body
// of anything else. Without a field it is the command's own business.
struct admin_argument {
	const char *name; // as the synopsis has it; NULL ends a list
	const char *field;
	bool optional;
	enum admin_names names;
	const char *words; // "a|b"
	const char *help;
};

enum admin_type {
	TYPE_FLAG, // true when given
	TYPE_TEXT,
	TYPE_INTEGER,
	TYPE_AT, // a time of day, sent as seconds since 1970
};

struct admin_option {
	const char *name;  // without the dashes; NULL ends a list
	const char *value; // what its value is called; NULL of a flag
	const char *field;
	enum admin_type type;
	enum admin_names names;
	const char *words;
	const char *help;
	char letter; // -N; 0: none
};

struct admin_call;

// One thing that can be done.
struct admin_action {
	const char *name;	   // NULL ends a list; "" of a command that is its only action
	const char *help;	   // one sentence
	const char *method, *path; // of the API; NULL: asks nobody
	const struct admin_argument *arguments;
	const struct admin_option *options;
	unsigned items;		   // enum policy_for: takes ITEM=VALUE of mediator/limit/policy.def
	const char *const *fields; // takes these as NAME=VALUE too; NULL ends it
	bool items_required;
	const char *question; // asked before it is done; the first argument stands for %s
	const char *done;     // said when it is done and there is nothing else to print
	const struct view *view;
	int (*run)(struct admin_call *c); // in place of asking and printing by view; enum admin_exit
};

struct admin_command {
	const char *name, *help;
	const char *text;		    // paragraphs for the manual, divided by newlines
	const struct admin_action *actions; // the first is meant when none is named
	const char *const *examples;	    // a command and what it is for, in turn; NULL ends it
};

extern const struct admin_command *const admin_commands[]; // NULL ends it

const struct admin_command *admin_find_command(const char *name);
const struct admin_action *admin_find_action(const struct admin_command *c, const char *name);
bool admin_has_actions(const struct admin_command *c);

// Options that every action takes.
extern const struct admin_option admin_common_options[];

// "pool add POOL [--gpu=UUID] [ITEM=VALUE...]"; to be freed.
char *admin_synopsis(const struct admin_command *c, const struct admin_action *a);

#endif
