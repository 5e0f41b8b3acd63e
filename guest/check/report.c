// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in vgpu-guest-check.
#include "guest/check/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "guest/check/files.h"

#define UUID_TEXT 37

// ---- the table ----

void report_table(FILE *out, const struct machine *m, const struct check_result *results, bool ready)
{
	const char *seen = personality_name(m->seen), *target = personality_name(m->target);
	unsigned count[4] = { 0 };

	fprintf(out, "vgpu-guest-check %s, %s %s\n\n", VGPU_VERSION,
		seen	    ? "personality"
		: m->socket ? "socket"
			    : "no vGPU",
		seen	    ? seen
		: m->socket ? m->socket
			    : "");
	for (unsigned i = 0; i < n_checks; i++) {
		const struct check_result *r = &results[i];

		count[r->state]++;
		fprintf(out, "%-13s %-12s %s\n", checks[i].name, check_state_name(r->state), r->text);
		if (r->next[0])
			fprintf(out, "%-13s %12s %s\n", "", "->", r->next);
	}
	fprintf(out, "\n%s%s%s: %u ok, %u warning%s, %u failed, %u not checked\n",
		ready ? "Ready" : "Not ready", target ? " for " : "", target ? target : "", count[CHECK_OK],
		count[CHECK_WARNING], count[CHECK_WARNING] == 1 ? "" : "s", count[CHECK_FAILED],
		count[CHECK_NOT_DONE]);
}

// ---- JSON ----

// Printable ASCII, whatever is in it; NULL: null.
static void put_string(FILE *out, const char *text)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text < ' ' || *text > '~' ? '?' : *text, out);
	}
	fputc('"', out);
}

static void put_member(FILE *out, const char *name, const char *value, const char *behind)
{
	fprintf(out, "\"%s\": ", name);
	put_string(out, value && value[0] ? value : NULL);
	fputs(behind, out);
}

// Tells machines apart and does not give the id away, which is to be kept (machine-id(5)): 64 bits of FNV-1a
// of what are 128.
static void machine_hash(const struct machine *m, char ret[17])
{
	uint64_t hash = 0xcbf29ce484222325u;
	char line[64];

	ret[0] = 0;
	if (!file_line(m, line, sizeof(line), "/etc/machine-id") || strlen(line) != 32)
		return;
	for (const char *p = line; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
	snprintf(ret, 17, "%016" PRIx64, hash);
}

// As the hypervisor calls the machine; its file is root's to read.
static void vm_uuid(const struct machine *m, char ret[UUID_TEXT])
{
	char line[64];

	ret[0] = 0;
	if (file_line(m, line, sizeof(line), "/sys/class/dmi/id/product_uuid") &&
	    strlen(line) == UUID_TEXT - 1)
		memcpy(ret, line, UUID_TEXT);
}

static void put_versions(FILE *out, const struct machine *m)
{
	static const char *const names[N_VERSIONS] = { "libcuda", "libnvidia-ml", "libvgpu", "nvidia-smi",
						       "dkms" };

	fputs("  \"versions\": {", out);
	put_member(out, "program", VGPU_VERSION, ", ");
	for (unsigned i = 0; i < N_VERSIONS; i++)
		put_member(out, names[i], m->versions[i], ", ");
	fputs("\"device\": ", out);
	if (m->device_version)
		fprintf(out, "%" PRIu32 "},\n", m->device_version);
	else
		fputs("null},\n", out);
}

void report_json(FILE *out, const struct machine *m, const struct check_result *results, bool ready)
{
	char uuid[UUID_TEXT], hash[17], when[32];
	time_t now = time(NULL);
	struct tm tm;

	vm_uuid(m, uuid);
	machine_hash(m, hash);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	fputs("{\n  ", out);
	put_member(out, "time", when, ",\n  ");
	put_member(out, "vm_uuid", uuid, ",\n  ");
	put_member(out, "machine", hash, ",\n  ");
	put_member(out, "kernel", m->release, ",\n  ");
	put_member(out, "socket", m->socket, ",\n  ");
	put_member(out, "personality", personality_name(m->seen), ",\n  ");
	put_member(out, "for", personality_name(m->target), ",\n");
	fprintf(out, "  \"ready\": %s,\n", ready ? "true" : "false");
	put_versions(out, m);
	fputs("  \"checks\": [\n", out);
	for (unsigned i = 0; i < n_checks; i++) {
		fputs("    {", out);
		put_member(out, "check", checks[i].name, ", ");
		put_member(out, "state", check_state_name(results[i].state), ", ");
		put_member(out, "text", results[i].text, ", ");
		put_member(out, "next", results[i].next, i + 1 < n_checks ? "},\n" : "}\n");
	}
	fputs("  ]\n}\n", out);
}
