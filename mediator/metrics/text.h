// SPDX-License-Identifier: Apache-2.0
// Prometheus' text format (version 0.0.4): names, escaped labels, exact numbers. Pure; errors stay with the
// stream.
#ifndef VGPU_MEDIATOR_METRICS_TEXT_H
#define VGPU_MEDIATOR_METRICS_TEXT_H

#include <stddef.h>

#include "mediator/metrics/delays.h"
#include "mediator/metrics/table.h"

#define METRIC_ABSENT	    UINT64_MAX // no sample
#define METRIC_LABELS_BYTES 512	       // of the labels of a row

// Adds name="value" to the text of labels in to (METRIC_LABELS_BYTES), escaped; bytes that are no printable
// ASCII become '?'. What does not fit is cut within the value, never within an escape.
void text_add_label(char *to, const char *name, const char *value);

void text_begin(FILE *out, const struct metric *m);

// labels: of the row; "": none. label_value: of the metric's own label, if it has one.
void text_sample(FILE *out, const struct metric *m, const char *labels, const char *label_value,
		 uint64_t value);
void text_histogram(FILE *out, const struct metric *m, const char *labels, const char *label_value,
		    const struct delay_counts *counts);

#endif
