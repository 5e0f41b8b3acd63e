// SPDX-License-Identifier: Apache-2.0
// Doctor's checks of libvirt and QEMU: versions, the guard, and whether QEMU may open a stub's
// socket. In vgpu-admin.
#include <string.h>

#include "admin/cloudstack/doctor.h"
#include "admin/cloudstack/doctor_rules.h"
#include "admin/cloudstack/host.h"
#include "admin/cloudstack/settings.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define GROUP	    "vgpu"
#define PROFILES    "/etc/apparmor.d/"
#define ABSTRACTION "abstractions/vgpu-monitor"
#define LIBVIRTS    "abstractions/libvirt-qemu"

// The libvirt that has the machines: one program, or that of QEMU's machines alone.
static const char *const daemons[] = { "libvirtd", "virtqemud" };

static enum doctor_result look_version(struct doctor *d, struct doctor_finding *f)
{
	struct rules_version v;

	doctor_next(f, "install libvirt 6.5 or later");
	for (size_t i = 0; i < sizeof(daemons) / sizeof(daemons[0]); i++) {
		cleanup_free char *path = text_print("/usr/sbin/%s", daemons[i]);
		cleanup_free char *said = host_ask(d->root, path, "--version", NULL);

		if (!said || !rules_version(said, "(libvirt) ", &v))
			continue;
		if (!rules_at_least(v, 6, 5))
			return doctor_say(f, DOCTOR_FAILED,
					  "libvirt is %u.%u, which has no qemu.d: nothing "
					  "refuses or releases vGPUs",
					  v.major, v.minor);
		return doctor_say(f, DOCTOR_OK, "%s %u.%u", daemons[i], v.major, v.minor);
	}
	return doctor_say(f, DOCTOR_FAILED, "neither libvirtd nor virtqemud says its version");
}

static enum doctor_result look_running(struct doctor *d, struct doctor_finding *f)
{
	long long started = 0;
	const char *name = daemons[0];

	for (size_t i = 0; i < sizeof(daemons) / sizeof(daemons[0]) && !started; i++) {
		started = doctor_started(d, rules_is_program, daemons[i]);
		name = daemons[i];
	}
	if (started < 0)
		return doctor_say(f, DOCTOR_NOT_CHECKED, "/proc cannot be read");
	if (!started) {
		// It may be one that systemd starts when somebody asks.
		doctor_next(f, "systemctl start libvirtd (or virtqemud), unless it starts by itself");
		return doctor_say(f, DOCTOR_WARNING, "libvirt does not run");
	}
	if (doctor_is_after(d, started, INSTALL_GUARD))
		return doctor_say(f, DOCTOR_OK, "%s started after the guard was there", name);
	doctor_next(f, "systemctl restart %s", name);
	return doctor_say(f, DOCTOR_FAILED, "%s started before " INSTALL_GUARD " was there", name);
}

// ---- QEMU ----

// What transform puts into the domain, else what libvirt takes by itself; to be freed. NULL: there
// is none.
static char *find_qemu(const struct doctor *d)
{
	static const char *const usual[] = { "/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm",
					     "/usr/bin/qemu-kvm" };
	char *set = settings_assignment(d->settings, "VGPU_CLOUDSTACK_EMULATOR");

	if (set && set[0])
		return set;
	free(set);
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		if (host_has(d->root, usual[i]))
			return text_print("%s", usual[i]);
	}
	return NULL;
}

static enum doctor_result look_qemu(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *path = find_qemu(d);
	cleanup_free char *said = path ? host_ask(d->root, path, "--version", NULL) : NULL;
	cleanup_free char *devices = path ? host_ask(d->root, path, "-device", "help") : NULL;
	struct rules_version v;

	doctor_next(f, "install QEMU 10.1 or later, and name it in " INSTALL_SETTINGS
		       " (VGPU_CLOUDSTACK_EMULATOR)");
	if (!path)
		return doctor_say(f, DOCTOR_FAILED, "there is no QEMU where libvirt looks for it");
	if (!said || !rules_version(said, "version ", &v))
		return doctor_say(f, DOCTOR_FAILED, "%s does not say its version", path);
	if (!rules_at_least(v, 10, 1))
		return doctor_say(f, DOCTOR_FAILED, "%s is QEMU %u.%u, which cannot attach a vGPU", path,
				  v.major, v.minor);
	if (!devices || !strstr(devices, "\"vfio-user-pci\""))
		return doctor_say(f, DOCTOR_FAILED, "%s is QEMU %u.%u without vfio-user-pci", path, v.major,
				  v.minor);
	return doctor_say(f, DOCTOR_OK, "%s is QEMU %u.%u with vfio-user-pci", path, v.major, v.minor);
}

// As libvirt's packages have it; Debian's user is libvirt-qemu, others' qemu.
static char *find_user(const struct doctor *d, const char *users)
{
	char *set = settings_assignment(d->qemu_conf, "user");
	cleanup_free char *padded = text_print("\n%s", users);

	if (set && set[0]) {
		if (set[0] == '+')
			memmove(set, set + 1, strlen(set));
		return set;
	}
	free(set);
	return text_print(
	    "%s", strstr(padded, "\nlibvirt-qemu:") || !strstr(padded, "\nqemu:") ? "libvirt-qemu" : "qemu");
}

static enum doctor_result look_user(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *groups = host_read(d->root, "/etc/group", NULL);
	cleanup_free char *users = host_read(d->root, "/etc/passwd", NULL);
	cleanup_free char *user = find_user(d, users ? users : "");

	if (strcmp(user, "root") == 0 || strcmp(user, "0") == 0)
		return doctor_say(f, DOCTOR_OK, "QEMU runs as root (qemu.conf)");
	if (rules_in_group(groups, users, GROUP, user))
		return doctor_say(f, DOCTOR_OK, "%s is in the group " GROUP, user);
	doctor_next(f, "usermod -a -G " GROUP " %s", user);
	return doctor_say(f, DOCTOR_FAILED,
			  "QEMU's user %s is not in the group " GROUP ", whose the stubs' sockets are", user);
}

// ---- confinement ----

static bool says(const struct doctor *d, const char *path, const char *word)
{
	cleanup_free char *text = host_read(d->root, path, NULL);

	return text && strstr(text, word);
}

// By an operator's line, or (from Debian 13 on) by vgpu-host's file in a folder that libvirt's rules include.
static bool lets_in(const struct doctor *d)
{
	const char *local = PROFILES "local/abstractions/libvirt-qemu", *rules = PROFILES LIBVIRTS;

	return (says(d, local, "include <" ABSTRACTION ">") && host_has(d->root, PROFILES ABSTRACTION)) ||
	       (says(d, rules, "<" LIBVIRTS ".d>") && host_has(d->root, PROFILES LIBVIRTS ".d/vgpu"));
}

static enum doctor_result look_confinement(struct doctor *d, struct doctor_finding *f)
{
	cleanup_free char *driver = settings_assignment(d->qemu_conf, "security_driver");

	if (driver && strcmp(driver, "none") == 0)
		return doctor_say(f, DOCTOR_OK, "libvirt confines no QEMU (security_driver in qemu.conf)");
	if (says(d, "/sys/fs/selinux/enforce", "1")) {
		doctor_next(
		    f, "ausearch -m avc -c qemu shows what is refused; CloudStack's own guide has SELinux "
		       "permissive");
		return doctor_say(f, DOCTOR_WARNING, "SELinux is enforcing, and vgpu has no policy for it");
	}
	if (!says(d, "/sys/module/apparmor/parameters/enabled", "Y"))
		return doctor_say(f, DOCTOR_OK, "neither AppArmor nor SELinux is on");
	if (lets_in(d))
		return doctor_say(f, DOCTOR_OK, "AppArmor lets libvirt's machines open stubs' sockets");
	doctor_next(f, "echo 'include <" ABSTRACTION ">' >>/etc/apparmor.d/local/abstractions/libvirt-qemu");
	return doctor_say(f, DOCTOR_FAILED,
			  "AppArmor is on, and its profile of libvirt's machines has no rule for "
			  "stubs' sockets");
}

const struct doctor_check doctor_libvirt_checks[] = {
	{ "libvirt", false, look_version },
	{ "libvirt's start", true, look_running },
	{ "qemu", true, look_qemu },
	{ "qemu's user", true, look_user },
	{ "confinement", true, look_confinement },
	{ 0 },
};
