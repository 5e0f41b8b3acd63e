// SPDX-License-Identifier: Apache-2.0
// Looking at the host; see the header. For install, uninstall and doctor, in vgpu-admin.
#include "admin/cloudstack/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/cloudstack/program.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define MOST_BYTES (256u << 10)
#define ASK_NS	   (10 * NSEC_PER_SEC)
#define SYSTEMD_NS (60 * NSEC_PER_SEC)

char *host_root(const char *folder)
{
	size_t n = folder ? strlen(folder) : 0;

	while (n && folder[n - 1] == '/')
		n--;
	return text_print("%.*s", (int)n, n ? folder : "");
}

char *host_path(const char *root, const char *path)
{
	return text_print("%s%s", root, path);
}

bool host_has(const char *root, const char *path)
{
	cleanup_free char *whole = host_path(root, path);

	return access(whole, F_OK) == 0;
}

// Files of /proc say no size.
char *host_read(const char *root, const char *path, size_t *ret_n)
{
	cleanup_free char *whole = host_path(root, path);
	cleanup_fd int fd = open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	cleanup_free char *text = NULL;
	size_t n = 0;
	ssize_t got = 0;

	if (fd < 0)
		return NULL;
	text = text_memory(malloc(MOST_BYTES + 1));
	while (n < MOST_BYTES && (got = read(fd, text + n, MOST_BYTES - n)) > 0)
		n += (size_t)got;
	if (got < 0)
		return NULL;
	text[n] = 0;
	if (ret_n)
		*ret_n = n;
	return take_ptr(text);
}

char *host_ask(const char *root, const char *program, const char *one, const char *two)
{
	cleanup_free char *path = host_path(root, program);
	char *argv[] = { path, (char *)one, (char *)two, NULL };
	const struct program p = { argv, NULL, true, ASK_NS, MOST_BYTES };
	char *output;
	size_t n;

	if (program_run(&p, &output, &n) == 0)
		return output;
	free(output);
	return NULL;
}

bool host_has_unit(const char *root, const char *unit)
{
	static const char *const folders[] = { "/etc/systemd/system", "/usr/lib/systemd/system",
					       "/lib/systemd/system", "/usr/local/lib/systemd/system" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		cleanup_free char *path = text_print("%s/%s", folders[i], unit);

		if (host_has(root, path))
			return true;
	}
	return false;
}

int host_systemctl(const char *root, const char *verb, const char *flag, const char *unit)
{
	cleanup_free char *tree = text_print("--root=%s", root);
	char *argv[] = { (char *)"systemctl", (char *)verb, (char *)unit, (char *)flag, NULL };
	const struct program p = { argv, NULL, true, SYSTEMD_NS, MOST_BYTES };
	cleanup_free char *output = NULL;
	size_t n;

	if (root[0])
		argv[3] = tree;
	return program_run(&p, &output, &n);
}
