// SPDX-License-Identifier: Apache-2.0
// See the header. Part of the fake executor; does what executor/park.c does, without memory.
#include "tests/integration/fake_room.h"

#include <string.h>

#include "protocol/host/turn_page.h"

static struct vgpu_turn_page *page;
static struct fake_room *shown;
static struct vgpu_tenant_page *tenant;
static void (*kick)(void);
static bool slow, asking;

void fake_room_init(struct vgpu_turn_page *its_page, struct vgpu_tenant_page *its_tenant,
		    struct fake_room *its_room, void (*its_kick)(void))
{
	page = its_page;
	tenant = its_tenant;
	shown = its_room;
	kick = its_kick;
}

void fake_room_hold(uint64_t bytes)
{
	atomic_fetch_add(&tenant->memory_used, bytes);
	atomic_fetch_add(&page->memory_bytes, bytes);
}

static void show(void)
{
	shown->held = atomic_load(&page->memory_bytes);
	shown->parked = atomic_load(&page->parked_bytes);
}

static void ask(uint64_t bytes, uint64_t free, bool back)
{
	asking = true;
	atomic_store(&page->room_bytes, bytes);
	atomic_store(&page->room_free, free);
	atomic_store(&page->room_back, back);
	atomic_fetch_add(&page->room_ask, 1);
	kick();
}

static void take(void)
{
	uint64_t held = atomic_load(&page->memory_bytes), parked = atomic_load(&page->parked_bytes);
	uint64_t bytes = atomic_load(&page->room_bytes), lease = atomic_load(&page->lease);

	asking = false;
	shown->lease = lease;
	if (lease && held - parked + bytes > lease)
		shown->refused++;
	else if (atomic_load(&page->room_back))
		atomic_store(&page->parked_bytes, 0);
	else
		fake_room_hold(bytes);
	atomic_store(&page->room_bytes, 0);
	show();
	shown->answered++;
	kick();
}

static void park(uint64_t number)
{
	atomic_store(&page->parked_bytes, atomic_load(&page->memory_bytes));
	atomic_store(&page->park_answer, number);
	show();
	kick();
}

void fake_room_look(void)
{
	static uint64_t seen;
	uint64_t number = atomic_load(&page->park_ask);

	show();
	if (number != seen) {
		seen = number;
		shown->asked++;
	}
	if (slow)
		return;
	if (number != atomic_load(&page->park_answer))
		park(number);
	if (asking && atomic_load(&page->room_answer) == atomic_load(&page->room_ask))
		take();
}

bool fake_room_obey(const char *word, uint64_t a, uint64_t b)
{
	if (strcmp(word, "allocate") == 0)
		ask(a, b, false);
	else if (strcmp(word, "back") == 0)
		ask(atomic_load(&page->parked_bytes), a, true);
	else if (strcmp(word, "slow") == 0)
		slow = true;
	else if (strcmp(word, "go") == 0)
		slow = false;
	else
		return false;
	return true;
}
