// SPDX-License-Identifier: Apache-2.0
// Brings what kernels printed to the program's stdout, when a call of the program has waited for the GPU, as
// the driver does. Runs in the guest program, in the thread that waited.
#include <pthread.h>
#include <stdio.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "protocol/guest/channel.h"

void vc_print_take(void)
{
	static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
	struct reply_print_take reply;
	char text[CHANNEL_PRINT_BYTES];
	uint32_t bytes;

	pthread_mutex_lock(&order);
	do {
		bytes = 0;
		if (vgpu_call_print_take(vc_client, &reply, text, sizeof(text), &bytes))
			break;
		if (reply.lost)
			vc_log("%llu bytes that kernels printed found no room",
			       (unsigned long long)reply.lost);
		if (bytes)
			fwrite(text, 1, bytes, stdout);
	} while (bytes == sizeof(text));
	fflush(stdout);
	pthread_mutex_unlock(&order);
}
