// SPDX-License-Identifier: Apache-2.0
//
// What shared memory costs a tenant: counted once while several processes have it, until the last of them has
// gone, and not longer. Runs in a tenant with a quota; its free memory is the quota's.
#include "tests/e2e/check.h"
#include "tests/e2e/peer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES (16 * MIB)

static size_t free_bytes(void)
{
	size_t free_now, total;

	MUST(cuMemGetInfo_v2(&free_now, &total));
	return free_now;
}

static void wait_free(size_t want, const char *when)
{
	size_t now = free_bytes();

	for (int i = 0; now != want && i < 2000; i++) { // the end of a process is noticed, not waited for
		sleep_ms(5);
		now = free_bytes();
	}
	CHECK(now == want, "%s: %zu bytes are free, %zu expected", when, now, want);
}

// Allocates, shares, and ends without freeing when it is told to.
static int owner(const struct peer *parent)
{
	CUipcMemHandle handle;
	CUdeviceptr p;
	char order;

	check_context();
	MUST(cuMemAlloc_v2(&p, BYTES));
	OK(cuIpcGetMemHandle(&handle, p));
	peer_send(parent, &handle, sizeof(handle), -1);
	peer_receive(parent, &order, 1);
	if (order == 'f')
		MUST(cuMemFree_v2(p));
	peer_meet(parent);
	peer_meet(parent);
	return check_done();
}

static void lives_on(char order, const char *how)
{
	size_t before = free_bytes();
	struct peer peer = peer_start("owner");
	CUipcMemHandle handle;
	CUdeviceptr p;

	peer_receive(&peer, &handle, sizeof(handle));
	wait_free(before - BYTES, "allocated elsewhere");
	MUST(cuIpcOpenMemHandle_v2(&p, handle, 1));
	wait_free(before - BYTES, "open here too");
	peer_send(&peer, &order, 1, -1);
	peer_meet(&peer);
	wait_free(before - BYTES, how);
	peer_meet(&peer);
	peer_end(&peer);
	wait_free(before - BYTES, "its owner has ended");
	OK(cuMemsetD32_v2(p, 7, BYTES / 4));
	MUST(cuCtxSynchronize());
	OK(cuIpcCloseMemHandle(p));
	wait_free(before, "closed here");
}

// An opener that ends without closing leaves nothing behind.
static int opener(const struct peer *parent)
{
	CUipcMemHandle handle;
	CUdeviceptr p;

	check_context();
	peer_receive(parent, &handle, sizeof(handle));
	MUST(cuIpcOpenMemHandle_v2(&p, handle, 1));
	peer_meet(parent);
	_exit(0);
}

static void opener_ends(void)
{
	size_t before = free_bytes();
	struct peer peer = peer_start("opener");
	CUipcMemHandle handle;
	CUdeviceptr p;

	MUST(cuMemAlloc_v2(&p, BYTES));
	MUST(cuIpcGetMemHandle(&handle, p));
	peer_send(&peer, &handle, sizeof(handle), -1);
	peer_meet(&peer);
	peer_end(&peer);
	wait_free(before - BYTES, "its opener has ended");
	MUST(cuMemFree_v2(p));
	wait_free(before, "freed");
}

int main(int argc, char **argv)
{
	const char *role;
	struct peer peer = peer_parent(argc, argv, &role);

	if (role)
		return strcmp(role, "owner") ? opener(&peer) : owner(&peer);
	check_context();
	lives_on('f', "its owner has freed it");
	lives_on('e', "its owner has not freed it");
	opener_ends();
	return check_done();
}
