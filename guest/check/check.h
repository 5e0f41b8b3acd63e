// SPDX-License-Identifier: Apache-2.0
// vgpu-guest-check's model: a machine that is looked at, and a table of checks (checks.c), each a function
// that looks at one thing and says ok, warning or failed with a text, and what to do next. An ordinary
// program of the tenant: what it reads is the tenant's own, with a limit on every size.
#ifndef VGPU_CHECK_CHECK_H
#define VGPU_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_TEXT_BYTES    512
#define CHECK_VERSION_BYTES 64
#define CHECK_PATH_BYTES    1024

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_FAILED, CHECK_NOT_DONE };

struct child;

// Printable ASCII only, whatever was read; next is "" where nothing is to be done.
struct check_result {
	enum check_state state;
	char text[CHECK_TEXT_BYTES], next[CHECK_TEXT_BYTES];
};

enum personality { PERSONALITY_UNKNOWN, PERSONALITY_CUSTOM, PERSONALITY_NVIDIA };

// Which device of a machine, as /sys has it; address "": there is none.
struct check_pci {
	char address[32], driver[64]; // driver "": none has it
	unsigned vendor, device;
};

enum check_version {
	VERSION_LIBCUDA,
	VERSION_LIBNVML,
	VERSION_LIBVGPU,
	VERSION_SMI,
	VERSION_MODULE, // as DKMS has it
	N_VERSIONS
};

struct machine {
	// What was asked for.
	const char *root; // its files lie below; "": this machine itself, which is also asked and tried
	bool self_test;
	unsigned limit_s;	 // for anything that may hang
	enum personality target; // --for; else the personality that is seen
	bool target_given;

	// What is known before the checks (machine_look()).
	const char *socket; // process mode: programs use this socket; NULL: a virtual machine's device
	char release[128];  // of the kernel; "": not known
	unsigned kernel_major, kernel_minor;
	struct check_pci vgpu, nvidia; // our device; the first display controller with NVIDIA's vendor id
	enum personality seen;
	bool container;
	char *modules;	   // /proc/modules, never NULL
	char *modules_dep; // of the running kernel, never NULL

	// What checks find out for those after them.
	bool module_loaded;
	uint32_t device_version, device_status;		// of the device itself
	char versions[N_VERSIONS][CHECK_VERSION_BYTES]; // "": not found, or not ours
	struct child *test;				// selftest.c's program, once it was run
};

struct check {
	const char *name;  // stable: JSON's "check"
	const char *after; // the check that must not have failed, NULL: none
	unsigned only;	   // CHECK_ON_*, CHECK_LIVE
	void (*look)(struct machine *m, struct check_result *ret);
};

#define CHECK_ON_DEVICE 1u // says something of virtual machines only
#define CHECK_ON_SOCKET 2u // of process mode only
#define CHECK_LIVE	4u // asks the running system, not its files
#define CHECK_TEST	8u // part of the self-test

extern const struct check checks[];
extern const unsigned n_checks;

// Fills what is known before the checks, of what was asked for. The caller releases with machine_done().
void machine_look(struct machine *m);
void machine_done(struct machine *m);

// Runs all of the table; results has room for n_checks. Whether nothing failed.
bool checks_run(struct machine *m, struct check_result *results);

// What a check says. Characters that are not printable become '?'.
__attribute__((format(printf, 3, 4))) void check_say(struct check_result *r, enum check_state state,
						     const char *format, ...);
__attribute__((format(printf, 2, 3))) void check_next(struct check_result *r, const char *format, ...);
const char *check_state_name(enum check_state state);
const char *personality_name(enum personality p); // NULL: unknown

// ---- the checks, by file ----

// kernel.c
void check_kernel(struct machine *m, struct check_result *r);
void check_signatures(struct machine *m, struct check_result *r);
void check_module(struct machine *m, struct check_result *r);
void check_dkms(struct machine *m, struct check_result *r);
void check_other_kernels(struct machine *m, struct check_result *r);
// device.c
void check_device(struct machine *m, struct check_result *r);
void check_driver(struct machine *m, struct check_result *r);
void check_node(struct machine *m, struct check_result *r);
void check_protocol(struct machine *m, struct check_result *r);
void check_shared_memory(struct machine *m, struct check_result *r);
void check_host(struct machine *m, struct check_result *r);
void check_socket(struct machine *m, struct check_result *r);
// drivers.c
void check_personality(struct machine *m, struct check_result *r);
void check_nouveau(struct machine *m, struct check_result *r);
void check_nova(struct machine *m, struct check_result *r);
void check_nvidia_driver(struct machine *m, struct check_result *r);
// libraries.c
void check_libcuda(struct machine *m, struct check_result *r);
void check_libnvml(struct machine *m, struct check_result *r);
void check_libvgpu(struct machine *m, struct check_result *r);
void check_loader_cache(struct machine *m, struct check_result *r);
void check_smi(struct machine *m, struct check_result *r);
void check_versions(struct machine *m, struct check_result *r);
// limits.c
void check_locked_memory(struct machine *m, struct check_result *r);
void check_addresses(struct machine *m, struct check_result *r);
void check_memory(struct machine *m, struct check_result *r);
void check_huge_pages(struct machine *m, struct check_result *r);
// selftest.c
void check_test_init(struct machine *m, struct check_result *r);
void check_test_device(struct machine *m, struct check_result *r);
void check_test_memory(struct machine *m, struct check_result *r);
void check_test_copy_in(struct machine *m, struct check_result *r);
void check_test_kernel(struct machine *m, struct check_result *r);
void check_test_copy_out(struct machine *m, struct check_result *r);
void check_test_nvml(struct machine *m, struct check_result *r);

#endif
