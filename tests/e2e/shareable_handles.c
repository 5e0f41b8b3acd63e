// SPDX-License-Identifier: Apache-2.0
//
// Memory of cuMemCreate as a file descriptor: given to another process over a socket, mapped there with an
// access of its own, changed by both. What is refused; descriptors that are none; the same process opens its
// own.
#include "tests/e2e/check.h"
#include "tests/e2e/peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE (2 * MIB)
#define FD    CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR

static const CUmemAllocationProp kind = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					  .requestedHandleTypes = FD,
					  .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
static const CUmemAccessDesc access_all = { .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 },
					    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };

static CUdeviceptr map_all(CUmemGenericAllocationHandle handle, size_t bytes)
{
	CUdeviceptr p;

	MUST(cuMemAddressReserve(&p, bytes, 0, 0, 0));
	OK(cuMemMap(p, bytes, 0, handle, 0));
	OK(cuMemSetAccess(p, bytes, &access_all, 1));
	return p;
}

static void unmap_all(CUdeviceptr p, size_t bytes)
{
	OK(cuMemUnmap(p, bytes));
	OK(cuMemAddressFree(p, bytes));
}

static void word_set(CUdeviceptr p, uint32_t value)
{
	MUST(cuMemsetD32_v2(p, value, 1));
	MUST(cuCtxSynchronize());
}

static void word_is(CUdeviceptr p, uint32_t want)
{
	uint32_t word = 0;

	MUST(cuMemcpyDtoH_v2(&word, p, 4));
	if (check_computes())
		EQUAL(want, word);
}

static int opener(const struct peer *parent)
{
	CUmemGenericAllocationHandle handle;
	CUmemAllocationProp prop;
	unsigned long long types = 1;
	CUdeviceptr p, again;
	char x;
	int fd;

	check_context();
	fd = peer_receive(parent, &x, 1);
	OK(cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, FD));
	close(fd); // the memory is ours without it
	OK(cuMemGetAllocationPropertiesFromHandle(&prop, handle));
	EQUAL(CU_MEM_ALLOCATION_TYPE_PINNED, prop.type);
	EQUAL(0, prop.requestedHandleTypes); // what it was made for only its maker is told
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemExportToShareableHandle(&fd, handle, FD, 0));
	p = map_all(handle, 3 * PIECE);
	MUST(cuPointerGetAttribute(&types, CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, p));
	EQUAL(0, types);
	again = map_all(handle, 3 * PIECE); // in two places
	OK(cuMemRelease(handle));
	word_is(p + PIECE, 11);
	word_set(p + 2 * PIECE, 22);
	word_is(again + 2 * PIECE, 22);
	peer_meet(parent);
	peer_meet(parent); // the owner has given up all of it
	word_is(again, 33);
	word_set(again, 44);
	word_is(p, 44);
	unmap_all(again, 3 * PIECE);
	unmap_all(p, 3 * PIECE);
	return check_done();
}

static void is_refused(CUmemGenericAllocationHandle handle)
{
	CUmemAllocationProp plain = kind;
	CUmemGenericAllocationHandle other;
	int fd = -1, file;

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemExportToShareableHandle(NULL, handle, FD, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemExportToShareableHandle(&fd, handle, FD, 1));
	CHECK(cuMemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_FABRIC, 0) != CUDA_SUCCESS,
	      "no fabric handle");
	plain.requestedHandleTypes = 0;
	MUST(cuMemCreate(&other, PIECE, &plain, 0));
	CHECK(cuMemExportToShareableHandle(&fd, other, FD, 0) != CUDA_SUCCESS,
	      "memory that was not made for it is not exported");
	MUST(cuMemRelease(other));
	file = memfd_create("no memory", MFD_CLOEXEC);
	MUST(ftruncate(file, 4096) ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS);
	CHECK(cuMemImportFromShareableHandle(&other, (void *)(intptr_t)file, FD) != CUDA_SUCCESS,
	      "a file of the program's own is no memory");
	close(file);
	CHECK(cuMemImportFromShareableHandle(&other, (void *)(intptr_t)file, FD) != CUDA_SUCCESS,
	      "a closed descriptor is none either");
}

// Every byte of a descriptor's file counts, and it must be sealed. Only here do programs see what is in one.
static void forged(int real)
{
	char bytes[128];
	CUmemGenericAllocationHandle handle;
	ssize_t n = pread(real, bytes, sizeof(bytes), 0);

	for (ssize_t i = 0; i < n; i += 7) {
		int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);

		bytes[i] ^= 1;
		MUST(write(fd, bytes, (size_t)n) == n ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN);
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
		EXPECT(CUDA_ERROR_INVALID_VALUE,
		       cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, FD));
		bytes[i] ^= 1;
		close(fd);
	}
	int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	MUST(write(fd, bytes, (size_t)n) == n ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, FD));
	close(fd);
}

int main(int argc, char **argv)
{
	const char *role;
	struct peer peer = peer_parent(argc, argv, &role);
	CUmemGenericAllocationHandle handle, own;
	unsigned long long types = 0;
	CUdeviceptr p, mine;
	int fd = -1, second = -1, supported = 0;

	if (role)
		return opener(&peer);
	peer = peer_start("opener");
	check_context();
	MUST(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
				  0));
	EQUAL(1, supported);
	MUST(cuMemCreate(&handle, 3 * PIECE, &kind, 0));
	is_refused(handle);
	OK(cuMemExportToShareableHandle(&fd, handle, FD, 0)); // before it is mapped
	CHECK(fcntl(fd, F_GETFD) >= 0, "a descriptor");
	OK(cuMemExportToShareableHandle(&second, handle, FD, 0));
	CHECK(second != fd, "each export is a descriptor of its own");
	if (check_backend() != BACKEND_NATIVE)
		forged(fd);
	p = map_all(handle, 3 * PIECE);
	MUST(cuPointerGetAttribute(&types, CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, p));
	EQUAL(FD, types);
	OK(cuMemImportFromShareableHandle(&own, (void *)(intptr_t)second, FD));
	mine = map_all(own, 3 * PIECE);
	word_set(p + PIECE, 11);
	word_is(mine + PIECE, 11);
	peer_send(&peer, "x", 1, fd);
	close(fd);
	close(second);
	peer_meet(&peer);
	word_is(mine + 2 * PIECE, 22);
	word_set(p, 33);
	unmap_all(mine, 3 * PIECE);
	unmap_all(p, 3 * PIECE);
	OK(cuMemRelease(own));
	OK(cuMemRelease(handle));
	peer_meet(&peer);
	peer_end(&peer);
	return check_done();
}
