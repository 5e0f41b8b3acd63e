// SPDX-License-Identifier: Apache-2.0
// The operation metrics: the Prometheus text in one string. Runs in the mediator's loop.
#include <stdlib.h>

#include "mediator/control/operations.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

static void metrics_called(struct control_call *c)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	int r = out ? metrics_write(c->mediator, out) : -1;

	if (out && fclose(out) != 0)
		r = -1;
	if (r < 0)
		control_fail(c, CONTROL_E_INTERNAL, "out of memory");
	else
		json_object_set_new(c->answer, "text", json_stringn(text, bytes));
	free(text);
}

static const struct control_field no_fields[] = { { 0 } };

const struct control_operation control_metrics_operations[] = {
	{ "metrics", "All metrics (docs/metrics.md) in Prometheus' text format, in the field text.",
	  no_fields, 0, false, metrics_called },
	{ 0 },
};
