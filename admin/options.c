// SPDX-License-Identifier: Apache-2.0
// Command lines are parsed twice by argp: up to the command's name, and what stands behind the action's, with
// options that are made from the table. Runs before anything is asked.
#include "admin/options.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "admin/help.h"
#include "admin/items.h"
#include "admin/names.h"
#include "admin/suggest.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define SOCKET_DEFAULT "/run/vgpu/api.sock"

#define KEY_COMMON  1000 // and the option's number in admin_common_options
#define KEY_ACTION  2000 // and the option's number in the action's
#define KEY_HELP    3000
#define KEY_VERSION 3001
#define KEY_NAMES   3002

enum {
	COMMON_SOCKET,
	COMMON_URL,
	COMMON_TOKEN,
	COMMON_CA,
	COMMON_JSON,
	COMMON_YES,
	COMMON_WIDE,
	COMMON_COLOUR
};

const struct admin_option admin_common_options[] = {
	[COMMON_SOCKET] = { "socket", "PATH", NULL, TYPE_TEXT, NAMES_FILE, NULL,
			    "The mediator's API socket. Default: $VGPU_ADMIN_SOCKET, else " SOCKET_DEFAULT
			    "." },
	[COMMON_URL] = { "url", "URL", NULL, TYPE_TEXT, NAMES_NONE, NULL,
			 "https://HOST:PORT of a mediator on another host (api.listen), in place "
			 "of the socket. Default: $VGPU_ADMIN_URL." },
	[COMMON_TOKEN] = { "token-file", "FILE", NULL, TYPE_TEXT, NAMES_FILE, NULL,
			   "The token for --url, on the file's first line. Nobody else may be able "
			   "to read it. Default: $VGPU_ADMIN_TOKEN_FILE." },
	[COMMON_CA] = { "ca-file", "FILE", NULL, TYPE_TEXT, NAMES_FILE, NULL,
			"Certificates (PEM) that the one of --url must come from, in place of the system's. "
			"Default: $VGPU_ADMIN_CA_FILE." },
	[COMMON_JSON] = { "json", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL,
			  "Print the API's answer as it is, for programs." },
	[COMMON_YES] = { "yes", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL,
			 "Do not ask before something hurts. Needed where stdin is no terminal." },
	[COMMON_WIDE] = { "wide", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL,
			  "Do not fit tables to the terminal." },
	[COMMON_COLOUR] = { "color", "WHEN", NULL, TYPE_TEXT, NAMES_WORDS, "auto|always|never",
			    "auto (default: on a terminal, and not where NO_COLOR is set), always or "
			    "never." },
	{ 0 },
};

// What one of the two parsers works on.
struct parsing {
	struct admin_call *call;
	const char *colour;
	bool wide;
	size_t n_arguments;
	int rest; // the first: where the command's name stands; 0: nowhere
};

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

// Whether it is one of "a|b".
static bool is_word(const char *words, const char *arg)
{
	size_t n = strlen(arg);

	for (; *words; words += strcspn(words, "|"), words += *words == '|') {
		if (strcspn(words, "|") == n && strncmp(words, arg, n) == 0)
			return true;
	}
	return false;
}

static void check_typed(const struct admin_option *o, const char *arg, struct argp_state *state)
{
	long long n;
	char *end;

	if (o->words && !is_word(o->words, arg))
		argp_error(state, "--%s: '%s' is not one of %s", o->name, arg, o->words);
	if (o->type == TYPE_AT && admin_parse_at(arg, time(NULL), &n) < 0)
		argp_error(state, "--%s: '%s' is not a time like -24h, 2026-11-29 or '2026-11-29 10:00'",
			   o->name, arg);
	if (o->type != TYPE_INTEGER)
		return;
	errno = 0;
	n = strtoll(arg, &end, 10);
	if (errno || end == arg || *end || n < 0)
		argp_error(state, "--%s: '%s' is not a number", o->name, arg);
}

static void take_common(struct parsing *p, int which, const char *arg, struct argp_state *state)
{
	struct admin_call *c = p->call;

	switch (which) {
	case COMMON_SOCKET:
		c->target.socket = arg;
		c->target.url = NULL;
		break;
	case COMMON_URL: c->target.url = arg; break;
	case COMMON_TOKEN: c->target.token_file = arg; break;
	case COMMON_CA: c->target.ca_file = arg; break;
	case COMMON_JSON: c->json = true; break;
	case COMMON_YES: c->yes = true; break;
	case COMMON_WIDE: p->wide = true; break;
	default:
		check_typed(&admin_common_options[which], arg, state);
		p->colour = arg;
		break;
	}
}

static void take_argument(struct parsing *p, const char *arg, struct argp_state *state)
{
	const struct admin_action *a = p->call->action;
	size_t i = p->n_arguments;
	char *error;

	if (a->arguments && i < ADMIN_MAX_ARGUMENTS && a->arguments[i].name) {
		if (!arg[0])
			argp_error(state, "%s is empty", a->arguments[i].name);
		if (a->arguments[i].words && !is_word(a->arguments[i].words, arg))
			argp_error(state, "%s: '%s' is not %s", a->arguments[i].name, arg,
				   a->arguments[i].help);
		p->call->argument[i] = arg;
		p->n_arguments++;
		return;
	}
	if (!a->items && !a->fields)
		argp_error(state, "'%s' is too much", arg);
	error = items_take(p->call->items, arg, a->items, a->fields);
	if (error)
		argp_error(state, "%s", error);
}

static void check_complete(struct parsing *p, struct argp_state *state)
{
	const struct admin_action *a = p->call->action;
	const struct admin_argument *next = a->arguments ? &a->arguments[p->n_arguments] : NULL;

	if (next && next->name && !next->optional)
		argp_error(state, "%s is missing: %s", next->name, next->help);
	if (a->items_required && !json_object_size(p->call->items))
		argp_error(state, "ITEM=VALUE is missing: 'vgpu-admin limit items' lists them");
}

// argp's short options are keys that are characters.
static int key_of(const struct admin_option *o, int otherwise)
{
	return o->letter ? o->letter : otherwise;
}

static error_t parse_action(int key, char *arg, struct argp_state *state)
{
	struct parsing *p = state->input;

	if (key >= KEY_COMMON && key < KEY_ACTION) {
		take_common(p, key - KEY_COMMON, arg, state);
		return 0;
	}
	for (size_t i = 0; p->call->action->options && p->call->action->options[i].name; i++) {
		const struct admin_option *o = &p->call->action->options[i];

		if (key != key_of(o, KEY_ACTION + (int)i))
			continue;
		check_typed(o, arg ? arg : "", state);
		p->call->option[i] = arg ? arg : "";
		return 0;
	}
	switch (key) {
	case KEY_HELP: help_command(stdout, p->call->command); exit(ADMIN_OK);
	case ARGP_KEY_ARG: take_argument(p, arg, state); return 0;
	case ARGP_KEY_END: check_complete(p, state); return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_first(int key, char *arg, struct argp_state *state)
{
	struct parsing *p = state->input;

	if (key >= KEY_COMMON && key < KEY_ACTION) {
		take_common(p, key - KEY_COMMON, arg, state);
		return 0;
	}
	switch (key) {
	case KEY_HELP: help_all(stdout); exit(ADMIN_OK);
	case KEY_VERSION: puts("vgpu-admin " VGPU_VERSION); exit(ADMIN_OK);
	case KEY_NAMES: exit(names_print(p->call, arg));
	case ARGP_KEY_ARG:
		p->rest = state->next - 1;
		state->next = state->argc;
		return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

static void add(struct argp_option *to, size_t *n, const struct admin_option *o, int key)
{
	for (int i = 0; o && o[i].name; i++)
		to[(*n)++] = (struct argp_option){ .name = o[i].name,
						   .arg = o[i].value,
						   .key = key_of(&o[i], key + i) };
}

// Room for the common ones, an action's and those of these parsers' own.
#define MOST_OPTIONS (sizeof(admin_common_options) / sizeof(admin_common_options[0]) + ADMIN_MAX_OPTIONS + 5)

static void run_parser(struct parsing *p, argp_parser_t parse, unsigned flags, int argc, char **argv)
{
	struct argp_option options[MOST_OPTIONS] = { 0 };
	const struct argp argp = { .options = options, .parser = parse };
	size_t n = 0;

	add(options, &n, admin_common_options, KEY_COMMON);
	if (p->call->action)
		add(options, &n, p->call->action->options, KEY_ACTION);
	options[n++] = (struct argp_option){ .name = "help", .key = KEY_HELP };
	// argp's messages speak of it.
	options[n++] = (struct argp_option){ .name = "usage", .key = KEY_HELP, .flags = OPTION_HIDDEN };
	if (!p->call->action) {
		options[n++] = (struct argp_option){ .name = "version", .key = KEY_VERSION };
		options[n++] = (struct argp_option){
			.name = "names", .key = KEY_NAMES, .arg = "KIND", .flags = OPTION_HIDDEN
		};
	}
	argp_err_exit_status = ADMIN_USAGE;
	if (argp_parse(&argp, argc, argv, flags | ARGP_NO_HELP, NULL, p) != 0)
		exit(ADMIN_USAGE);
}

static _Noreturn void unknown_command(const char *word)
{
	const char *names[64];
	const char *near;
	size_t n = 0;

	while (admin_commands[n] && n < sizeof(names) / sizeof(names[0])) {
		names[n] = admin_commands[n]->name;
		n++;
	}
	near = suggest(word, names, n);
	if (near)
		admin_complain("there is no command '%s': do you mean '%s'?", word, near);
	else
		admin_complain("there is no command '%s': 'vgpu-admin help' lists them", word);
	exit(ADMIN_USAGE);
}

// What others call the same thing.
static const char *synonym(const struct admin_command *c, const char *word)
{
	static const char *const words[][2] = {
		{ "add", "create" }, { "new", "create" },	{ "remove", "delete" }, { "rm", "delete" },
		{ "end", "kill" },   { "ls", "list" },		{ "get", "show" },	{ "change", "set" },
		{ "edit", "set" },   { "unassign", "release" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i][0], word) == 0 && admin_find_action(c, words[i][1]))
			return words[i][1];
	}
	return NULL;
}

static _Noreturn void unknown_action(const struct admin_command *c, const char *word)
{
	const char *names[32], *near = synonym(c, word);
	size_t n = 0;

	while (c->actions[n].name && n < sizeof(names) / sizeof(names[0])) {
		names[n] = c->actions[n].name;
		n++;
	}
	if (!near)
		near = suggest(word, names, n);
	if (near)
		admin_complain("'%s' has no '%s': do you mean '%s %s'?", c->name, word, c->name, near);
	else
		admin_complain("'%s' has no '%s': 'vgpu-admin help %s' lists what it has", c->name, word,
			       c->name);
	exit(ADMIN_USAGE);
}

static bool takes_value(const struct admin_option *o, const char *word)
{
	for (; o && o->name; o++) {
		if (o->value && strncmp(word, "--", 2) == 0 && strcmp(word + 2, o->name) == 0)
			return true;
	}
	return false;
}

// Whether the value of this option is the next word.
static bool has_value_behind(const struct admin_command *c, const char *word)
{
	bool has = takes_value(admin_common_options, word);

	for (const struct admin_action *a = c->actions; a->name; a++)
		has |= takes_value(a->options, word);
	return has;
}

// The first word behind the command's name that is no option; options may stand before it. 0: there is none.
static int find_word(const struct admin_command *c, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (argv[i][0] != '-')
			return i;
		if (has_value_behind(c, argv[i]))
			i++;
	}
	return 0;
}

// Returns how many words of argv the command's and action's names are, which come first then.
static int find_action(struct admin_call *c, int argc, char **argv)
{
	const struct admin_action *named;
	char *word;
	int at;

	c->command = admin_find_command(argv[0]);
	if (!c->command)
		unknown_command(argv[0]);
	c->action = &c->command->actions[0];
	at = admin_has_actions(c->command) ? find_word(c->command, argc, argv) : 0;
	if (!at)
		return 1;
	word = argv[at];
	named = admin_find_action(c->command, word);
	if (!named)
		unknown_action(c->command, word);
	memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof(*argv));
	argv[1] = word;
	c->action = named;
	return 2;
}

static void settle_output(struct admin_call *c, const struct parsing *p)
{
	struct winsize size;
	bool terminal = isatty(STDOUT_FILENO);

	c->output.out = stdout;
	if (terminal && !p->wide && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		c->output.width = size.ws_col;
	if (strcmp(p->colour, "auto") == 0)
		c->output.colours = terminal && !environment("NO_COLOR") &&
				    !(environment("TERM") && strcmp(environment("TERM"), "dumb") == 0);
	else
		c->output.colours = strcmp(p->colour, "always") == 0;
}

void options_parse(struct admin_call *c, int argc, char **argv)
{
	struct parsing p = { .call = c, .colour = "auto" };
	char *name;
	int words;

	c->target = (struct http_target){ .socket = environment("VGPU_ADMIN_SOCKET"),
					  .url = environment("VGPU_ADMIN_URL"),
					  .token_file = environment("VGPU_ADMIN_TOKEN_FILE"),
					  .ca_file = environment("VGPU_ADMIN_CA_FILE") };
	if (!c->target.socket)
		c->target.socket = SOCKET_DEFAULT;
	c->items = text_memory(json_object());
	run_parser(&p, parse_first, ARGP_IN_ORDER, argc, argv);
	if (!p.rest) {
		help_all(stderr);
		exit(ADMIN_USAGE);
	}
	argv += p.rest;
	argc -= p.rest;
	words = find_action(c, argc, argv);
	name =
	    text_print("vgpu-admin %s%s%s", c->command->name, c->action->name[0] ? " " : "", c->action->name);
	argv[words - 1] = name; // for argp's messages, as long as the program runs
	run_parser(&p, parse_action, 0, argc - words + 1, argv + words - 1);
	settle_output(c, &p);
}
