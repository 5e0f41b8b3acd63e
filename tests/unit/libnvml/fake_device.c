// SPDX-License-Identifier: Apache-2.0
// See the header.
#include "tests/unit/libnvml/fake_device.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/cuda/cuda_abi.h"

struct vgpu_device {
	int open;
};

struct fake_device fake;
static struct vgpu_device the_device;
static _Atomic int looks_running;

void fake_reset(void)
{
	int32_t *a = fake.state.identity.attributes;

	fake = (struct fake_device){ 0 };
	fake.state.source = DEVICE_IDENTITY;
	fake.state.age_ns = UINT64_MAX;
	strncpy(fake.state.identity.name, "A device of the test", sizeof(fake.state.identity.name) - 1);
	for (int i = 0; i < 16; i++)
		fake.state.identity.uuid[i] = (uint8_t)(0xa0 + i);
	fake.state.identity.total_memory = 1ull << 34;
	fake.state.identity.attribute_count = 150;
	a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 9;
	a[CU_DEVICE_ATTRIBUTE_COMPUTE_MODE] = 3;
	a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] = 0x12;
	a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] = 0x3a;
	a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] = 0x1f;
}

void fake_know_all(void)
{
	fake.state.source = DEVICE_CARD;
	fake.state.age_ns = 1000000;
	for (int i = 0; i < DEVICE_VALUES; i++)
		device_value_set(&fake.state.values, (enum device_value)i, (uint64_t)i + 1);
}

int vgpu_device_open(const char *path, struct vgpu_device **ret)
{
	if (path)
		abort(); // libnvml leaves it to the environment
	if (fake.open_error)
		return fake.open_error;
	fake.opens++;
	the_device.open = 1;
	*ret = &the_device;
	return 0;
}

void vgpu_device_close(struct vgpu_device *d)
{
	if (!d)
		return;
	if (!d->open || atomic_load(&looks_running))
		abort();
	fake.closes++;
	d->open = 0;
}

static int look(struct vgpu_device *d)
{
	if (d != &the_device || !d->open)
		abort();
	__atomic_add_fetch(&fake.looks, 1, __ATOMIC_RELAXED);
	return fake.look_error;
}

int vgpu_device_state(struct vgpu_device *d, uint64_t max_age_ns, struct device_state *ret)
{
	int error;

	atomic_fetch_add(&looks_running, 1);
	error = look(d);
	if (!max_age_ns)
		abort();
	if (!error)
		*ret = fake.state;
	atomic_fetch_sub(&looks_running, 1);
	return error;
}

int vgpu_device_processes(struct vgpu_device *d, uint64_t max_age_ns, struct device_process *rows,
			  uint32_t room, uint32_t *ret_n)
{
	int error;

	atomic_fetch_add(&looks_running, 1);
	error = look(d);
	if (!max_age_ns)
		abort();
	if (!error) {
		*ret_n = fake.row_count;
		memcpy(rows, fake.rows, (room < fake.row_count ? room : fake.row_count) * sizeof(*rows));
	}
	atomic_fetch_sub(&looks_running, 1);
	return error;
}
