// SPDX-License-Identifier: Apache-2.0
// Turns in the real world: carries the decisions of mediator/sched/ to the turn pages of the executors, and
// what the executors show there back to it. One `turns` a mediator, one account a tenant, one seat an
// executor; all in the mediator's loop. What an executor wrote is loaded once and bounded, and never decides
// what it is billed while others are in demand.
#ifndef VGPU_MEDIATOR_TURN_TURN_H
#define VGPU_MEDIATOR_TURN_TURN_H

#include <systemd/sd-event.h>

#include "mediator/sched/wfq.h"
#include "mediator/settings.h"
#include "protocol/host/turn_page.h"

struct turns {
	sd_event *event;
	const struct settings *settings;
	struct wfq wfq;
	sd_event_source *timer;
};

// What executors report about themselves. Counters only grow.
struct turn_meters {
	uint64_t launches, copy_bytes, faults;
};

// A tenant's place among the tenants.
struct turn_account {
	struct turns *turns;
	struct wfq_node group;
	struct turn_meters ended; // of seats that are gone
	unsigned seats;
};

struct turn_seat_ops;

// An executor's place in its tenant.
struct turn_seat {
	struct turn_account *account;
	struct wfq_node leaf;
	struct vgpu_turn_page *page; // NULL: not initialised
	int page_fd;		     // until it is handed over
	int kick_fd;
	int doorbell_fd; // borrowed
	uint64_t turn_id;
	bool stopped;
	struct turn_meters meters; // as seen last
	sd_event_source *kick;
	const struct turn_seat_ops *ops;
};

// What the owner of a seat does for it. Called from the loop.
struct turn_seat_ops {
	// The executor keeps its turn far too long: kill it (free nothing now).
	void (*hung)(struct turn_seat *seat);
	// Its doorbell is full (the guest has that too): wake it some other way.
	void (*wake)(struct turn_seat *seat);
};

int turns_init(struct turns *t, sd_event *event, const struct settings *settings);
void turns_done(struct turns *t);

void turn_account_init(struct turn_account *a, struct turns *t, uint32_t weight);
void turn_account_done(struct turn_account *a); // no seats left

// Makes the turn page (page_fd) and the kick eventfd. 0 or -errno with the seat as before.
int turn_seat_init(struct turn_seat *s, struct turn_account *a, int doorbell_fd,
		   const struct turn_seat_ops *ops);
// The executor is to end: it gets no more turns. Others go on at once, beside what it still runs (that is
// billed until the seat is done).
void turn_seat_stop(struct turn_seat *s);

// Charges what is open and gives the turn to others; the meters stay with the account. Accepts a seat that
// was never initialised (all zero).
void turn_seat_done(struct turn_seat *s);

// Device memory the executor says it holds.
uint64_t turn_seat_memory(const struct turn_seat *s);

// Brings meters, demand and charges of all seats up to now; for STATUS.
void turn_seat_refresh(struct turn_seat *s);
void turns_refresh(struct turns *t);

#endif
