// SPDX-License-Identifier: Apache-2.0
// The way of this host's VMs from one personality to the other and back, in groups: a canary first, then
// waves. A run is planned, VMs are let into it by what host and guest say (preflight), a group is begun by an
// operator, and judged by the mediator itself: what fails goes back without anybody being asked. Nothing of a
// running VM is touched: a personality holds from the VM's next start (decision 30), and the programs of both
// use the same channels.
//
//   VM:  planned ──begin──> waiting ──its start──> observed ──> good | unjudged | failed ──> rolled back
//        (one that does not run is observed at once)
//
// A run needs a store: there it lies, and what its VMs did before. It is read back from there by the next
// mediator, adopting or not. Logic only; who asks is mediator/control/migrate.c. In the mediator's loop;
// docs/migration.md, docs/decisions/0032.
#ifndef VGPU_MEDIATOR_MIGRATE_MIGRATE_H
#define VGPU_MEDIATOR_MIGRATE_MIGRATE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "mediator/inventory/uuid.h"
#include "mediator/migrate/report.h"
#include "mediator/migrate/rule.h"
#include "mediator/store/store.h"

struct mediator;
struct tenant;
struct vm;

#define MIGRATE_WHY_BYTES STORE_TEXT_BYTES

enum migrate_state {
	MIGRATE_PLANNED,
	MIGRATE_WAITING,  // its personality is set; it runs with the one of before
	MIGRATE_OBSERVED, // it was started since, or did not run
	MIGRATE_WELL,
	MIGRATE_NOT_JUDGED, // too little activity until the deadline
	MIGRATE_FAILED,	    // for a moment: its group goes back
	MIGRATE_BACK,
	MIGRATE_STATES
};

enum migrate_run_state {
	MIGRATE_RUN_PLANNED,
	MIGRATE_RUN_MOVING,   // the group that was begun last is not judged
	MIGRATE_RUN_GOOD,     // it is: the next may begin
	MIGRATE_RUN_UNJUDGED, // none of it did enough until the deadline
	MIGRATE_RUN_DONE,
	MIGRATE_RUN_STOPPED, // rolled back, by the mediator or an operator
	MIGRATE_RUN_STATES
};

enum migrate_report_state {
	MIGRATE_REPORT_NONE,
	MIGRATE_REPORT_PASSED,
	MIGRATE_REPORT_FAILED,
	MIGRATE_REPORT_WAIVED
};

#define MIGRATE_WORD_BYTES 8
#define MIGRATE_NVIDIA	   "nvidia"
#define MIGRATE_CUSTOM	   "custom"

struct migrate_vm {
	TAILQ_ENTRY(migrate_vm) link;
	char uuid[VM_UUID_BYTES];
	char was[MIGRATE_WORD_BYTES]; // what was said of its personality; "": its profile says it
	uint32_t group;		      // 0: the canary
	enum migrate_state state;
	int64_t since_s, moved_s, started_s; // of the state; 0: not yet
	uint64_t strikes_before;	     // within the baseline
	uint64_t strikes_at_start;	     // ever
	enum migrate_report_state report;
	int64_t report_s;
	char machine[MIGRATE_MACHINE_BYTES];
	char report_why[MIGRATE_TEXT_BYTES]; // why it failed, or may move without one
	char why[MIGRATE_WHY_BYTES];

	// Asked from the store again by each mediator.
	struct migrate_summary before, after;
	bool before_known, after_known;
	bool last_look;		   // what it did until it was judged is known
	bool seen;		   // running, by this mediator
	uint64_t not_opened_start; // channels of its that did not open: when this mediator saw it first
	bool not_opened_known;
};
TAILQ_HEAD(migrate_vms, migrate_vm);

struct migrate {
	struct mediator *mediator; // NULL: not initialised
	bool there, is_new;	   // there: a run is or was; is_new: it is newer than what the store has
	bool to_nvidia;
	enum migrate_run_state state;
	int64_t began_s, ended_s;
	uint32_t groups, begun;
	char why[MIGRATE_WHY_BYTES];
	struct migrate_vms vms; // by group, then uuid
	unsigned n_vms;

	sd_event_source *timer;
	uint64_t init_ns; // stubs that were there before may take slot.grace from then on
	// The one question that the store has: of which VM, and which part.
	bool asking, asking_before;
	char asked[VM_UUID_BYTES];
};

// ---- life

int migrate_init(struct mediator *m); // 0 or -errno
// The store was closed: what it was asked it does not answer.
void migrate_give_up_question(struct mediator *m);
void migrate_done(struct mediator *m); // accepts one that was never initialised (all zero)

// For mediator/record: what was kept, then that this was all.
void migrate_loading(struct mediator *m);
void migrate_row(struct mediator *m, const struct store_row *row);
void migrate_loaded(struct mediator *m, bool fresh);
// A VM's monitor came or went, or its tenant.
void migrate_vm_changed(struct mediator *m, const struct vm *vm);

// ---- for operators. 0, or -ENOENT, -EBUSY (a state), -EINVAL with why (MIGRATE_WHY_BYTES).

struct migrate_wish {
	bool to_nvidia;
	const char *vms;	    // uuids with commas between them; NULL: not said
	const char *pool, *profile; // NULL: not said
	const char *canary;	    // "3" or "10%"
	uint32_t wave;
	bool dry, end;
};

struct migrate_plan {
	struct migrate_vms vms;
	unsigned n_vms, groups;
	unsigned there_already; // have the target's personality
};
void migrate_plan_done(struct migrate_plan *p);
// Which VMs, in which groups. If wish is not dry, they are the run from now on; the plan stays the caller's
// otherwise.
int migrate_plan(struct mediator *m, const struct migrate_wish *wish, struct migrate_plan *ret, char *why);

struct migrate_vm *migrate_vm_find(struct mediator *m, const char *uuid); // NULL: not in the run
// The guest's report for one VM; vm NULL: the one that the report names.
int migrate_take_report(struct mediator *m, const char *vm, const char *text, size_t len, char *why);
// It may move without one.
int migrate_waive_report(struct mediator *m, const char *vm, const char *reason, char *why);
// What host and report say, in words (MIGRATE_WHY_BYTES each); next "": nothing is to be done.
bool migrate_may_move(struct mediator *m, const struct migrate_vm *v, char *why, char *next);

// Moves the next group, and those of earlier ones that may by now. canary: it must be the first group.
int migrate_begin(struct mediator *m, bool canary, bool force, unsigned *ret_moved, unsigned *ret_left,
		  char *why);
// vms: as in the wish; NULL: all that was moved, and the run ends.
int migrate_rollback(struct mediator *m, const char *vms, unsigned *ret, char *why);

const char *migrate_state_name(enum migrate_state s);
const char *migrate_run_state_name(enum migrate_run_state s);
const char *migrate_report_name(enum migrate_report_state s);
const char *migrate_target(const struct migrate *g);
const char *migrate_origin(const struct migrate *g); // the other one, which its VMs had
bool migrate_goes_on(const struct migrate *g);
// Strikes, and channels that did not open, since its start.
uint64_t migrate_strikes_after(struct mediator *m, const struct migrate_vm *v);
// What an operator does next for the VM; "" nothing.
void migrate_next_step(struct mediator *m, const struct migrate_vm *v, char ret[static MIGRATE_WHY_BYTES]);

// ---- between the files of this folder

struct migrate_vm *migrate_vm_new(const char *uuid); // NULL: no memory
void migrate_vms_clear(struct migrate_vms *list);
void migrate_set_state(struct mediator *m, struct migrate_vm *v, enum migrate_state s, const char *format,
		       ...) __attribute__((format(printf, 4, 5)));
void migrate_set_run(struct mediator *m, enum migrate_run_state s, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void migrate_tell_vm(struct mediator *m, const struct migrate_vm *v);
void migrate_tell_run(struct mediator *m);
void migrate_forget_vms(struct mediator *m); // of the run before, in the store as well
bool migrate_is_moved(const struct migrate_vm *v);
bool migrate_vm_is_there(const struct vm *vm);		// it runs, as far as is seen
bool migrate_names(const char *list, const char *uuid); // list NULL: all
int migrate_check_names(struct mediator *m, const char *list, bool in_run, char *why);
int64_t migrate_now_s(void);

// judge.c
void migrate_look(struct mediator *m); // a round of questions to the store, and what follows from them
// moves.c
// Whether one that waits was started, or does not run.
void migrate_see(struct mediator *m, struct migrate_vm *v, const struct vm *vm);
// Errors of before are not the new personality's; strikes: also those that every mediator knows of.
void migrate_count_from_now(struct mediator *m, struct migrate_vm *v, bool strikes);
void migrate_settle(struct mediator *m); // what follows for the run from its VMs' states

#endif
