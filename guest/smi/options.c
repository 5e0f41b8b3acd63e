// SPDX-License-Identifier: Apache-2.0
// Parsing the command line; see the header. argp is of no use: -lms is one option and -i0 none.
#include <stdlib.h>
#include <string.h>

#include "guest/smi/options.h"
#include "guest/smi/screens.h"

#define MAX_LOOP_S   86400
#define MAX_ROUNDS   1000000000
#define DEFAULT_LOOP "5" // seconds of -l without a value

enum option {
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_LIST,
	OPTION_DETAILS,
	OPTION_ID,
	OPTION_FILE,
	OPTION_DISPLAY,
	OPTION_LOOP,
	OPTION_LOOP_MS,
	OPTION_QUERY_GPUS,
	OPTION_QUERY_APPS,
	OPTION_QUERY_GPUS_HELP,
	OPTION_QUERY_APPS_HELP,
	OPTION_FORMAT,
	OPTION_ROUNDS,
	OPTION_DELAY,
};

enum value_rule { NO_VALUE, VALUE, VALUE_OR_DEFAULT };
enum where { EVERYWHERE, NOT_MONITOR, MONITOR };

static const struct description {
	const char *brief, *full; // NULL: none
	enum option option;
	enum value_rule rule;
	enum where where;
} descriptions[] = {
	{ "-h", "--help", OPTION_HELP, NO_VALUE, EVERYWHERE },
	{ NULL, "--version", OPTION_VERSION, NO_VALUE, NOT_MONITOR },
	{ "-L", "--list-gpus", OPTION_LIST, NO_VALUE, NOT_MONITOR },
	{ "-q", "--query", OPTION_DETAILS, NO_VALUE, NOT_MONITOR },
	{ "-i", "--id", OPTION_ID, VALUE, EVERYWHERE },
	{ "-f", "--filename", OPTION_FILE, VALUE, EVERYWHERE },
	{ "-d", "--display", OPTION_DISPLAY, VALUE, NOT_MONITOR },
	{ "-d", "--delay", OPTION_DELAY, VALUE, MONITOR },
	{ "-c", "--count", OPTION_ROUNDS, VALUE, MONITOR },
	{ "-l", "--loop", OPTION_LOOP, VALUE_OR_DEFAULT, NOT_MONITOR },
	{ "-lms", "--loop-ms", OPTION_LOOP_MS, VALUE, NOT_MONITOR },
	{ NULL, "--query-gpu", OPTION_QUERY_GPUS, VALUE, NOT_MONITOR },
	{ NULL, "--query-compute-apps", OPTION_QUERY_APPS, VALUE, NOT_MONITOR },
	{ NULL, "--help-query-gpu", OPTION_QUERY_GPUS_HELP, NO_VALUE, NOT_MONITOR },
	{ NULL, "--help-query-compute-apps", OPTION_QUERY_APPS_HELP, NO_VALUE, NOT_MONITOR },
	{ NULL, "--format", OPTION_FORMAT, VALUE, NOT_MONITOR },
};

static bool monitors(const struct smi_options *o)
{
	return o->screen == SMI_MONITOR_DEVICES || o->screen == SMI_MONITOR_PROCESSES;
}

// The option that a word names, its value behind "=" in *value (NULL: none there); NULL: no such option.
static const struct description *find(const struct smi_options *o, const char *word, const char **value)
{
	const char *equals = strchr(word, '=');
	size_t length = equals ? (size_t)(equals - word) : strlen(word);

	*value = equals ? equals + 1 : NULL;
	for (size_t i = 0; i < sizeof(descriptions) / sizeof(descriptions[0]); i++) {
		const struct description *d = &descriptions[i];
		const char *names[] = { d->brief, d->full };

		if (d->where != EVERYWHERE && (d->where == MONITOR) != monitors(o))
			continue;
		for (int n = 0; n < 2; n++)
			if (names[n] && strlen(names[n]) == length && !strncmp(names[n], word, length))
				return d;
	}
	return NULL;
}

// A number from 1 to most, 0: it is none.
static unsigned int number(const char *text, unsigned int most)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return end == text || *end || *text == '-' || n > most ? 0 : (unsigned int)n;
}

static int take_number(const char *text, unsigned int most, const char *what, unsigned int *ret, FILE *out)
{
	*ret = number(text, most);
	if (*ret)
		return 0;
	fprintf(out, "ERROR: %s takes a number from 1 to %u, not \"%s\".\n", what, most, text);
	return SMI_EXIT_USAGE;
}

static int take_format(struct smi_options *o, const char *text, FILE *out)
{
	bool csv = false;
	const char *p = text;

	for (;;) {
		size_t length = strcspn(p, ",");

		if (length == 3 && !strncmp(p, "csv", 3))
			csv = true;
		else if (length == 8 && !strncmp(p, "noheader", 8))
			o->no_header = true;
		else if (length == 7 && !strncmp(p, "nounits", 7))
			o->no_units = true;
		else {
			fprintf(out, "ERROR: format option \"%.*s\" is not known.\n", (int)length, p);
			return SMI_EXIT_USAGE;
		}
		if (!p[length])
			break;
		p += length + 1;
	}
	if (csv)
		return 0;
	fprintf(out, "ERROR: --format has to name csv.\n");
	return SMI_EXIT_USAGE;
}

static int take_screen(struct smi_options *o, enum smi_screen screen, const char *query, FILE *out)
{
	if (o->screen != SMI_SUMMARY && o->screen != screen && !monitors(o)) {
		fprintf(out, "ERROR: only one of -L, -q and the --query options can be given.\n");
		return SMI_EXIT_USAGE;
	}
	o->screen = screen;
	o->query = query;
	return 0;
}

static int apply(struct smi_options *o, enum option option, const char *value, FILE *out)
{
	const char *text = value ? value : "";
	int r;

	switch (option) {
	case OPTION_HELP: o->screen = SMI_HELP; return 0;
	case OPTION_VERSION: o->screen = SMI_VERSION; return 0;
	case OPTION_LIST: return take_screen(o, SMI_LIST, NULL, out);
	case OPTION_DETAILS: return take_screen(o, SMI_DETAILS, NULL, out);
	case OPTION_QUERY_GPUS: return take_screen(o, SMI_QUERY_GPUS, value, out);
	case OPTION_QUERY_APPS: return take_screen(o, SMI_QUERY_APPS, value, out);
	case OPTION_QUERY_GPUS_HELP: return take_screen(o, SMI_QUERY_GPUS_HELP, NULL, out);
	case OPTION_QUERY_APPS_HELP: return take_screen(o, SMI_QUERY_APPS_HELP, NULL, out);
	case OPTION_ID: o->id = value; return 0;
	case OPTION_FILE: o->file = value; return 0;
	case OPTION_DISPLAY: o->display = value; return 0;
	case OPTION_FORMAT: return take_format(o, text, out);
	case OPTION_ROUNDS: return take_number(text, MAX_ROUNDS, "-c", &o->rounds, out);
	case OPTION_LOOP_MS: return take_number(text, MAX_LOOP_S * 1000u, "-lms", &o->loop_ms, out);
	case OPTION_LOOP:
	case OPTION_DELAY:
		r = take_number(text, MAX_LOOP_S, option == OPTION_LOOP ? "-l" : "-d", &o->loop_ms, out);
		o->loop_ms *= 1000;
		return r;
	}
	return 0;
}

// What fits together; the words are the driver's tool's where programs may look for them.
static int check(const struct smi_options *o, FILE *out)
{
	if (o->screen == SMI_LIST && o->id) {
		fprintf(out, "ERROR: Option -i is not valid for this command. Please run 'nvidia-smi -h' for "
			     "help.\n\n");
		return SMI_EXIT_USAGE;
	}
	if (o->display && o->screen != SMI_DETAILS) {
		fprintf(out, "ERROR: Option -d needs -q. Please run 'nvidia-smi -h' for help.\n\n");
		return SMI_EXIT_USAGE;
	}
	return 0;
}

int smi_options_parse(struct smi_options *o, int argc, char **argv, FILE *out)
{
	int i = 1, r;

	*o = (struct smi_options){ .screen = SMI_SUMMARY };
	if (argc > 1 && (!strcmp(argv[1], "dmon") || !strcmp(argv[1], "pmon"))) {
		o->screen = argv[1][0] == 'd' ? SMI_MONITOR_DEVICES : SMI_MONITOR_PROCESSES;
		o->loop_ms = 1000;
		i++;
	}
	for (; i < argc; i++) {
		const char *value;
		const struct description *d = find(o, argv[i], &value);

		if (!d) {
			fprintf(out, "ERROR: Option %s is not recognized. Please run 'nvidia-smi -h'.\n\n",
				argv[i]);
			return SMI_EXIT_OPTION;
		}
		if (d->rule != NO_VALUE && !value && i + 1 < argc && argv[i + 1][0] != '-')
			value = argv[++i];
		if (d->rule == VALUE_OR_DEFAULT && !value)
			value = DEFAULT_LOOP;
		if ((d->rule == NO_VALUE) != !value || (value && !*value)) {
			fprintf(out, "ERROR: Option %s %s. Please run 'nvidia-smi -h'.\n\n", argv[i],
				d->rule == NO_VALUE ? "takes no value" : "needs a value");
			return SMI_EXIT_USAGE;
		}
		r = apply(o, d->option, value, out);
		if (r)
			return r;
	}
	return check(o, out);
}

void smi_options_help(FILE *out)
{
	fputs("nvidia-smi [OPTIONS]: what this machine's vgpu tells about itself, in the driver tool's "
	      "formats.\n\n"
	      "  (none)                     a table of the GPUs and the programs on them\n"
	      "  -L, --list-gpus            a line a GPU\n"
	      "  -q, --query                everything about each GPU\n"
	      "      -d, --display=LIST     only these parts: MEMORY, UTILIZATION, ECC, TEMPERATURE, POWER, "
	      "CLOCK,\n"
	      "                             COMPUTE, PIDS, PERFORMANCE, PAGE_RETIREMENT, ACCOUNTING, "
	      "ROW_REMAPPER, ...\n"
	      "      --query-gpu=LIST       these properties (--help-query-gpu lists them)\n"
	      "      --query-compute-apps=LIST\n"
	      "                             the programs on the GPUs (--help-query-compute-apps)\n"
	      "      --format=csv[,noheader][,nounits]\n"
	      "  dmon [-d SECONDS] [-c N]   a line a GPU every second\n"
	      "  pmon [-d SECONDS] [-c N]   a line a program every second\n"
	      "  -i, --id=LIST              only these GPUs: index, UUID or PCI bus id\n"
	      "  -f, --filename=FILE        write there\n"
	      "  -l, --loop=SECONDS         again and again, until interrupted\n"
	      "  -lms, --loop-ms=MS         the same in milliseconds\n"
	      "      --version              versions of what is behind it\n"
	      "  -h, --help                 this text\n\n"
	      "Settings of the card (clocks, limits, modes) are the operator's and cannot be changed here.\n",
	      out);
}
