// SPDX-License-Identifier: Apache-2.0
// The error log of the driver interface: what was not supported and why, kept whatever VGPU_LOG says. Runs in
// the guest program; one lock, and none while callbacks run.
#include "guest/libcuda/logs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"

#define LINES	  64
#define LINE	  256
#define CALLBACKS 16
#define LOST	  "[older messages were lost]\n"

enum { LOG_LEVEL_ERROR = 0 };

struct callback {
	CUlogsCallback fn;
	void *data;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[LINES][LINE]; // number n is at n % LINES
static unsigned int written;	// numbers given so far
static struct callback callbacks[CALLBACKS];

void vc_logs_keep(const char *line)
{
	struct callback told[CALLBACKS];
	char text[LINE];

	if (atomic_load(&vc_state) == VC_FORKED)
		return; // another thread may have had the lock when the process forked
	snprintf(text, sizeof(text), "%s", line);
	pthread_mutex_lock(&lock);
	memcpy(lines[written++ % LINES], text, sizeof(text));
	memcpy(told, callbacks, sizeof(told));
	pthread_mutex_unlock(&lock);
	for (unsigned int i = 0; i < CALLBACKS; i++)
		if (told[i].fn)
			told[i].fn(told[i].data, LOG_LEVEL_ERROR, text, strlen(text));
}

CUresult cuLogsRegisterCallback(CUlogsCallback fn, void *data, CUlogsCallbackHandle *ret)
{
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

	if (!fn)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < CALLBACKS && result; i++) {
		if (callbacks[i].fn)
			continue;
		callbacks[i] = (struct callback){ fn, data };
		if (ret)
			*ret = (CUlogsCallbackHandle)&callbacks[i];
		result = CUDA_SUCCESS;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

CUresult cuLogsUnregisterCallback(CUlogsCallbackHandle handle)
{
	CUresult result = CUDA_ERROR_INVALID_VALUE;

	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < CALLBACKS; i++)
		if ((CUlogsCallbackHandle)&callbacks[i] == handle && callbacks[i].fn) {
			callbacks[i] = (struct callback){ 0 };
			result = CUDA_SUCCESS;
		}
	pthread_mutex_unlock(&lock);
	return result;
}

CUresult cuLogsCurrent(CUlogIterator *ret, unsigned int flags)
{
	if (!ret || flags)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	*ret = written;
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

// The number of the first line to hand out; *lost: some that were asked for are gone.
static unsigned int first_line(const CUlogIterator *from, int *lost)
{
	unsigned int oldest = written > LINES ? written - LINES : 0,
		     first = from && *from <= written ? *from : 0;

	*lost = first < oldest;
	return first < oldest ? oldest : first;
}

CUresult cuLogsDumpToMemory(CUlogIterator *from, char *buffer, size_t *size, unsigned int flags)
{
	size_t room, used = 0, needed = 0;
	unsigned int first;
	int lost;

	if (!buffer || !size || flags)
		return CUDA_ERROR_INVALID_VALUE;
	room = *size;
	*size = 0;
	pthread_mutex_lock(&lock);
	first = first_line(from, &lost);
	for (unsigned int n = first; n < written; n++)
		needed += strlen(lines[n % LINES]) + 1;
	// The latest are those that matter.
	while (first < written && needed + (lost ? sizeof(LOST) : 1) > room) {
		needed -= strlen(lines[first++ % LINES]) + 1;
		lost = 1;
	}
	if (lost && first < written)
		used = (size_t)snprintf(buffer, room, "%s", LOST);
	for (; first < written; first++)
		used += (size_t)snprintf(buffer + used, room - used, "%s\n", lines[first % LINES]);
	if (from)
		*from = written;
	pthread_mutex_unlock(&lock);
	if (!used && lost)
		return CUDA_ERROR_INVALID_VALUE;
	if (room)
		buffer[used] = '\0';
	*size = used;
	return CUDA_SUCCESS;
}

CUresult cuLogsDumpToFile(CUlogIterator *from, const char *path, unsigned int flags)
{
	size_t bytes = LINES * LINE + sizeof(LOST);
	char *text;
	FILE *file;
	CUresult result;

	if (!path || flags)
		return CUDA_ERROR_INVALID_VALUE;
	text = malloc(bytes);
	if (!text)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cuLogsDumpToMemory(from, text, &bytes, 0);
	if (!result) {
		file = fopen(path, "we");
		if (!file || fwrite(text, 1, bytes, file) != bytes)
			result = CUDA_ERROR_INVALID_VALUE;
		if (file && fclose(file))
			result = CUDA_ERROR_INVALID_VALUE;
	}
	free(text);
	return result;
}
