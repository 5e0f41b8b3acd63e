// SPDX-License-Identifier: Apache-2.0
// What kernels print: the driver formats their text when it is synchronised with, and writes it to the
// process's stdout, which is a file in memory of fixed size here: a write never blocks and never grows it.
// Executor process, loop thread.
#include "executor/backends/cuda/cuda_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int cuda_print_open(struct backend *b)
{
	const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int fd = memfd_create("vgpu-kernel-output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *text;

	if (fd < 0)
		return -errno;
	text = MAP_FAILED;
	if (!ftruncate(fd, VGPU_MAX_PRINT_BYTES) && !fcntl(fd, F_ADD_SEALS, seals))
		text = mmap(NULL, VGPU_MAX_PRINT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	fflush(stdout);
	if (text == MAP_FAILED || dup3(fd, STDOUT_FILENO, O_CLOEXEC) < 0) {
		int r = -errno;

		if (text != MAP_FAILED)
			munmap(text, VGPU_MAX_PRINT_BYTES);
		close(fd);
		return r;
	}
	close(fd);
	b->printed = text;
	return 0;
}

// An idle stream of our own is enough for the driver to look: it waits for nobody's work.
void cuda_print_flush(struct backend *b)
{
	off_t end;

	if (!b->printed)
		return;
	if (!b->print_stream && b->cu.stream_create(&b->print_stream, CU_STREAM_NON_BLOCKING, 0))
		return;
	cuda_result(b, b->cu.stream_synchronize(b->print_stream));
	if (fflush(stdout))
		b->env.log(b->env.opaque, "kernels printed more between two waits than is kept");
	clearerr(stdout);
	end = lseek(STDOUT_FILENO, 0, SEEK_CUR);
	if (end > (off_t)VGPU_MAX_PRINT_BYTES)
		end = (off_t)VGPU_MAX_PRINT_BYTES;
	if (end > 0)
		b->env.print(b->env.opaque, b->printed, (size_t)end);
	lseek(STDOUT_FILENO, 0, SEEK_SET);
}
