// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the program's process. One lock for all devices of the process is held while an
// answer is awaited, so that threads which ask together share one answer; a forked child gets a fresh lock
// and lets go of what it inherited.
#include "guest/client/device_state.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"
#include "guest/client/client_internal.h"
#include "protocol/guest/vgpu_ioctl.h"

#define ANSWER_BYTES 16384u // all packets of one answer

struct vgpu_device {
	char *path;			  // NULL: the virtual GPU, if there is one, else the default socket
	int link;			  // -1: not connected
	int file;			  // of the virtual GPU; -1: none
	uint32_t answer_bytes, answer_at; // its answer, and how much of it was taken
	uint8_t answer[ANSWER_BYTES];
	uint64_t generation; // of the process that connected
	uint32_t cookie;     // of the last request

	bool known; // the rest is an answer, received at at_ns
	uint64_t at_ns;
	struct device_state state;
	uint32_t n_rows;
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t generation; // forks between the first process and this one
static bool fork_watched;

static void in_child(void)
{
	// Whoever held it does not live here.
	pthread_mutex_init(&lock, NULL);
	generation++;
}

static void hang_up(struct vgpu_device *d)
{
	close_fd(&d->link);
	close_fd(&d->file);
	d->known = false;
}

// ---- packets ----

union packet {
	struct link_header header;
	struct link_device_state state;
	struct link_device_rows rows;
	struct link_error error;
	uint8_t bytes[LINK_MAX_PACKET];
};

static bool header_is_sane(const union packet *p, int n)
{
	return (size_t)n >= sizeof(p->header) && p->header.magic == LINK_MAGIC &&
	       p->header.length == (uint32_t)n;
}

// The next packet of the virtual GPU's answer.
static int take_packet(struct vgpu_device *d, union packet *ret)
{
	uint32_t left = d->answer_bytes - d->answer_at, length;

	if (left < sizeof(ret->header))
		return -EPROTO;
	memcpy(&ret->header, d->answer + d->answer_at, sizeof(ret->header));
	length = ret->header.length;
	if (length > left || length > sizeof(*ret) || !header_is_sane(ret, (int)length))
		return -EPROTO;
	memcpy(ret, d->answer + d->answer_at, length);
	d->answer_at += length;
	return (int)length;
}

// The next packet, its header checked; its length, or -errno.
static int receive(struct vgpu_device *d, union packet *ret, uint64_t deadline_ns)
{
	int fds[SEQPACKET_MAX_FDS], n;
	unsigned n_fds;

	ret->header = (struct link_header){ 0 };
	if (d->file >= 0)
		return take_packet(d, ret);
	for (;;) {
		struct pollfd p = { .fd = d->link, .events = POLLIN };
		uint64_t now = clock_now_ns();
		int ms = now < deadline_ns ? (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1 : 0;

		n = poll(&p, 1, ms);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		n = seqpacket_recv(d->link, ret, sizeof(*ret), fds, &n_fds, MSG_DONTWAIT);
		if (n != -EAGAIN)
			break;
	}
	for (unsigned i = 0; n > 0 && i < n_fds; i++)
		close(fds[i]);
	if (n <= 0)
		return n ? n : -ECONNRESET;
	return header_is_sane(ret, n) ? n : -EPROTO;
}

// Sends a question. The virtual GPU's driver comes back with the whole answer.
static int send_question(struct vgpu_device *d, const void *packet, uint32_t bytes)
{
	struct vgpu_ioc_device q = { .request = (uintptr_t)packet,
				     .request_bytes = bytes,
				     .answer = (uintptr_t)d->answer,
				     .room = ANSWER_BYTES };

	if (d->file < 0)
		return seqpacket_send(d->link, packet, bytes, NULL, 0, 0);
	d->answer_at = d->answer_bytes = 0;
	if (ioctl(d->file, VGPU_IOC_DEVICE, &q) < 0)
		return -errno;
	if (q.answer_bytes > ANSWER_BYTES)
		return -EPROTO;
	d->answer_bytes = q.answer_bytes;
	return 0;
}

// The answer to the last request: its length if it is of the wanted type. A refusal is -refused; one that is
// about the rate -EBUSY.
static int receive_answer(struct vgpu_device *d, uint16_t type, int refused, union packet *ret,
			  uint64_t deadline_ns)
{
	int n = receive(d, ret, deadline_ns);

	if (n < 0)
		return n;
	if (ret->header.type == LINK_ERROR && (size_t)n == sizeof(ret->error))
		return ret->error.code == LINK_E_LIMIT && refused != ECONNABORTED ? -EBUSY : -refused;
	return ret->header.type == type && ret->header.cookie == d->cookie ? n : -EPROTO;
}

// ---- connection ----

static int connect_to_mediator(struct vgpu_device *d, uint64_t deadline_ns)
{
	struct link_hello m = { .header = { LINK_MAGIC, LINK_HELLO, 0, sizeof(m), ++d->cookie },
				.version_min = LINK_VERSION,
				.version_max = LINK_VERSION,
				.features = link_library_features(LINK_LIBRARY_NVML) };
	uint64_t now = clock_now_ns();
	union packet answer;
	int r = now < deadline_ns ? seqpacket_connect_within(client_socket(d->path), deadline_ns - now)
				  : -ETIMEDOUT;

	if (r < 0)
		return r;
	d->link = r;
	r = seqpacket_send(d->link, &m, sizeof(m), NULL, 0, 0);
	if (!r)
		r = receive_answer(d, LINK_HELLO_OK, ECONNABORTED, &answer, deadline_ns);
	if (r >= 0 && r != (int)sizeof(struct link_hello_ok))
		r = -EPROTO;
	if (r < 0)
		hang_up(d);
	return r < 0 ? r : 0;
}

// As vgpu_client_open chooses.
static int connect_to(struct vgpu_device *d, uint64_t deadline_ns)
{
	int device = -ENOENT, r;

	d->generation = generation;
	if (!d->path) {
		device = transport_device_file();
		if (device >= 0) {
			d->file = device;
			return 0;
		}
	}
	r = connect_to_mediator(d, deadline_ns);
	return r == -ENOENT ? device : r;
}

// ---- one answer ----

static int take_state(struct vgpu_device *d, const union packet *p, int n)
{
	struct device_state *s = &d->state;

	if (n != (int)sizeof(p->state))
		return -EPROTO;
	*s = p->state.state;
	s->backend[sizeof(s->backend) - 1] = 0;
	s->identity.name[sizeof(s->identity.name) - 1] = 0;
	if (s->identity.attribute_count > DEVICE_ATTRIBUTES)
		return -EPROTO;
	s->texts.driver[sizeof(s->texts.driver) - 1] = 0;
	s->texts.vbios[sizeof(s->texts.vbios) - 1] = 0;
	s->texts.serial[sizeof(s->texts.serial) - 1] = 0;
	s->texts.board_part[sizeof(s->texts.board_part) - 1] = 0;
	s->texts.inforom_image[sizeof(s->texts.inforom_image) - 1] = 0;
	s->texts.gsp_firmware[sizeof(s->texts.gsp_firmware) - 1] = 0;
	return 0;
}

// *left: how many rows come behind this packet.
static int take_rows(struct vgpu_device *d, const union packet *p, int n, uint32_t *left)
{
	const struct link_device_rows *m = &p->rows;

	if ((size_t)n < offsetof(struct link_device_rows, process) || m->n > LINK_DEVICE_ROWS_MAX ||
	    (size_t)n != offsetof(struct link_device_rows, process) + m->n * sizeof(m->process[0]) ||
	    m->n > VGPU_MAX_CHANNELS_PER_TENANT - d->n_rows || (!m->n && m->left))
		return -EPROTO;
	for (uint32_t i = 0; i < m->n; i++) {
		struct device_process *row = &d->rows[d->n_rows++];

		*row = m->process[i];
		row->name[sizeof(row->name) - 1] = 0;
	}
	*left = m->left;
	return 0;
}

static int ask(struct vgpu_device *d, uint64_t deadline_ns)
{
	struct link_device m = { .header = { LINK_MAGIC, LINK_DEVICE, 0, sizeof(m), ++d->cookie } };
	union packet p;
	uint32_t left = 1;
	int r = send_question(d, &m, sizeof(m));

	d->known = false;
	d->n_rows = 0;
	if (r < 0)
		return r == -EAGAIN ? -ETIMEDOUT : r;
	r = receive_answer(d, LINK_DEVICE_STATE, EIO, &p, deadline_ns);
	if (r >= 0)
		r = take_state(d, &p, r);
	while (r >= 0 && left) {
		r = receive_answer(d, LINK_DEVICE_ROWS, EIO, &p, deadline_ns);
		if (r >= 0)
			r = take_rows(d, &p, r, &left);
	}
	if (r < 0)
		return r;
	d->at_ns = clock_now_ns();
	d->known = true;
	return 0;
}

// Lock held. An answer that is at most max_age_ns old is in d afterwards.
static int refresh(struct vgpu_device *d, uint64_t max_age_ns)
{
	uint64_t now = clock_now_ns(), deadline = now + VGPU_DEVICE_WAIT_NS;
	bool fresh_link = false;
	int r = 0;

	if (d->generation != generation)
		hang_up(d);
	if (max_age_ns < VGPU_DEVICE_FRESHEST_NS)
		max_age_ns = VGPU_DEVICE_FRESHEST_NS;
	if (d->known && now - d->at_ns <= max_age_ns)
		return 0;
	for (;;) {
		if (d->link < 0 && d->file < 0) {
			r = connect_to(d, deadline);
			fresh_link = true;
		}
		if (!r)
			r = ask(d, deadline);
		if (!r || r == -EBUSY)
			return r;
		hang_up(d);
		// The mediator may have been started anew since the last question.
		if (fresh_link || r == -ETIMEDOUT || r == -EPROTO)
			return r;
		r = 0;
	}
}

// ---- what others call ----

int vgpu_device_open(const char *path, struct vgpu_device **ret)
{
	struct vgpu_device *d = calloc(1, sizeof(*d));
	int r = -ENOMEM;

	if (!d)
		return r;
	d->link = d->file = -1;
	path = client_explicit_socket(path);
	d->path = path ? strdup(path) : NULL;
	if (d->path || !path) {
		pthread_mutex_lock(&lock);
		if (!fork_watched)
			fork_watched = pthread_atfork(NULL, NULL, in_child) == 0;
		if (fork_watched)
			r = connect_to(d, clock_now_ns() + VGPU_DEVICE_WAIT_NS);
		pthread_mutex_unlock(&lock);
	}
	if (r < 0) {
		vgpu_device_close(d);
		return r;
	}
	*ret = d;
	return 0;
}

void vgpu_device_close(struct vgpu_device *d)
{
	if (!d)
		return;
	hang_up(d);
	free(d->path);
	free(d);
}

int vgpu_device_state(struct vgpu_device *d, uint64_t max_age_ns, struct device_state *ret)
{
	int r;

	pthread_mutex_lock(&lock);
	r = refresh(d, max_age_ns);
	if (!r) {
		uint64_t held = clock_now_ns() - d->at_ns;

		*ret = d->state;
		if (ret->age_ns < UINT64_MAX - held)
			ret->age_ns += held;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

int vgpu_device_processes(struct vgpu_device *d, uint64_t max_age_ns, struct device_process *rows,
			  uint32_t room, uint32_t *ret_n)
{
	int r;

	pthread_mutex_lock(&lock);
	r = refresh(d, max_age_ns);
	if (!r) {
		if (room)
			memcpy(rows, d->rows, (room < d->n_rows ? room : d->n_rows) * sizeof(*rows));
		*ret_n = d->n_rows;
	}
	pthread_mutex_unlock(&lock);
	return r;
}
