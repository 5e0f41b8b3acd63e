// SPDX-License-Identifier: Apache-2.0
// A client of CloudStack's API. One thread, one request at a time. What goes wrong is said here, once, with
// the next step.
#ifndef VGPU_ADMIN_CLOUDSTACK_API_CLIENT_H
#define VGPU_ADMIN_CLOUDSTACK_API_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "admin/call.h"
#include "admin/cloudstack/api_sign.h"
#include "admin/cloudstack/config.h"

struct api;

struct api *api_new(const struct config *config); // which is to live longer
void api_free(struct api *a);

// Asks once or, where that is safe, until it is answered. The request is given back in any case. *ret (may be
// NULL: nobody looks at it) is to be given back when this is ADMIN_OK.
enum admin_exit api_ask(struct api *a, const char *command, struct api_request *r, json_t **ret);
// All pages of a list as one array of the objects of that name.
enum admin_exit api_list(struct api *a, const char *command, struct api_request *r, const char *object,
			 json_t **ret);
// Asks for something that takes its time. *ret_job is to be freed.
enum admin_exit api_start(struct api *a, const char *command, struct api_request *r, char **ret_job);
// Until the job is done; what names it when it failed.
enum admin_exit api_wait(struct api *a, const char *job, const char *what);

// How many seconds CloudStack's clock was before ours at its last answer. False: it did not say the time.
bool api_clock(const struct api *a, long long *ret_s);

#endif
