// SPDX-License-Identifier: Apache-2.0
// vgpu-admin: what operators do with a mediator, from a shell. A client of the HTTP API, with the rights of
// whoever runs it.
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/call.h"
#include "admin/confirm.h"
#include "admin/options.h"
#include "admin/text.h"
#include "common/cleanup.h"

static enum admin_exit ask_first(const struct admin_call *c)
{
	cleanup_free char *subject = text_clean(c->argument[0] ? c->argument[0] : "");
	cleanup_free char *question = confirm_text(c->action->question, subject);

	switch (confirm(question)) {
	case CONFIRM_YES: return ADMIN_OK;
	case CONFIRM_NO: admin_complain("nothing was done"); return ADMIN_REFUSED;
	default:
		admin_complain("%s Nothing was done: stdin is no terminal to ask on, and --yes was not said",
			       question);
		return ADMIN_USAGE;
	}
}

int main(int argc, char **argv)
{
	struct admin_call c = { 0 };
	enum admin_exit r = ADMIN_OK;

	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C"); // numbers are read and written as the API has them
	text_init();
	options_parse(&c, argc, argv);
	if (c.action->question && !c.yes)
		r = ask_first(&c);
	if (r == ADMIN_OK)
		r = c.action->run ? (enum admin_exit)c.action->run(&c) : admin_run(&c);
	admin_call_done(&c);
	if (fflush(stdout) != 0) {
		perror("vgpu-admin: stdout");
		return ADMIN_USAGE;
	}
	return r;
}
