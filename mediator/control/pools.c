// SPDX-License-Identifier: Apache-2.0
// Operations on pools: pool.add, pool.set, pool.remove. Runs in the mediator's loop.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "mediator/adopt/keep.h"
#include "mediator/control/operations.h"
#include "mediator/control/uuid.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

static void explain(struct control_call *c, int r, const char *name)
{
	switch (r) {
	case -EEXIST: control_fail(c, CONTROL_E_STATE, "there is a pool '%s' already", name); break;
	case -ENOSPC:
		control_fail(c, CONTROL_E_LIMIT, "there are %d pools already (VGPU_MAX_POOLS)",
			     VGPU_MAX_POOLS);
		break;
	case -ERANGE:
		control_fail(c, CONTROL_E_STATE,
			     "the shares of all pools would leave nothing for those with weights");
		break;
	default: control_fail(c, CONTROL_E_INTERNAL, "%s", strerror(-r)); break;
	}
}

// A mediator has one GPU. False with the error said when the pool is to be on another one, or nobody can
// tell.
static bool is_on_ours(struct control_call *c, const char *gpu)
{
	struct sensor *sensor = &c->mediator->sensor;
	char ours[UUID_TEXT_BYTES];

	if (!gpu)
		return true;
	if (!sensor->board.known) {
		sensor_want(sensor, clock_now_ns());
		control_fail(c, CONTROL_E_GPU,
			     "which GPU this mediator has is not known yet: ask again in a moment");
		return false;
	}
	uuid_print(sensor->board.identity.uuid, ours);
	if (uuid_equal(gpu, ours))
		return true;
	control_fail(c, CONTROL_E_GPU,
		     "a mediator shares one GPU, and this one's is %s: a pool on %.60s belongs to the "
		     "mediator of that GPU",
		     ours, gpu);
	return false;
}

static void remember_gpu(struct pool *p, const char *gpu)
{
	if (gpu)
		snprintf(p->gpu, sizeof(p->gpu), "%s", gpu);
}

static void pool_add_called(struct control_call *c)
{
	const char *name = control_text(c, "pool"), *gpu = control_text(c, "gpu");
	struct pool *p;
	int r;

	if (!is_on_ours(c, gpu))
		return;
	r = pool_add(c->mediator, name, &c->policy, &p);
	if (r < 0) {
		explain(c, r, name);
		return;
	}
	remember_gpu(p, gpu);
	record_pool_set(p, &c->policy);
	keep_pool(p);
}

static void pool_set_called(struct control_call *c)
{
	struct pool *p = control_pool(c, "pool");
	int r;

	if (!p || !is_on_ours(c, control_text(c, "gpu")))
		return;
	r = pool_set(p, &c->policy);
	if (r < 0) {
		explain(c, r, p->name);
		return;
	}
	remember_gpu(p, control_text(c, "gpu"));
	record_pool_set(p, &c->policy);
	keep_pool(p);
}

static void pool_remove_called(struct control_call *c)
{
	struct pool *p = control_pool(c, "pool");
	unsigned n = p ? p->n_tenants : 0;
	struct vm *vm;

	if (!p)
		return;
	vm = vm_in_pool(c->mediator, p->name);
	if (vm) {
		control_fail(c, CONTROL_E_STATE,
			     "the VM '%s' (%s) is to be in the pool: change that first (vm.set)", vm->name,
			     vm->uuid);
		return;
	}
	if (pool_remove(p) == 0) {
		record_pool_removed(c->mediator, control_text(c, "pool"));
		return;
	}
	if (n)
		control_fail(c, CONTROL_E_STATE, "the pool has %u tenants: move them first (tenant.set)", n);
	else
		control_fail(c, CONTROL_E_STATE, "the pool '" POOL_DEFAULT "' stays");
}

static void pool_list_called(struct control_call *c)
{
	json_t *rows = json_array();
	struct pool *p;

	turns_refresh(&c->mediator->turns);
	TAILQ_FOREACH (p, &c->mediator->pools, link)
		json_array_append_new(rows, control_describe_pool(p, clock_now_ns()));
	json_object_set_new(c->answer, "pools", rows);
}

static void pool_get_called(struct control_call *c)
{
	struct pool *p = control_pool(c, "pool");
	json_t *o;

	if (!p)
		return;
	turns_refresh(&c->mediator->turns);
	o = control_describe_pool(p, clock_now_ns());
	json_object_update(c->answer, o);
	json_decref(o);
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field fields[] = {
	{ "pool", CONTROL_NAME, true, "Its name." },
	{ "gpu", CONTROL_STRING, false,
	  "Uuid of the GPU that the pool is on, as nvidia-smi -L prints it. A mediator has one GPU; another "
	  "one is refused." },
	{ 0 },
};
static const struct control_field name_only[] = { { "pool", CONTROL_NAME, true, "Its name." }, { 0 } };

const struct control_operation control_pool_operations[] = {
	{ "pool.list", "All pools, as status shows them.", no_fields, 0, false, pool_list_called },
	{ "pool.get", "One pool.", name_only, 0, false, pool_get_called },
	{ "pool.add", "Makes a pool.", fields, POLICY_FOR_POOL, true, pool_add_called },
	{ "pool.set", "Changes what is given, at once.", fields, POLICY_FOR_POOL, true, pool_set_called },
	{ "pool.remove", "Removes a pool without tenants.", name_only, 0, true, pool_remove_called },
	{ 0 },
};
