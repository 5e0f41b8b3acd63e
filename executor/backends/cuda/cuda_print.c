// SPDX-License-Identifier: Apache-2.0
// What kernels print: the driver formats their text when it is synchronised with, and writes it to the
// process's stdout, which is a file in memory of fixed size here: a write never blocks and never grows it.
// What it says of failed assertions it writes to stderr, which is another such file.
// Executor process, loop thread.
#include "executor/backends/cuda/cuda_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Makes fd the file, bytes large, and maps it for reading.
static int open_one(int fd, const char *name, size_t bytes, const char **ret)
{
	const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), r;
	void *text;

	if (file < 0)
		return -errno;
	text = MAP_FAILED;
	if (!ftruncate(file, (off_t)bytes) && !fcntl(file, F_ADD_SEALS, seals))
		text = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
	if (text == MAP_FAILED || dup3(file, fd, O_CLOEXEC) < 0) {
		r = -errno;
		if (text != MAP_FAILED)
			munmap(text, bytes);
		close(file);
		return r;
	}
	close(file);
	*ret = text;
	return 0;
}

int cuda_print_open(struct backend *b)
{
	int r;

	fflush(stdout);
	r = open_one(STDOUT_FILENO, "vgpu-kernel-output", VGPU_MAX_PRINT_BYTES, &b->printed);
	return r || !b->env.complain ? r
				     : open_one(STDERR_FILENO, "vgpu-driver-complaints",
						VGPU_MAX_COMPLAINT_BYTES, &b->complained);
}

void cuda_complaints_take(struct backend *b)
{
	off_t end = b->complained ? lseek(STDERR_FILENO, 0, SEEK_CUR) : 0;

	if (end <= 0)
		return;
	if (end > (off_t)VGPU_MAX_COMPLAINT_BYTES)
		end = (off_t)VGPU_MAX_COMPLAINT_BYTES;
	b->env.complain(b->env.opaque, b->complained, (size_t)end);
	lseek(STDERR_FILENO, 0, SEEK_SET);
	clearerr(stderr);
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
	cuda_complaints_take(b);
}
