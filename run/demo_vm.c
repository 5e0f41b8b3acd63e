// SPDX-License-Identifier: Apache-2.0
// The demo's virtual machines; see the header. Called by vgpu-demo.
#include "run/demo_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beside.h"
#include "common/cleanup.h"

#define STUB_WAIT_MS 5000

static int find_stub(char *ret, size_t n)
{
	static const char *const places[] = { "../stub/vgpu-stub", "vgpu-stub", "../libexec/vgpu/vgpu-stub",
					      NULL };

	return beside_find(places, ret, n);
}

static int start_stub(struct demo_vm *vm, const char *tenant_socket, const char *socket)
{
	char path[4096];
	struct program_paths paths = { .socket = tenant_socket, .libraries = vm->directory };
	const char *argv[] = { path, "--once", "--log", "warning", "--socket", socket, NULL };
	int r = find_stub(path, sizeof(path));

	if (r == 0)
		r = program_start(&vm->stub, (char *const *)argv, &paths, false);
	for (int ms = 0; r == 0 && access(socket, F_OK) < 0; ms++) {
		if (ms == STUB_WAIT_MS)
			r = -ETIMEDOUT;
		usleep(1000);
	}
	if (r < 0)
		fprintf(stderr, "vgpu-demo: vgpu-stub: %s\n", strerror(-r));
	return r;
}

int demo_vm_start(struct demo_vm *vm, struct program *guest, const struct demo_vm_options *o,
		  const char *tenant_socket)
{
	struct program_paths paths = { .socket = tenant_socket, .libraries = vm->directory };
	char socket[64], console[64];
	// QEMU's standard input is the console's.
	const char *argv[] = { "sh",
			       "-c",
			       "exec \"$0\" \"$@\" <\"$VGPU_DEMO_CONSOLE\"",
			       o->runner,
			       "--socket",
			       socket,
			       "--initrd",
			       o->image,
			       "--memory",
			       "384M",
			       "--run",
			       "/usr/bin/vgpu-demo-guest",
			       "--append",
			       o->unchecked ? "VGPU_DEMO_OPTIONS=--unchecked" : "VGPU_DEMO_OPTIONS=",
			       NULL };
	int r;

	*vm = (struct demo_vm){ .stub.pidfd = -1, .stub.output_fd = -1, .input_fd = -1 };
	snprintf(vm->directory, sizeof(vm->directory), "/tmp/vgpu-demo-XXXXXX");
	if (!mkdtemp(vm->directory)) {
		fprintf(stderr, "vgpu-demo: %s: %s\n", vm->directory, strerror(errno));
		vm->directory[0] = 0;
		return -1;
	}
	snprintf(socket, sizeof(socket), "%s/vgpu.sock", vm->directory);
	snprintf(console, sizeof(console), "%s/console", vm->directory);
	if (start_stub(vm, tenant_socket, socket) < 0)
		return -1;
	// Open for both: so neither end waits for the other to come.
	vm->input_fd = mkfifo(console, 0600) < 0 ? -1 : open(console, O_RDWR | O_CLOEXEC);
	if (vm->input_fd < 0 || setenv("VGPU_DEMO_CONSOLE", console, 1) < 0) {
		fprintf(stderr, "vgpu-demo: %s: %s\n", console, strerror(errno));
		return -1;
	}
	r = program_start(guest, (char *const *)argv, &paths, true);
	if (r < 0)
		fprintf(stderr, "vgpu-demo: %s: %s\n", o->runner, strerror(-r));
	return r < 0 ? -1 : 0;
}

void demo_vm_end_program(struct demo_vm *vm)
{
	if (vm->input_fd >= 0 && write(vm->input_fd, "\n", 1) < 0)
		fprintf(stderr, "vgpu-demo: a guest's console: %s\n", strerror(errno));
}

int demo_vm_status(const char *console)
{
	static const char words[] = "program ended with ";
	const char *at = strstr(console, words);
	int status;

	return at && sscanf(at + strlen(words), "%3d", &status) == 1 ? status : 255;
}

void demo_vm_stop(struct demo_vm *vm)
{
	static const char *const names[] = { "vgpu.sock", "console" };
	char path[64];

	if (vm->stub.pid > 0) {
		kill(vm->stub.pid, SIGTERM);
		program_finish(&vm->stub);
	}
	if (!vm->directory[0])
		return;
	close_fd(&vm->input_fd);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", vm->directory, names[i]);
		unlink(path);
	}
	rmdir(vm->directory);
	vm->directory[0] = 0;
}
