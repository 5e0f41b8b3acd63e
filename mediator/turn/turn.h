// SPDX-License-Identifier: Apache-2.0
// Turns in the real world: carries the decisions of mediator/sched/ to the turn pages of the executors, and
// what the executors show there back to it. One `turns` a mediator, one account a tenant, one seat an
// executor; all in the mediator's loop. What an executor wrote is loaded once and bounded, and never decides
// what it is billed while others are in demand.
#ifndef VGPU_MEDIATOR_TURN_TURN_H
#define VGPU_MEDIATOR_TURN_TURN_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "mediator/metrics/delays.h"
#include "mediator/sched/wfq.h"
#include "mediator/settings.h"
#include "mediator/turn/turn_books.h"
#include "protocol/host/turn_page.h"

struct turns {
	sd_event *event;
	const struct settings *settings;
	struct wfq wfq;
	sd_event_source *timer;
	uint64_t openings, overruns; // gates opened; turns beside which others went on. They only grow.
};

// What executors report about themselves. Counters only grow, up to TURN_METER_MOST.
struct turn_meters {
	uint64_t launches, copy_bytes, faults;
	uint64_t held_ns[VGPU_HELD_BY];
};

#define TURN_METER_MOST (UINT64_C(1) << 62)

void turn_meters_add(struct turn_meters *sum, const struct turn_meters *m);

// A tenant's place among the tenants.
struct turn_account {
	struct turns *turns;
	struct wfq_node group;
	struct turn_meters ended; // of seats that are gone
	unsigned seats;
	struct turn_books *books; // NULL: none are kept
};

struct turn_seat_ops;

// An executor's place in its tenant.
struct turn_seat {
	struct turn_account *account;
	struct wfq_node leaf;
	struct vgpu_turn_page *page;   // NULL: not initialised
	struct turn_books_seat *books; // its place in the account's; NULL: none
	int page_fd;
	int kick_fd;
	int doorbell_fd; // borrowed
	uint64_t turn_id;
	uint64_t park_ask; // as in the page (room.c)
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
	// It rang; turns were seen to.
	void (*kicked)(struct turn_seat *seat);
};

int turns_init(struct turns *t, sd_event *event, const struct settings *settings);
void turns_done(struct turns *t);

// What the policy of a pool or tenant says of its group.
struct turn_policy {
	uint32_t weight;
	bool latency;
	uint32_t cap_per_10000; // 0: no cap
	uint64_t turn_ns;	// 0: as the pool says, or turn.length
};

// Pools: groups of the caller's that accounts are put into.
void turns_add_pool(struct turns *t, struct wfq_node *pool);
void turns_remove_pool(struct turns *t, struct wfq_node *pool); // no accounts left
// Takes effect at once, whoever has the GPU.
void turns_set_policy(struct turns *t, struct wfq_node *group, const struct turn_policy *policy);

void turn_account_init(struct turn_account *a, struct turns *t, struct wfq_node *pool);
void turn_account_move(struct turn_account *a, struct wfq_node *pool);
void turn_account_done(struct turn_account *a); // no seats left

// Makes the turn page (page_fd) and the kick eventfd. 0 or -errno with the seat as before.
int turn_seat_init(struct turn_seat *s, struct turn_account *a, int doorbell_fd,
		   const struct turn_seat_ops *ops);
// Takes the seat of an executor that a mediator before this one started: its turn page and kick eventfd,
// taken over. 0 or -errno with the seat as before; the fds stay the caller's then. Its turn, if it has one,
// goes on with turn_seat_resume.
int turn_seat_adopt(struct turn_seat *s, struct turn_account *a, int doorbell_fd, int page_fd, int kick_fd,
		    const struct turn_seat_ops *ops);
// Whether it holds a turn, and with an open gate. All seats that hold one are resumed before any other shows
// demand; those with a closed gate first: one open gate goes on, and the others are closed.
bool turn_seat_holds(const struct turn_seat *s, bool *ret_open);
void turn_seat_resume(struct turn_seat *s);
// Then the others: what each shows is taken as if it had kicked.
void turn_seat_look(struct turn_seat *s);

// The executor is to end: it gets no more turns. Others go on at once, beside what it still runs (that is
// billed until the seat is done).
void turn_seat_stop(struct turn_seat *s);

// Charges what is open and gives the turn to others; the meters stay with the account. Accepts a seat that
// was never initialised (all zero).
void turn_seat_done(struct turn_seat *s);

// Has the executor look at its page.
void turn_seat_ring(struct turn_seat *s);

// What the watchdog looks at, as the executor shows it now.
struct turn_pulse {
	bool in_flight;
	uint64_t progress, refused_memory;
};
void turn_seat_pulse(const struct turn_seat *s, struct turn_pulse *ret);

// Something that it reads in a shared page has changed: has it look.
void turn_seat_nudge(struct turn_seat *s);

// Where it stands in its account's books; 0 without any.
uint32_t turn_seat_place(const struct turn_seat *s);

// What it shows now, for operators. All zero of one that was never initialised.
struct turn_gauges {
	uint64_t in_flight;    // records
	uint64_t parked_bytes; // up to TURN_GAUGE_MOST
};
#define TURN_GAUGE_MOST (UINT64_C(1) << 50)
void turn_seat_gauges(const struct turn_seat *s, struct turn_gauges *ret);

// Bits of what was used since the last call (enum call_feature), as the executor says.
uint64_t turn_seat_take_features(struct turn_seat *s);

// Adds nothing up: to[] becomes what the executor's histograms show, where that is more.
void turn_seat_raise_delays(const struct turn_seat *s, struct delay_counts to[VGPU_DELAYS]);

// Device memory the executor says it holds.
uint64_t turn_seat_memory(const struct turn_seat *s);
// Host memory it says it has registered.
uint64_t turn_seat_pinned(const struct turn_seat *s);

// Brings meters, demand and charges of all seats up to now; for STATUS.
void turn_seat_refresh(struct turn_seat *s);
void turns_refresh(struct turns *t);

#endif
