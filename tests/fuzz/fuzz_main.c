// SPDX-License-Identifier: Apache-2.0
// Stands in for libFuzzer where the compiler has none: runs the files named on the command line, then so many
// inputs made by a fixed pseudo-random sequence. usage: fuzz-NAME [-runs=N] [-max_len=N] [FILE ...]
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint8_t input[1 << 16];

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		return 1;
	}
	n = fread(input, 1, sizeof(input), f);
	fclose(f);
	LLVMFuzzerTestOneInput(input, n);
	return 0;
}

// Records with plausible beginnings, small numbers everywhere: most of what is interesting is near 0.
static size_t make_input(size_t limit)
{
	size_t n = (size_t)rand() % (limit + 1);

	for (size_t i = 0; i < n; i++)
		input[i] = (uint8_t)(rand() % 3 ? 0 : rand() % 2 ? rand() % 64 : rand());
	return n;
}

int main(int argc, char **argv)
{
	unsigned long runs = 1000, limit = 4096;
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = strtoul(argv[i] + 6, NULL, 10);
		else if (strncmp(argv[i], "-max_len=", 9) == 0)
			limit = strtoul(argv[i] + 9, NULL, 10);
		else if (argv[i][0] != '-')
			failed |= run_file(argv[i]);
	}
	srand(1);
	if (limit > sizeof(input))
		limit = sizeof(input);
	while (runs--)
		LLVMFuzzerTestOneInput(input, make_input(limit));
	return failed;
}
