// SPDX-License-Identifier: Apache-2.0
// Checks of the personality that is seen, and of other drivers that look for NVIDIA's ids: harmless, in the
// way, or in the way once the machine has the nvidia personality. Runs in vgpu-guest-check.
#include <stdio.h>
#include <string.h>

#include "guest/check/check.h"
#include "guest/check/files.h"
#include "guest/check/modprobe.h"
#include "guest/check/rules.h"

void check_personality(struct machine *m, struct check_result *r)
{
	const char *seen = personality_name(m->seen), *target = personality_name(m->target);

	if (!seen) {
		check_say(r, CHECK_NOT_DONE, "there is no virtual GPU%s",
			  m->nvidia.address[0] ? "; the NVIDIA device is none" : "");
		return;
	}
	if (m->seen == PERSONALITY_NVIDIA)
		check_say(r, CHECK_OK, "nvidia: %s is %04x:%04x, %s does the work", m->nvidia.address,
			  m->nvidia.vendor, m->nvidia.device, m->vgpu.address);
	else
		check_say(r, CHECK_OK, "custom: %s and no NVIDIA device", m->vgpu.address);
	if (m->target != m->seen)
		check_next(r, "the operator changes it to %s while this machine is off", target);
}

// Linux's own drivers for NVIDIA's cards. Up to a version they do not know an H100's chip, say so in a line
// and let go; later ones try to start its firmware, which is not there, for seconds.
struct kernel_driver {
	const char *module;
	unsigned major, minor; // the first Linux whose driver knows the chip
};

static void check_kernel_driver(const struct machine *m, const struct kernel_driver *d,
				struct check_result *r)
{
	bool loaded = rule_modules_has(m->modules, d->module);
	bool knows =
	    m->kernel_major > d->major || (m->kernel_major == d->major && m->kernel_minor >= d->minor);
	char where[CHECK_PATH_BYTES];

	if (!loaded && !rule_dep_has(m->modules_dep, d->module))
		check_say(r, CHECK_OK, "this kernel has no %s", d->module);
	else if (!knows)
		check_say(r, CHECK_OK, "%s of Linux %u.%u does not know an H100 and lets go of it", d->module,
			  m->kernel_major, m->kernel_minor);
	else if (modprobe_refuses(m, d->module, where))
		check_say(r, CHECK_OK, "%s is not loaded for a device: %s", d->module, where);
	else if (m->target != PERSONALITY_NVIDIA)
		check_say(r, CHECK_OK, "%s looks for NVIDIA's ids, which this machine does not show",
			  d->module);
	else {
		check_say(r, CHECK_WARNING,
			  "%s%s would try to start the H100's firmware, in vain and for seconds", d->module,
			  loaded ? ", loaded," : "");
		check_next(r, "echo 'blacklist %s' >/etc/modprobe.d/vgpu-%s.conf; update-initramfs -u",
			   d->module, d->module);
	}
}

void check_nouveau(struct machine *m, struct check_result *r)
{
	static const struct kernel_driver nouveau = { "nouveau", 6, 16 };

	check_kernel_driver(m, &nouveau, r);
}

void check_nova(struct machine *m, struct check_result *r)
{
	static const struct kernel_driver nova = { "nova_core", 7, 0 };

	check_kernel_driver(m, &nova, r);
}

// ---- NVIDIA's own ----

// Linux's modules of such a name that are not NVIDIA's driver.
static bool is_nvidia_driver(const char *module)
{
	return !strcmp(module, "nvidia") ||
	       (!strncmp(module, "nvidia_", 7) && strncmp(module, "nvidia_wmi", 10) != 0);
}

static bool loaded_one(const struct machine *m, char *ret, size_t room)
{
	static const char *const modules[] = { "nvidia", "nvidia_drm", "nvidia_modeset", "nvidia_uvm" };

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		if (rule_modules_has(m->modules, modules[i])) {
			snprintf(ret, room, "%s", modules[i]);
			return true;
		}
	return false;
}

static bool installed_one(const struct machine *m, char *ret, size_t room)
{
	const char *at = m->modules_dep;

	while (rule_dep_next(&at, "nvidia", ret, room))
		if (is_nvidia_driver(ret))
			return true;
	return false;
}

void check_nvidia_driver(struct machine *m, struct check_result *r)
{
	bool wanted_away = m->target == PERSONALITY_NVIDIA;
	char module[64], where[CHECK_PATH_BYTES];

	if (loaded_one(m, module, sizeof(module))) {
		check_say(r, wanted_away ? CHECK_FAILED : CHECK_WARNING,
			  wanted_away ? "NVIDIA's kernel driver (%s) is loaded: it takes the H100's id and "
					"fails at its first "
					"use"
				      : "NVIDIA's kernel driver (%s) is loaded; no vGPU needs it",
			  module);
		check_next(r,
			   "remove NVIDIA's driver (apt purge 'nvidia-*', or nvidia-uninstall) and restart");
	} else if (!installed_one(m, module, sizeof(module))) {
		check_say(r, CHECK_OK, "NVIDIA's kernel driver is not installed");
	} else if (modprobe_refuses(m, module, where)) {
		check_say(r, wanted_away ? CHECK_WARNING : CHECK_OK,
			  "NVIDIA's kernel driver (%s) is installed and not loaded for a device: %s", module,
			  where);
		if (wanted_away)
			check_next(r, "better remove it (apt purge 'nvidia-*', or nvidia-uninstall)");
	} else {
		check_say(r, wanted_away ? CHECK_FAILED : CHECK_WARNING,
			  "NVIDIA's kernel driver (%s) is installed: it takes an H100's id when it is seen",
			  module);
		check_next(r,
			   "remove NVIDIA's driver (apt purge 'nvidia-*', or nvidia-uninstall), or: echo "
			   "'blacklist %s' "
			   ">/etc/modprobe.d/vgpu-nvidia.conf; update-initramfs -u",
			   module);
	}
}
