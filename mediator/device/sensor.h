// SPDX-License-Identifier: Apache-2.0
// vgpu-sensor as the mediator sees it: one process that reads the device, since the mediator opens none.
// Started when somebody asks for the first time; asked again (SENSE) as long as somebody asks; killed when it
// does not answer; started again with growing pauses when it ended. One whose backend has nothing to read
// tells what the device is and ends.
//
//   OFF ──asked──> STARTING ──SENSOR_READY──> SERVING ──ends──> OFF (pause)
//    ^                │ ends, too slow           │ SENSE unanswered
//    └──── exit ──────┴────────> KILLED <────────┘          SERVING ──nothing to read, ends well──> DONE
#ifndef VGPU_MEDIATOR_DEVICE_SENSOR_H
#define VGPU_MEDIATOR_DEVICE_SENSOR_H

#include <systemd/sd-event.h>

#include "mediator/device/board.h"
#include "mediator/output.h"
#include "mediator/spawn.h"

struct mediator;

enum sensor_state {
	SENSOR_OFF,
	SENSOR_STARTING, // SENSOR_READY awaited
	SENSOR_SERVING,
	SENSOR_KILLED, // SIGKILL sent
	SENSOR_DONE,   // told all there is
};

struct sensor {
	struct mediator *mediator;
	char path[4096]; // of the program; empty: there is none
	enum sensor_state state;
	struct spawned process;
	struct output output;
	sd_event_source *link_source, *exit_source, *timer;
	bool asked;		// SENSE is unanswered
	unsigned failures;	// since the last reading
	uint64_t not_before_ns; // no new start earlier
	struct board board;
};

// Finds the program; without one nothing is ever known, which is logged.
void sensor_init(struct sensor *x, struct mediator *m);
// Ends it. Accepts one that was never initialised (all zero).
void sensor_done(struct sensor *x);

// Somebody wants to know: starts it, or has it read the card when the last reading is older than
// sensor.interval.
void sensor_want(struct sensor *x, uint64_t now_ns);

// Whether the board has all that can be had now: waiting would bring nothing better soon.
bool sensor_settled(const struct sensor *x, uint64_t now_ns);

#endif
