// SPDX-License-Identifier: Apache-2.0
// A journal for the integration tests: preloaded into a mediator it writes what goes to the journal to the
// file that $VGPU_FAKE_JOURNAL names, a field a line and an empty line behind each message, and the message
// to stderr.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define MOST 32

int sd_journal_sendv(const struct iovec *iov, int n)
{
	struct iovec lines[2 * MOST + 1];
	int fd = open(getenv("VGPU_FAKE_JOURNAL"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), k = 0;
	ssize_t r;

	if (fd < 0 || n > MOST)
		return -1;
	for (int i = 0; i < n; i++) {
		lines[k++] = iov[i];
		lines[k++] = (struct iovec){ "\n", 1 };
		if (iov[i].iov_len > 8 && memcmp(iov[i].iov_base, "MESSAGE=", 8) == 0) {
			struct iovec said[2] = { { (char *)iov[i].iov_base + 8, iov[i].iov_len - 8 },
						 { "\n", 1 } };

			(void)!writev(STDERR_FILENO, said, 2);
		}
	}
	lines[k++] = (struct iovec){ "\n", 1 };
	r = writev(fd, lines, k);
	close(fd);
	return r < 0 ? -1 : 0;
}
