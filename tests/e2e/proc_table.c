// SPDX-License-Identifier: Apache-2.0
//
// What cuGetProcAddress answers, as a table: for each line "NAME VERSION FLAGS" of the file argv[1] one line
// "NAME VERSION FLAGS: RESULT STATUS SYMBOL RESULT1 SYMBOL1" of the second and the first form of the call.
// SYMBOL is the exported name that has the address, "-" without one, "?" when no export has it. "!" stands
// for the empty name. test_proc_table.py compares it with the rule, and natively with the driver.
#include "tests/e2e/check.h"

#include <stdio.h>
#include <string.h>

static const char *symbol_of(const char *base, const void *address, char *ret, size_t room)
{
	static const char *const versions[] = { "", "_v2", "_v3", "_v4", "_v5" };
	static const char *const forms[] = { "", "_ptsz", "_ptds" };

	if (!address)
		return "-";
	for (size_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++)
		for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
			snprintf(ret, room, "%s%s%s", base, versions[v], forms[f]);
			if (driver_symbol(ret) == address)
				return ret;
		}
	return "?";
}

static void ask(const char *name, int version, unsigned long long flags)
{
	const char *asked = strcmp(name, "!") == 0 ? "" : name;
	void *second = NULL, *first = NULL;
	char a[300], b[300];
	int status = -1;
	CUresult result = cuGetProcAddress_v2(asked, &second, version, flags, &status);
	CUresult older = cuGetProcAddress(asked, &first, version, flags);

	printf("%s %d %llu: %d %d %s %d %s\n", name, version, flags, result, status,
	       symbol_of(asked, second, a, sizeof(a)), older, symbol_of(asked, first, b, sizeof(b)));
}

int main(int argc, char **argv)
{
	unsigned long long flags;
	char name[200];
	int version;
	FILE *f;

	check_open();
	if (argc != 2 || !(f = fopen(argv[1], "re")))
		check_bail("usage: %s FILE", argv[0]);
	while (fscanf(f, "%199s %d %llu", name, &version, &flags) == 3)
		ask(name, version, flags);
	fclose(f);
	return 0;
}
