// SPDX-License-Identifier: Apache-2.0
// Brings what kernels printed to the program's stdout, and messages of failed assertions to its stderr, when
// a call of the program has waited for the GPU, as the driver does. Runs in the guest program, in the thread
// that waited.
#include <pthread.h>
#include <stdio.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "protocol/guest/channel.h"

static void take(uint32_t what, FILE *to)
{
	struct record_print_take record = { .what = what };
	struct reply_print_take reply;
	char text[CHANNEL_PRINT_BYTES];
	uint32_t bytes;

	do {
		bytes = 0;
		if (vgpu_call_print_take(vc_client, &record, &reply, text, sizeof(text), &bytes))
			break;
		if (reply.lost)
			vc_log("%llu bytes that kernels printed found no room",
			       (unsigned long long)reply.lost);
		if (bytes)
			fwrite(text, 1, bytes, to);
	} while (bytes == sizeof(text));
	fflush(to);
}

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static void take_complaints(void)
{
	if (vgpu_client_printed(vc_client) & CHANNEL_PRINT_COMPLAINTS)
		take(PRINT_KIND_COMPLAINTS, stderr);
}

void vc_print_take(void)
{
	pthread_mutex_lock(&order);
	take(PRINT_KIND_TEXT, stdout);
	take_complaints();
	pthread_mutex_unlock(&order);
}

CUresult vc_context_failed(int sticky)
{
	pthread_mutex_lock(&order);
	take_complaints();
	pthread_mutex_unlock(&order);
	return (CUresult)sticky;
}
