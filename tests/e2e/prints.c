// SPDX-License-Identifier: Apache-2.0
//
// Kernels that print: their text is on this program's stdout when a call that waited for them has returned,
// in order with what the program itself prints. The test reads the output.
#include "tests/e2e/check.h"

#include <stdio.h>

#define MANY 2000 // lines; more than one answer of the executor carries

static CUfunction say;
static CUstream stream;

static void launch(int number)
{
	LAUNCH(say, 1, 1, stream, &number);
}

int main(void)
{
	CUmodule module;
	CUdeviceptr p;
	CUevent event;
	int word;

	check_context();
	if (!check_computes())
		check_skip("kernels do not run here");
	module = check_module("prints.ptx");
	say = check_function(module, "say");
	MUST(cuStreamCreate(&stream, 0));
	MUST(cuEventCreate(&event, 0));
	MUST(cuMemAlloc_v2(&p, sizeof(word)));

	puts("before context");
	launch(0);
	OK(cuCtxSynchronize());
	puts("after context\nbefore stream");
	launch(1);
	OK(cuStreamSynchronize(stream));
	puts("after stream\nbefore event");
	launch(2);
	MUST(cuEventRecord(event, stream));
	OK(cuEventSynchronize(event));
	puts("after event\nbefore copy");
	launch(3);
	OK(cuMemcpyDtoH_v2(&word, p, sizeof(word)));
	puts("after copy\nbefore module");
	launch(4);
	OK(cuCtxSynchronize());
	OK(cuModuleUnload(module));
	puts("after module\nbefore many");
	module = check_module("prints.ptx");
	say = check_function(module, "say");
	for (int i = 0; i < MANY; i++)
		launch(i);
	OK(cuCtxSynchronize());
	puts("after many");
	return check_done();
}
