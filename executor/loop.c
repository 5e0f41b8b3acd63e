// SPDX-License-Identifier: Apache-2.0
// The loop; see the header. Five things can hold the record at the ring's head back, and with it all behind
// it (order is the guest's): the tenant's limits, the gate, the room in flight, a handler that wants the
// device idle first, and device memory that is parked or not there (park.h). Meanwhile completions, host
// waits and watches go on.
#include "executor/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "executor/executor.h"
#include "executor/reply.h"
#include "protocol/cuda/cuda_abi.h"

#define BURST	       64u   // records in one round
#define LINK_ROUNDS    4096u // the link is looked at once in so many rounds that do not sleep
#define VM_ROUNDS      64u   // ... in a VM, where a thread may wait for the memory link
#define FLUSH_NS       3000u // a batch ends when the ring was empty for so long
#define NAP_MIN_NS     2000u
#define NAP_MAX_NS     100000u
#define NAP_BLOCKED_NS 10000000u
#define NAP_ASLEEP_NS  20000u // a nap so long may be cut by the guest's doorbell
#define NEVER	       UINT64_MAX

enum stall { STALL_EMPTY, STALL_GATE, STALL_BUSY, STALL_RATE, STALL_PARK, STALL_NONE };

// ---- records ----

// Calls that answer as ever when the context has failed.
static bool outlives_error(uint16_t opcode)
{
	return opcode == OPCODE_PING || opcode == OPCODE_DEVICE_INFO || opcode == OPCODE_CONTEXT_RESET ||
	       opcode == OPCODE_BLOB_DESTROY || opcode == OPCODE_PRINT_TAKE;
}

static bool wants_turn(const struct executor *x)
{
	return x->ring.current && call_infos[x->ring.record.opcode].gpu && !x->sticky;
}

bool executor_admits(struct executor *x, uint16_t opcode)
{
	bool graph = opcode == OPCODE_GRAPH_LAUNCH;
	bool copies = opcode == OPCODE_COPY || opcode == OPCODE_COPY_ARRAY || opcode == OPCODE_WRITE ||
		      opcode == OPCODE_SET;

	return rates_admit(&x->rates, graph || opcode == OPCODE_LAUNCH, graph || copies,
			   track_in_flight(&x->track), x->now_ns);
}

static enum stall admit(struct executor *x)
{
	if (!track_has_room(&x->track))
		return STALL_BUSY;
	if (rates_are_set(&x->rates) && !executor_admits(x, x->ring.record.opcode))
		return x->rates.held_by == VGPU_HELD_BY_QUEUE ? STALL_BUSY : STALL_RATE;
	if (gate_is_free(&x->gate))
		return STALL_NONE;
	switch (gate_ask_slow(&x->gate, clock_now_ns(), x->track.predicted_ns)) {
	case GATE_GO: return STALL_NONE;
	case GATE_BUDGET_FULL: return STALL_BUSY;
	default: return STALL_GATE;
	}
}

// A refused fence or watch, whoever refused it, stores its value all the same: nobody shall wait for it. What
// the stream still holds may store lower ones later; that is only met where a device refuses single
// operations.
static void store_refused(struct executor *x)
{
	struct record_event_watch watch;
	struct record_fence fence;

	if (x->ring.record.opcode == OPCODE_FENCE) {
		memcpy(&fence, x->ring.payload, sizeof(fence));
		fence_store(x, fence.slot, fence.value);
	} else if (x->ring.record.opcode == OPCODE_EVENT_WATCH) {
		memcpy(&watch, x->ring.payload, sizeof(watch));
		fence_store(x, watch.slot, watch.value);
	}
}

// Runs the current record. 0: done; -EAGAIN: later; -EPROTO.
static int run_record(struct executor *x, const char **why)
{
	static uint8_t nowhere[VGPU_REPLY_SLOT_BYTES];
	const struct record_header *h = &x->ring.record;
	bool has_reply = call_infos[h->opcode].has_reply;
	struct dispatch_reply reply = {
		.payload = has_reply ? reply_payload(x, h->reply_slot) : nowhere,
		.room = REPLY_ROOM,
	};
	int r;

	passer_step(&x->passer);
	r = dispatch_record(x, h->opcode, x->ring.payload, ring_payload_bytes(&x->ring), &reply, why);
	passer_step(&x->passer);
	if (r < 0)
		return r;
	if (reply.result == RESULT_AGAIN)
		return -EAGAIN;
	if (x->sticky && !outlives_error(h->opcode))
		reply.result = x->sticky;
	if (reply.result == CUDA_ERROR_OUT_OF_MEMORY)
		counter_add(&x->turn->refused_memory, 1);
	if (call_infos[h->opcode].features && !reply.result)
		executor_used(x, call_infos[h->opcode].features);
	if (reply.result)
		log_debug("%s: CUDA error %d", call_infos[h->opcode].name, reply.result);
	if (has_reply) {
		reply_send(x, h->reply_slot, h->cookie, reply.result, reply.bytes);
		reply_wake(x);
	} else if (reply.result) {
		if (!x->sticky)
			executor_defer(x, reply.result);
		store_refused(x); // when the error can be seen
	}
	return 0;
}

static bool launches(uint16_t opcode)
{
	return opcode == OPCODE_LAUNCH || opcode == OPCODE_GRAPH_LAUNCH;
}

static int take_records(struct executor *x, unsigned *ret_taken, enum stall *ret_stall, const char **why)
{
	enum park_state park = park_is_quiet(x) ? PARK_SERVE : park_round(x, x->now_ns);
	int r;

	*ret_stall = STALL_NONE;
	x->rates.until_ns = NEVER;
	if (park != PARK_SERVE) {
		*ret_taken = 0;
		*ret_stall = park == PARK_DRAIN ? STALL_BUSY : STALL_PARK;
		return 0;
	}
	if (x->guest.waits) { // no new work meanwhile, or the device might never be idle
		*ret_taken = 0;
		*ret_stall = STALL_BUSY;
		return 0;
	}
	for (*ret_taken = 0; *ret_taken < BURST; (*ret_taken)++) {
		r = ring_next(&x->ring, why);
		if (r < 0)
			return r;
		if (!r) {
			*ret_stall = STALL_EMPTY;
			return 0;
		}
		if (wants_turn(x)) {
			*ret_stall = admit(x);
			if (*ret_stall != STALL_NONE)
				return 0;
		}
		// A driver may keep this record for as long as what was submitted before it runs: the
		// mediator shall see that it runs.
		atomic_store_explicit(&x->turn->in_flight, track_in_flight(&x->track), memory_order_relaxed);
		r = run_record(x, why);
		if (r == -EAGAIN) {
			*ret_stall = x->rates.until_ns < NEVER ? STALL_RATE : STALL_BUSY;
			return 0;
		}
		if (r < 0)
			return r;
		if (launches(x->ring.record.opcode))
			delay_launched(&x->delay, x->ring.head, x->now_ns);
		ring_done(&x->ring);
		park_asked(x);
	}
	return 0;
}

// ---- one round ----

static void ring_kick(struct executor *x)
{
	static const uint64_t one = 1;

	x->gate.kick = false;
	if (write(x->kick, &one, sizeof(one)) < 0)
		log_warning("kick: %m");
}

static bool look_for_completions(struct executor *x, uint64_t now_ns)
{
	bool came = x->track.records && track_poll(x, now_ns);
	int r;

	if (x->n_watches && watches_poll(x))
		came = true;
	if (x->track.n_waits) {
		bool may_pass = gate_is_free(&x->gate) ||
				gate_ask_slow(&x->gate, now_ns, x->track.predicted_ns) == GATE_GO;

		track_pass(x, now_ns, may_pass);
	}
	r = x->active && !x->sticky ? x->ops->error(x->backend) : 0;
	if (r)
		executor_fail(x, r);
	if (x->track.records && atomic_load_explicit(&x->header->guest_waiters, memory_order_relaxed) &&
	    track_fences_came(x))
		x->stored = true;
	return came;
}

// What the last round left in the ring waits.
static void mark_backlog(struct executor *x)
{
	struct ring *r = &x->ring;

	if (r->current && x->now_ns - x->delay.noted_ns >= DELAY_STEP_NS)
		r->tail = atomic_load_explicit(&r->header->tail, memory_order_relaxed);
	if (r->tail != r->head)
		delay_mark(&x->delay, r->head, r->tail, r->bytes, x->now_ns);
}

static int round_once(struct loop *l, uint64_t now_ns, enum stall *ret_stall, uint64_t *ret_wake,
		      const char **why)
{
	struct executor *x = l->x;
	unsigned taken;
	bool came;
	int r;

	x->now_ns = now_ns;
	mark_backlog(x);
	rates_account(&x->rates, x->turn, VGPU_HELD_BY, now_ns);
	if (!rates_are_set(&x->rates))
		rates_forget(&x->rates);
	if (x->guest.readable || x->guest.waits) {
		r = guest_memory_serve(x, why);
		if (r < 0)
			return r;
	}
	r = take_records(x, &taken, ret_stall, why);
	if (r < 0)
		return r;
	if (taken) {
		delay_tell(&x->delay);
		l->record_ns = now_ns;
		atomic_store_explicit(&x->turn->active_ns, now_ns, memory_order_relaxed);
	}
	// Guests often come with the next record at once, and the end of a batch costs a store on the device.
	if (*ret_stall == STALL_GATE || *ret_stall == STALL_BUSY || *ret_stall == STALL_RATE ||
	    now_ns - l->record_ns >= FLUSH_NS)
		track_flush(x);
	came = look_for_completions(x, now_ns);
	atomic_store_explicit(&x->turn->in_flight, track_in_flight(&x->track), memory_order_relaxed);
	// What waits for its rate, or for its memory, does not want the GPU meanwhile.
	*ret_wake = gate_update(&x->gate, now_ns,
				(wants_turn(x) && *ret_stall != STALL_RATE && *ret_stall != STALL_PARK) ||
				    x->track.pass_waits_for_turn,
				track_in_flight(&x->track));
	if (*ret_stall == STALL_RATE && x->rates.until_ns < *ret_wake)
		*ret_wake = x->rates.until_ns;
	if (*ret_stall == STALL_GATE)
		x->rates.held_by = VGPU_HELD_BY_TURN;
	if (x->gate.kick)
		ring_kick(x);
	reply_wake(x);
	return taken || came;
}

int loop_round(struct loop *l, uint64_t now_ns, const char **why)
{
	enum stall stall;
	uint64_t wake;

	return round_once(l, now_ns, &stall, &wake, why);
}

// ---- sleeping ----

// Waits for doorbell, link or timeout. 1: the doorbell (or the mediator) rang, 0: it did not, -EPIPE: link
// closed.
static int wait_fds(struct loop *l, uint64_t timeout_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(timeout_ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(timeout_ns % NSEC_PER_SEC) };
	struct epoll_event events[3];
	int n = epoll_pwait2(l->epoll, events, 3, timeout_ns == NEVER ? NULL : &ts, NULL);
	char packet[LINK_MAX_PACKET];

	l->rounds = 0;
	for (int i = 0; i < n; i++) {
		ssize_t got;

		if (l->x->guest.is && events[i].data.fd == l->x->guest.link)
			l->x->guest.readable = true;
		if (events[i].data.fd != l->x->link)
			continue;
		got = recv(l->x->link, packet, sizeof(packet), MSG_DONTWAIT);
		if (!got || (got < 0 && errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		// No message to a running executor is defined; one that comes merely wakes.
	}
	return n > 0;
}

// How long the loop may rest now; 0: it goes on at once.
static uint64_t rest_ns(const struct loop *l, uint64_t now_ns, enum stall stall, uint64_t wake_ns)
{
	const struct executor *x = l->x;
	bool watching = x->track.records || x->n_watches;
	uint64_t quiet = now_ns - l->active_ns, until_wake, nap, longest;

	if (stall == STALL_NONE)
		return 0;
	if (stall == STALL_PARK) // the mediator rings
		return NAP_BLOCKED_NS;
	until_wake = wake_ns == NEVER ? NEVER : wake_ns > now_ns ? wake_ns - now_ns : 0;
	if (quiet < x->assign.spin_ns && (watching || stall == STALL_EMPTY))
		return 0;
	if (!watching) // what a busy device held back was seen complete in this very round
		return stall == STALL_BUSY ? 0 : until_wake;
	// All that is submitted may stand behind the guest, who rings when it is done. Neither the device nor
	// another process rings.
	longest = track_in_flight(&x->track) || x->track.n_word_waits || x->track.n_event_waits ||
			  stall != STALL_EMPTY
		      ? NAP_MAX_NS
		      : NAP_BLOCKED_NS;
	nap = quiet / 64; // what is seen late by this is under 2 % of the wait
	nap = nap < NAP_MIN_NS ? NAP_MIN_NS : nap > longest ? longest : nap;
	return nap < until_wake ? nap : until_wake;
}

// Sleeps at most rest; a guest that publishes or waits rings the doorbell when consumer_asleep is set.
static int sleep_ring(struct loop *l, uint64_t rest, enum stall stall)
{
	struct executor *x = l->x;
	bool asleep = stall == STALL_EMPTY && rest >= NAP_ASLEEP_NS;
	int r = 0;

	if (asleep) {
		atomic_store_explicit(&x->header->consumer_asleep, 1, memory_order_relaxed);
		atomic_thread_fence(memory_order_seq_cst);
	}
	if (!asleep || !ring_has_more(&x->ring))
		r = wait_fds(l, rest);
	if (asleep)
		atomic_store_explicit(&x->header->consumer_asleep, 0, memory_order_relaxed);
	return r;
}

int loop_run(struct loop *l, const char **why)
{
	l->active_ns = l->record_ns = clock_now_ns();
	for (;;) {
		uint64_t now = clock_now_ns(), wake, rest;
		enum stall stall;
		int r = round_once(l, now, &stall, &wake, why);

		if (r == -EPIPE)
			return 0;
		if (r < 0)
			return r;
		if (r)
			l->active_ns = now;
		rest =
		    r ? 0
		      : rest_ns(l, now, stall, wake); // what completed may be what the next record waits for
		if (rest) {
			r = sleep_ring(l, rest, stall);
			if (r > 0 && stall == STALL_EMPTY)
				l->active_ns = clock_now_ns();
		} else {
			cpu_relax();
			r = ++l->rounds >= (l->x->guest.is ? VM_ROUNDS : LINK_ROUNDS) ? wait_fds(l, 0) : 0;
		}
		if (r == -EPIPE)
			return 0;
	}
}

int loop_open(struct loop *l)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		return -errno;
	*l = (struct loop){ .epoll = epoll };
	return 0;
}

int loop_init(struct loop *l, struct executor *x)
{
	// The doorbell is never read: the guest holds it too and could make a read block. Each ring is an
	// edge.
	struct epoll_event bell = { .events = EPOLLIN | EPOLLET, .data.fd = x->doorbell };
	struct epoll_event link = { .events = EPOLLIN | EPOLLRDHUP, .data.fd = x->link };

	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, x->doorbell, &bell) < 0)
		return -errno;
	if (x->link >= 0 && epoll_ctl(l->epoll, EPOLL_CTL_ADD, x->link, &link) < 0)
		return -errno;
	if (x->guest.is) {
		// An edge for each request: one that waits must not wake the loop all the time.
		struct epoll_event memory = { .events = EPOLLIN | EPOLLET, .data.fd = x->guest.link };

		if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, x->guest.link, &memory) < 0)
			return -errno;
	}
	l->x = x;
	return 0;
}

void loop_done(struct loop *l)
{
	close_fd(&l->epoll);
}
