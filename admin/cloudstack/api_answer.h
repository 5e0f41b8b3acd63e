// SPDX-License-Identifier: Apache-2.0
// What CloudStack's API answers.
#ifndef VGPU_ADMIN_CLOUDSTACK_API_ANSWER_H
#define VGPU_ADMIN_CLOUDSTACK_API_ANSWER_H

#include <jansson.h>
#include <stddef.h>

#define API_NO_ANSWER (-1l) // not what a CloudStack says

struct api_error {
	long code; // CloudStack's, which is the HTTP status as well; API_NO_ANSWER; 0: none
	char *text;
};

enum api_job { API_JOB_RUNS, API_JOB_DONE, API_JOB_FAILED };

// What stands in {"...response": {...}}, to be given back, or NULL with *ret set.
json_t *api_answer_read(const char *bytes, size_t n, long status, struct api_error *ret);
// What queryAsyncJobResult answered. *ret is set of a job that failed.
enum api_job api_job_read(const json_t *answer, struct api_error *ret);
void api_error_done(struct api_error *e);

#endif
