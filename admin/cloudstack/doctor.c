// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack doctor: runs the tables of checks and prints what they found. Changes
// nothing. Run by an operator, best as root.
#include "admin/cloudstack/doctor.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/cloudstack/doctor_rules.h"
#include "admin/cloudstack/host.h"
#include "admin/cloudstack/install.h"
#include "admin/table.h"
#include "admin/text.h"
#include "common/cleanup.h"

static const struct {
	const char *name;
	const struct doctor_check *checks;
} parts[] = {
	{ "vgpu", doctor_host_checks },
	{ "agent", doctor_agent_checks },
	{ "libvirt", doctor_libvirt_checks },
	{ "cloudstack", doctor_api_checks },
};

static const struct {
	const char *name;
	enum colour colour;
} results[] = {
	[DOCTOR_OK] = { "ok", COLOUR_GOOD },
	[DOCTOR_WARNING] = { "warning", COLOUR_WARNING },
	[DOCTOR_FAILED] = { "failed", COLOUR_BAD },
	[DOCTOR_NOT_CHECKED] = { "not checked", COLOUR_DIM },
};

// ---- what checks use ----

static char *print(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		text_memory(NULL);
	return text;
}

enum doctor_result doctor_say(struct doctor_finding *f, enum doctor_result result, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!f->text)
		f->text = print(format, args);
	va_end(args);
	return result;
}

void doctor_next(struct doctor_finding *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!f->next)
		f->next = print(format, args);
	va_end(args);
}

enum doctor_result doctor_say_lines(struct doctor_finding *f, enum doctor_result result, const char *lines,
				    const char *otherwise)
{
	size_t n = strcspn(lines, "\n");
	const char *more = lines[n] ? lines + n + 1 : "";

	if (more[0])
		doctor_next(f, "%.*s", (int)strcspn(more, "\n"), more);
	else
		doctor_next(f, "%s", otherwise);
	return doctor_say(f, result, "%.*s", (int)n, lines);
}

static long long started_of(const struct doctor *d, const char *pid,
			    bool (*is)(const char *cmdline, size_t n, const char *word), const char *word)
{
	cleanup_free char *cmdline_path = text_print("/proc/%s/cmdline", pid);
	cleanup_free char *stat_path = text_print("/proc/%s/stat", pid);
	size_t n;
	cleanup_free char *cmdline = host_read(d->root, cmdline_path, &n);
	cleanup_free char *process = NULL, *boot = NULL;

	if (!cmdline || !is(cmdline, n, word))
		return 0;
	process = host_read(d->root, stat_path, NULL);
	boot = host_read(d->root, "/proc/stat", NULL);
	return process && boot ? rules_started(process, boot, sysconf(_SC_CLK_TCK)) : -1;
}

long long doctor_started(const struct doctor *d, bool (*is)(const char *cmdline, size_t n, const char *word),
			 const char *word)
{
	cleanup_free char *path = host_path(d->root, "/proc");
	DIR *processes = opendir(path);
	const struct dirent *e;
	long long started = 0;

	if (!processes)
		return -1;
	while (!started && (e = readdir(processes))) {
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			started = started_of(d, e->d_name, is, word);
	}
	closedir(processes);
	return started;
}

bool doctor_is_after(const struct doctor *d, long long started, const char *path)
{
	cleanup_free char *whole = host_path(d->root, path);
	struct stat st;

	// Both are cut to seconds.
	return stat(whole, &st) < 0 || started + 1 >= st.st_ctim.tv_sec;
}

// ---- printing ----

static void print_finding(const struct output *o, const json_t *row, enum doctor_result result)
{
	enum colour colour = o->colours ? results[result].colour : COLOUR_NONE;
	cleanup_free char *text = text_clean(cloudstack_text(row, "text"));
	cleanup_free char *next = text_clean(cloudstack_text(row, "next"));

	fprintf(o->out, "%s%-11s%s  %-14s  %s\n", colour_begin(colour), results[result].name,
		colour_end(colour), cloudstack_text(row, "check"), text);
	if (next[0])
		fprintf(o->out, "%-11s  %-14s  -> %s\n", "", "", next);
}

static void print_sum(const struct output *o, const size_t count[])
{
	fprintf(o->out, "\n%zu ok, %zu warnings, %zu failed, %zu not checked\n", count[DOCTOR_OK],
		count[DOCTOR_WARNING], count[DOCTOR_FAILED], count[DOCTOR_NOT_CHECKED]);
}

// ---- running ----

static enum doctor_result run_check(struct doctor *d, const struct doctor_check *check,
				    struct doctor_finding *f)
{
	if (check->as_root && geteuid() != 0) {
		doctor_next(f, "run it as root");
		return doctor_say(f, DOCTOR_NOT_CHECKED, "only root can see it");
	}
	return check->look(d, f);
}

static enum admin_exit run(struct doctor *d)
{
	struct admin_call *c = d->call;
	json_t *report = json_pack("{s:[]}", "checks");
	size_t count[sizeof(results) / sizeof(results[0])] = { 0 };

	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		for (const struct doctor_check *check = parts[p].checks; check->name; check++) {
			struct doctor_finding f = { 0 };
			enum doctor_result result = run_check(d, check, &f);
			json_t *row = json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "part", parts[p].name, "check",
						check->name, "result", results[result].name, "text", f.text,
						"next", result == DOCTOR_OK ? NULL : f.next);

			count[result]++;
			json_array_append_new(json_object_get(report, "checks"), row);
			if (!c->json)
				print_finding(&c->output, row, result);
			free(f.text);
			free(f.next);
		}
	}
	json_object_set_new(report, "warnings", json_integer((json_int_t)count[DOCTOR_WARNING]));
	json_object_set_new(report, "failed", json_integer((json_int_t)count[DOCTOR_FAILED]));
	if (c->json)
		cloudstack_print_json(&d->cloud, report);
	else
		print_sum(&c->output, count);
	json_decref(report);
	return count[DOCTOR_FAILED] ? ADMIN_REFUSED : ADMIN_OK;
}

static char *read_or_nothing(const struct doctor *d, const char *path)
{
	char *text = host_read(d->root, path, NULL);

	return text ? text : text_print("%s", "");
}

int cloudstack_doctor(struct admin_call *c)
{
	struct doctor d = { .call = c, .root = host_root(admin_option(c, "root")), .cloud.call = c };
	cleanup_free char *why = NULL, *wrong = NULL;
	enum admin_exit e = ADMIN_USAGE;

	d.properties = read_or_nothing(&d, INSTALL_AGENT_PROPERTIES);
	d.settings = read_or_nothing(&d, INSTALL_SETTINGS);
	d.qemu_conf = read_or_nothing(&d, "/etc/libvirt/qemu.conf");
	wrong = install_plan_make(&d.plan, d.properties);
	if (!tree_open(&d.tree, d.root[0] ? d.root : "/", &why) || wrong)
		admin_complain("%s", wrong ? wrong : why);
	else if (admin_connect(c))
		e = run(&d);
	cloudstack_end(&d.cloud);
	json_decref(d.host);
	json_decref(d.gpus);
	json_decref(d.slots);
	install_plan_done(&d.plan);
	tree_close(&d.tree);
	free(d.properties);
	free(d.settings);
	free(d.qemu_conf);
	free(d.root);
	return e;
}
