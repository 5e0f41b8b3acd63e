// SPDX-License-Identifier: Apache-2.0
// What is known of the machine before the checks: its kernel, its PCI devices, how programs reach the host.
// Runs in vgpu-guest-check.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/check/check.h"
#include "guest/check/files.h"
#include "guest/check/rules.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"
#include "protocol/host/link.h"

#define NVIDIA_VENDOR 0x10de
#define CLASS_DISPLAY 0x03 // 0x0302xx: 3D controller, what an H100 is

static unsigned pci_number(const struct machine *m, const char *address, const char *file)
{
	char line[32];

	file_line(m, line, sizeof(line), "/sys/bus/pci/devices/%s/%s", address, file);
	return (unsigned)strtoul(line, NULL, 16);
}

// Ours by its ids, or by the driver that has it where the operator chose others.
static bool is_vgpu(const struct machine *m, const struct check_pci *d)
{
	if (!strcmp(d->driver, "vgpu"))
		return true;
	return d->vendor == VGPU_PCI_VENDOR && d->device == VGPU_PCI_DEVICE &&
	       pci_number(m, d->address, "subsystem_vendor") == VGPU_PCI_SUBVENDOR &&
	       pci_number(m, d->address, "subsystem_device") == VGPU_PCI_SUBDEVICE;
}

static void find_devices(struct machine *m)
{
	struct file_names names = file_names(m, "/sys/bus/pci/devices");

	for (unsigned i = 0; i < names.count; i++) {
		struct check_pci d = { 0 };

		if (snprintf(d.address, sizeof(d.address), "%s", names.name[i]) >= (int)sizeof(d.address))
			continue;
		d.vendor = pci_number(m, d.address, "vendor");
		d.device = pci_number(m, d.address, "device");
		file_link_name(m, d.driver, sizeof(d.driver), "/sys/bus/pci/devices/%s/driver", d.address);
		if (!m->vgpu.address[0] && is_vgpu(m, &d))
			m->vgpu = d;
		else if (!m->nvidia.address[0] && d.vendor == NVIDIA_VENDOR &&
			 pci_number(m, d.address, "class") >> 16 == CLASS_DISPLAY)
			m->nvidia = d;
	}
	file_names_free(&names);
}

// As the libraries choose: the socket that is named, the device, the default socket.
static const char *socket_of(const struct machine *m)
{
	const char *named = getenv("VGPU_SOCKET");

	if (m->root[0])
		return NULL;
	if (named && named[0])
		return named;
	if (m->vgpu.address[0] || file_exists(m, "%s", VGPU_DEVICE_NODE))
		return NULL;
	return file_exists(m, "%s", LINK_SOCKET_DEFAULT) ? LINK_SOCKET_DEFAULT : NULL;
}

static char *text_or_empty(char *text)
{
	return text ? text : calloc(1, 1);
}

void machine_look(struct machine *m)
{
	file_line(m, m->release, sizeof(m->release), "/proc/sys/kernel/osrelease");
	if (!rule_kernel_version(m->release, &m->kernel_major, &m->kernel_minor))
		m->kernel_major = m->kernel_minor = 0;
	find_devices(m);
	m->socket = socket_of(m);
	if (!m->socket && m->vgpu.address[0])
		m->seen = m->nvidia.address[0] ? PERSONALITY_NVIDIA : PERSONALITY_CUSTOM;
	if (!m->target_given)
		m->target = m->seen;
	m->container = file_exists(m, "/run/.containerenv") || file_exists(m, "/.dockerenv") ||
		       file_exists(m, "/run/systemd/container");
	m->modules = text_or_empty(file_read(m, FILE_LARGE, NULL, "/proc/modules"));
	m->modules_dep =
	    text_or_empty(file_read(m, FILE_LARGE, NULL, "/lib/modules/%s/modules.dep", m->release));
}

void machine_done(struct machine *m)
{
	free(m->modules);
	free(m->modules_dep);
	free(m->test);
}
