// SPDX-License-Identifier: Apache-2.0
// Checks of the way to the host: the virtual machine's device, its driver, its node and what it answers; or
// the socket of process mode. Runs in vgpu-guest-check; what may wait for the host does so in a child.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/check/check.h"
#include "guest/check/child.h"
#include "guest/check/files.h"
#include "guest/check/rules.h"
#include "guest/client/device_state.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"

#define LOG_MOST	(1 << 20) // bytes of the kernel's log, its end
#define SYSLOG_READ_ALL 3	  // SYSLOG_ACTION_READ_ALL of syslog(2)

#define NEXT_SHARED_MEMORY                                                                                \
	"the machine's memory is not shared with the host; ask the operator: memory-backend-memfd with "  \
	"share=on, in libvirt <source type='memfd'/> and <access mode='shared'/>, no huge pages; then a " \
	"new start"

void check_device(struct machine *m, struct check_result *r)
{
	if (m->vgpu.address[0]) {
		check_say(r, CHECK_OK, "%s, id %04x:%04x", m->vgpu.address, m->vgpu.vendor, m->vgpu.device);
		return;
	}
	check_say(r, CHECK_FAILED, "no virtual GPU (%04x:%04x) on the PCI bus", VGPU_PCI_VENDOR,
		  VGPU_PCI_DEVICE);
	check_next(
	    r, "ask the operator: the virtual machine needs a vGPU and a start with it. Of one with another "
	       "id, write that to /sys/bus/pci/drivers/vgpu/new_id");
}

// What the driver said last of why it does not take the device; false: nothing, or this user may not know.
static bool reason_of_driver(const struct machine *m, char ret[CHECK_TEXT_BYTES])
{
	cleanup_free char *log = m->root[0] ? NULL : calloc(1, LOG_MOST + 1);
	char words[64];

	if (!log || klogctl(SYSLOG_READ_ALL, log, LOG_MOST) < 0)
		return false;
	snprintf(words, sizeof(words), "vgpu %s: ", m->vgpu.address);
	return rule_log_last(log, words, ret, CHECK_TEXT_BYTES);
}

static void not_taken(const struct machine *m, struct check_result *r)
{
	char reason[CHECK_TEXT_BYTES], not_shared[32];

	if (!reason_of_driver(m, reason)) {
		check_say(r, CHECK_FAILED, "vgpu is loaded and did not take %s", m->vgpu.address);
		check_next(r,
			   "dmesg | grep vgpu says why; where it was only unbound: echo %s "
			   ">/sys/bus/pci/drivers_probe",
			   m->vgpu.address);
		return;
	}
	check_say(r, CHECK_FAILED, "vgpu is loaded and did not take %s: %s", m->vgpu.address, reason);
	snprintf(not_shared, sizeof(not_shared), "(error %d)", VGPU_RESULT_NOT_SHARED);
	if (strstr(reason, not_shared))
		check_next(r, NEXT_SHARED_MEMORY);
	else
		check_next(r, "ask the operator whether the host has the same version, and what the "
			      "vgpu-stub's journal says");
}

void check_driver(struct machine *m, struct check_result *r)
{
	const char *driver = m->vgpu.driver, *address = m->vgpu.address;

	if (!strcmp(driver, "vgpu")) {
		check_say(r, CHECK_OK, "vgpu drives %s", address);
	} else if (driver[0]) {
		check_say(r, CHECK_FAILED, "%s drives %s, not vgpu", driver, address);
		check_next(r,
			   "modprobe vgpu; echo >/sys/bus/pci/devices/%s/driver_override; echo %s | tee "
			   "/sys/bus/pci/drivers/%s/unbind /sys/bus/pci/drivers_probe",
			   address, address, driver);
	} else if (m->module_loaded) {
		not_taken(m, r);
	} else {
		check_say(r, CHECK_FAILED, "no driver has %s: vgpu is not loaded", address);
		check_next(r, "see 'module'");
	}
}

// ---- the node ----

static bool udev_rule_installed(const struct machine *m)
{
	static const char *const folders[] = { "/etc/udev/rules.d", "/run/udev/rules.d",
					       "/usr/lib/udev/rules.d", "/lib/udev/rules.d" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (file_exists(m, "%s/60-vgpu.rules", folders[i]))
			return true;
	return false;
}

static bool names_user(const struct group *g, const char *user)
{
	for (char **member = g->gr_mem; *member; member++)
		if (!strcmp(*member, user))
			return true;
	return false;
}

static void not_permitted(const struct machine *m, struct check_result *r)
{
	const struct passwd *pw = getpwuid(geteuid());
	const char *user = pw ? pw->pw_name : "this user";
	const struct group *g;
	struct stat st;

	if (stat(VGPU_DEVICE_NODE, &st) < 0 || (st.st_mode & S_IFMT) != S_IFCHR) {
		check_say(r, CHECK_FAILED, "%s is no device that %s may open", VGPU_DEVICE_NODE, user);
		check_next(r, "remove it and restart");
		return;
	}
	g = getgrgid(st.st_gid);
	check_say(r, CHECK_FAILED, "%s may not open %s (group %s, mode %04o)", user, VGPU_DEVICE_NODE,
		  g ? g->gr_name : "?", (unsigned)st.st_mode & 07777);
	if (m->container)
		check_next(r, "start the container with the device and as a user who may open it");
	else if (!st.st_gid || (st.st_mode & 0060) != 0060)
		check_next(r, "%sudevadm trigger %s",
			   udev_rule_installed(m) ? ""
						  : "apt install vgpu-guest (its udev rule gives the device "
						    "to the group render), then ",
			   VGPU_DEVICE_NODE);
	else if (g && names_user(g, user))
		check_next(r, "%s is in the group %s, this session began before: log in again", user,
			   g->gr_name);
	else
		check_next(r, "adduser %s %s, then log in again", user, g ? g->gr_name : "render");
}

void check_node(struct machine *m, struct check_result *r)
{
	cleanup_fd int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT) {
		check_say(r, CHECK_FAILED, "there is no %s%s", VGPU_DEVICE_NODE,
			  m->container ? " in this container" : "");
		check_next(
		    r, m->container
			   ? "start the container with the device: --device vgpu/gpu=all (vgpu-cdi(1)), or "
			     "--device /dev/vgpu0"
			   : "devtmpfs or udev makes it: see that /dev is one of them, then udevadm trigger");
	} else if (fd < 0 && (errno == EACCES || errno == EPERM)) {
		not_permitted(m, r);
	} else if (fd < 0) {
		check_say(r, CHECK_FAILED, "%s cannot be opened: %s", VGPU_DEVICE_NODE, strerror(errno));
		check_next(
		    r,
		    "dmesg | grep vgpu; it is the device of another life where the module was loaded anew");
	} else if (!udev_rule_installed(m) && !m->container) {
		check_say(r, CHECK_WARNING,
			  "this user may open %s; the udev rule that lets others is not installed",
			  VGPU_DEVICE_NODE);
		check_next(r, "apt install vgpu-guest");
	} else {
		check_say(r, CHECK_OK, "this user may open %s", VGPU_DEVICE_NODE);
	}
}

// ---- what the device says ----

struct info_answer {
	int error; // errno
	struct vgpu_ioc_info info;
};

static void ask_device(int out, void *arg)
{
	cleanup_fd int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC);
	struct info_answer answer = { 0 };

	(void)arg;
	if (fd < 0 || ioctl(fd, VGPU_IOC_INFO, &answer.info) < 0)
		answer.error = errno;
	if (write(out, &answer, sizeof(answer)) < 0)
		_exit(1);
}

void check_protocol(struct machine *m, struct check_result *r)
{
	struct child c = { .work = ask_device, .limit_s = m->limit_s };
	struct info_answer answer;

	child_run(&c);
	if (c.bytes != sizeof(answer)) {
		check_say(r, CHECK_FAILED, "%s did not answer within %u s", VGPU_DEVICE_NODE, m->limit_s);
		check_next(r, "ask the operator whether this machine's vgpu-stub runs");
		return;
	}
	memcpy(&answer, c.answer, sizeof(answer));
	m->device_version = answer.info.device_version;
	m->device_status = answer.info.status;
	if (answer.error) {
		check_say(r, CHECK_FAILED, "the device does not answer: %s", strerror(answer.error));
		check_next(r, "ask the operator whether this machine's vgpu-stub runs; after its death the "
			      "device has to be "
			      "plugged in again");
	} else if (m->device_version != VGPU_DEVICE_VERSION) {
		check_say(r, CHECK_FAILED, "the device has version %u, these libraries %u", m->device_version,
			  VGPU_DEVICE_VERSION);
		check_next(r, "install the version of vgpu that the host has");
	} else {
		check_say(r, CHECK_OK, "device version %u, as these libraries'", m->device_version);
	}
}

void check_shared_memory(struct machine *m, struct check_result *r)
{
	if (!(m->device_status & VGPU_STATUS_NO_SHARED)) {
		check_say(r, CHECK_OK, "the host reaches this machine's memory");
		return;
	}
	check_say(r, CHECK_FAILED, "not all of the virtual machine's memory is shared with the host");
	check_next(r, NEXT_SHARED_MEMORY);
}

void check_host(struct machine *m, struct check_result *r)
{
	if (m->device_status & VGPU_STATUS_READY) {
		check_say(r, CHECK_OK, "the host's mediator is connected");
		return;
	}
	check_say(r, CHECK_FAILED, "the host's mediator does not answer the device");
	check_next(r, "ask the operator: systemctl status vgpu-mediator; whether this VM has a vGPU "
		      "(vgpu-admin vm list)");
}

// ---- process mode ----

static void greet_mediator(int out, void *arg)
{
	struct vgpu_device *d = NULL;
	int r = vgpu_device_open(arg, &d);

	vgpu_device_close(d);
	if (write(out, &r, sizeof(r)) < 0)
		_exit(1);
}

void check_socket(struct machine *m, struct check_result *r)
{
	cleanup_free char *path = strdup(m->socket);
	struct child c = { .work = greet_mediator, .arg = path, .limit_s = m->limit_s };
	int answer = -ETIMEDOUT;

	child_run(&c);
	if (c.bytes == sizeof(answer))
		memcpy(&answer, c.answer, sizeof(answer));
	if (!answer) {
		check_say(r, CHECK_OK, "a mediator answers at %s", m->socket);
		return;
	}
	check_say(r, CHECK_FAILED, "no mediator answers at %s: %s", m->socket, strerror(-answer));
	if (answer == -EACCES)
		check_next(r, "the socket is another user's or group's: ls -l %s", m->socket);
	else if (answer == -ECONNABORTED)
		check_next(
		    r,
		    "it refused: its version, or this tenant's limit of connections; its journal says which");
	else
		check_next(r, "start vgpu-mediator there, or name another socket in VGPU_SOCKET; in a "
			      "container: vgpu-cdi(1)");
}
