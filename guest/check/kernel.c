// SPDX-License-Identifier: Apache-2.0
// Checks of the kernel and of vgpu.ko in it: version, whether the module is there and loaded, what DKMS says,
// whether the kernel would refuse it. Runs in vgpu-guest-check.
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "guest/check/check.h"
#include "guest/check/files.h"
#include "guest/check/modprobe.h"
#include "guest/check/rules.h"

#define OLDEST_MAJOR 6 // that guest/kmod is written for
#define OLDEST_MINOR 1
#define SECURE_BOOT  "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

void check_kernel(struct machine *m, struct check_result *r)
{
	if (!m->kernel_major) {
		check_say(r, CHECK_FAILED, "the kernel's version \"%s\" cannot be understood", m->release);
		check_next(r, "use Linux %d.%d or later", OLDEST_MAJOR, OLDEST_MINOR);
	} else if (m->kernel_major < OLDEST_MAJOR ||
		   (m->kernel_major == OLDEST_MAJOR && m->kernel_minor < OLDEST_MINOR)) {
		check_say(r, CHECK_FAILED, "Linux %s; vgpu.ko is for %d.%d and later", m->release,
			  OLDEST_MAJOR, OLDEST_MINOR);
		check_next(r, "install a newer kernel (Debian 12 has 6.1) and restart");
	} else {
		check_say(r, CHECK_OK, "Linux %s", m->release);
	}
}

// ---- the module ----

static void next_to_build(const struct machine *m, struct check_result *r)
{
	struct file_names sources = file_names(m, "/usr/src");
	const char *version = NULL;

	for (unsigned i = 0; i < sources.count; i++)
		if (!strncmp(sources.name[i], "vgpu-", 5))
			version = sources.name[i] + 5;
	if (!version)
		check_next(r, "apt install vgpu-guest-dkms linux-headers-%s", m->release);
	else if (!file_exists(m, "/lib/modules/%s/build/Makefile", m->release))
		check_next(r, "apt install linux-headers-%s; dkms install vgpu/%s -k %s", m->release, version,
			   m->release);
	else
		check_next(r, "dkms install vgpu/%s -k %s; modprobe vgpu", version, m->release);
	file_names_free(&sources);
}

void check_module(struct machine *m, struct check_result *r)
{
	char where[CHECK_PATH_BYTES];
	bool refused;

	m->module_loaded = rule_modules_has(m->modules, "vgpu") || file_exists(m, "/sys/module/vgpu");
	if (m->module_loaded) {
		check_say(r, CHECK_OK, "vgpu is loaded");
		return;
	}
	if (!rule_dep_has(m->modules_dep, "vgpu")) {
		check_say(r, CHECK_FAILED, "vgpu is not loaded, and there is none for Linux %s", m->release);
		next_to_build(m, r);
		return;
	}
	refused = modprobe_refuses(m, "vgpu", where);
	check_say(r, CHECK_FAILED, "vgpu is there and not loaded%s%s", refused ? "; refused by " : "",
		  refused ? where : "");
	check_next(r, "%s%s%smodprobe vgpu (dmesg says why where it fails)", refused ? "take it out of " : "",
		   refused ? where : "", refused ? "; " : "");
}

// Which of the kernel's settings lets it take signed modules only; NULL: none.
static const char *signatures_wanted(const struct machine *m)
{
	static char text[64];
	char line[128], word[32];

	if (file_line(m, line, sizeof(line), "/sys/module/module/parameters/sig_enforce") && line[0] == 'Y')
		return "the kernel's module.sig_enforce";
	if (!file_line(m, line, sizeof(line), "/sys/kernel/security/lockdown") ||
	    !rule_chosen(line, word, sizeof(word)) || !strcmp(word, "none"))
		return NULL;
	snprintf(text, sizeof(text), "the kernel's lockdown (%s)", word);
	return text;
}

// The last of the variable's five bytes.
static const char *secure_boot(const struct machine *m)
{
	size_t bytes = 0;
	cleanup_free char *data = file_read(m, FILE_SMALL, &bytes, "%s", SECURE_BOOT);

	return !data || bytes < 5 ? "no Secure Boot" : data[4] ? "Secure Boot on" : "Secure Boot off";
}

void check_signatures(struct machine *m, struct check_result *r)
{
	const char *boot = secure_boot(m), *who = signatures_wanted(m);

	if (!who) {
		check_say(r, CHECK_OK, "%s; the kernel takes modules that nobody signed", boot);
	} else if (m->module_loaded) {
		check_say(r, CHECK_OK, "%s; %s wants signed modules, and vgpu is loaded", boot, who);
	} else {
		check_say(r, CHECK_FAILED, "%s; %s wants signed modules, and vgpu is not loaded", boot, who);
		if (file_exists(m, "/var/lib/dkms/mok.pub"))
			check_next(
			    r, "mokutil --import /var/lib/dkms/mok.pub, restart and confirm it there; then "
			       "modprobe vgpu");
		else
			check_next(
			    r, "have DKMS sign with a key of this machine (its mok.pub) and enrol that with "
			       "mokutil --import");
	}
}

// ---- what is there for a next start ----

void check_dkms(struct machine *m, struct check_result *r)
{
	struct file_names versions = file_names(m, "/var/lib/dkms/vgpu");
	char *version = m->versions[VERSION_MODULE];
	bool built = false;

	for (unsigned i = 0; i < versions.count && !built; i++) {
		if (versions.name[i][0] < '0' || versions.name[i][0] > '9') // links of its own, kernel-...
			continue;
		snprintf(version, CHECK_VERSION_BYTES, "%s", versions.name[i]);
		built = file_exists(m, "/var/lib/dkms/vgpu/%s/%s/x86_64/module", version, m->release);
	}
	file_names_free(&versions);
	if (!version[0]) {
		check_say(r, CHECK_NOT_DONE, "DKMS has no vgpu here: nobody builds it for the next kernel");
		check_next(r, "apt install vgpu-guest-dkms");
	} else if (built) {
		check_say(r, CHECK_OK, "vgpu/%s is built for this kernel", version);
	} else {
		check_say(r, CHECK_WARNING, "vgpu/%s is not built for Linux %s", version, m->release);
		next_to_build(m, r);
	}
}

void check_other_kernels(struct machine *m, struct check_result *r)
{
	struct file_names kernels = file_names(m, "/lib/modules");
	unsigned with = 0;

	for (unsigned i = 0; i < kernels.count; i++) {
		cleanup_free char *dep =
		    file_read(m, FILE_LARGE, NULL, "/lib/modules/%s/modules.dep", kernels.name[i]);

		if (!dep || !strcmp(kernels.name[i], m->release))
			continue;
		with += rule_dep_has(dep, "vgpu");
		if (rule_dep_has(dep, "vgpu") || r->state == CHECK_WARNING)
			continue;
		check_say(r, CHECK_WARNING, "Linux %s is installed, too, and has no vgpu", kernels.name[i]);
		check_next(r,
			   "before a restart into it: apt install linux-headers-%s; dkms autoinstall -k %s",
			   kernels.name[i], kernels.name[i]);
	}
	file_names_free(&kernels);
	if (r->state != CHECK_WARNING && with)
		check_say(r, CHECK_OK, "%u more installed, with vgpu", with);
	else if (r->state != CHECK_WARNING)
		check_say(r, CHECK_OK, "none but this one");
}
