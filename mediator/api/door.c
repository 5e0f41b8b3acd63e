// SPDX-License-Identifier: Apache-2.0
// One socket of the API: accepts, hands connections to the HTTP library and lets it work when its own epoll
// descriptor or its timer says so. Who connects and how many is decided here; so is how long a request may
// take, since the library only counts silence. Runs in the mediator's loop, after all that concerns turns.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "mediator/api/internal.h"
#include "mediator/complain.h"
#include "mediator/mediator.h"

#define ACCEPTS_A_ROUND	   16
#define ACCEPT_INTERVAL_US 100000
#define ACCEPT_ROUNDS	   50
#define LAST_ROUNDS	   8 // of the library before it is stopped

#define SILENCE_S (VGPU_MAX_API_ANSWER_NS / NSEC_PER_SEC)
// The library's own memory of a connection: the head of a request, and what it needs to answer.
#define LIBRARY_BYTES (VGPU_MAX_API_HEAD + 16384)

#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

// ---- the library's turn ----

static void arm(struct api_door *d)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	if (!d->resumed && MHD_get_timeout(d->daemon, &ms) != MHD_YES) {
		sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(d->timer, clock_now_ns() / NSEC_PER_USEC + ms * 1000);
	sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

static void run(struct api_door *d)
{
	d->resumed = false;
	MHD_run(d->daemon);
	arm(d);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct api_door *d = userdata;

	(void)source;
	(void)fd;
	(void)events;
	run(d);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;
	return on_io(source, -1, 0, userdata);
}

void api_link_resume(struct api_link *l, struct MHD_Connection *connection)
{
	struct api_door *d = l->door;

	MHD_resume_connection(connection);
	d->resumed = true;
	arm(d);
}

static void on_library_log(void *opaque, const char *format, va_list args)
{
	const struct api_door *d = opaque;
	char line[256];

	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = 0;
	if (d->tcp)
		complain("api: %s", line);
	else // mostly that unix sockets have no options of TCP
		log_debug("api: %s", line);
}

// ---- connections ----

static unsigned *counter_of(struct api_link *l)
{
	return l->refusal ? &l->door->n_turned_away : &l->door->n_links;
}

static void on_link_end(struct api_link *l)
{
	(*counter_of(l))--;
	if (!l->refusal && !l->door->tcp && l->peer.role == CONTROL_VIEWER)
		l->door->n_viewers--;
	LIST_REMOVE(l, link);
	free(l);
}

// One that was handed to the library, which has not begun with it.
static struct api_link *arriving(struct api_door *d, int fd)
{
	struct api_link *l;

	LIST_FOREACH (l, &d->links, link)
		if (l->fd == fd && !l->started)
			return l;
	return NULL;
}

// The library begins when it is handed a connection (0.9), or with its next turn (1.0).
static struct api_link *start_link(struct api_door *d, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct api_link *l = info ? arriving(d, info->connect_fd) : NULL;

	if (l)
		l->started = true;
	return l;
}

// Those that the library has closed without ever beginning with them.
static void drop_unstarted(struct api_door *d)
{
	struct api_link *l, *next;

	for (l = LIST_FIRST(&d->links); l; l = next) {
		next = LIST_NEXT(l, link);
		if (!l->started)
			on_link_end(l);
	}
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode how)
{
	if (how == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = start_link(cls, connection);
	} else if (*socket_context) {
		on_link_end(*socket_context);
		*socket_context = NULL;
	}
}

struct api_link *api_link_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void api_link_cut(struct api_link *l)
{
	l->deadline_ns = 0;
	shutdown(l->fd, SHUT_RDWR);
}

// What any request of a new connection is answered with; 0: it is served.
static unsigned judge(const struct api_door *d, const struct control_peer *peer)
{
	if (!d->tcp && peer->role == CONTROL_STRANGER)
		return MHD_HTTP_FORBIDDEN;
	if (d->n_links >= VGPU_MAX_API_LINKS ||
	    (!d->tcp && peer->role == CONTROL_VIEWER && d->n_viewers >= VGPU_MAX_API_VIEWER_LINKS))
		return MHD_HTTP_TOO_MANY_REQUESTS;
	return 0;
}

static struct api_link *link_new(struct api_door *d, int fd)
{
	struct api_link *l = calloc(1, sizeof(*l));
	uint64_t now = clock_now_ns();

	if (!l)
		return NULL;
	l->door = d;
	l->fd = fd;
	if (d->tcp)
		snprintf(l->peer.who, sizeof(l->peer.who), "somebody (%s)", d->name);
	else
		peer_read_socket(fd, &d->api->groups, d->name, &l->peer);
	l->refusal = judge(d, &l->peer);
	if (l->refusal && d->n_turned_away >= VGPU_MAX_API_TURNED_AWAY) {
		free(l);
		return NULL;
	}
	if (l->refusal == MHD_HTTP_FORBIDDEN)
		complain("%s may not use the API", l->peer.who);
	bucket_init(&l->rate, now);
	l->deadline_ns = now + VGPU_MAX_API_REQUEST_NS;
	LIST_INSERT_HEAD(&d->links, l, link);
	(*counter_of(l))++;
	if (!l->refusal && !d->tcp && l->peer.role == CONTROL_VIEWER)
		d->n_viewers++;
	return l;
}

// Takes the fd over.
static void take_connection(struct api_door *d, int fd, const struct sockaddr *address, socklen_t n)
{
	struct sockaddr_un nameless = { .sun_family = AF_UNIX };
	struct api_link *l = link_new(d, fd);

	if (!l) {
		close_fd(&fd);
		return;
	}
	if (!d->tcp) {
		address = (const struct sockaddr *)&nameless;
		n = sizeof(nameless);
	}
	sd_event_source_set_enabled(d->api->tick, SD_EVENT_ON);
	if (MHD_add_connection(d->daemon, fd, address, n) != MHD_YES)
		complain("api: a connection was not taken: %s", strerror(errno));
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
	struct api_door *d = userdata;

	(void)source;
	(void)events;
	for (unsigned i = 0; i < ACCEPTS_A_ROUND; i++) {
		struct sockaddr_storage address;
		socklen_t n = sizeof(address);
		int fd = accept4(listen_fd, (struct sockaddr *)&address, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				complain("api: accept: %s", strerror(errno));
			break;
		}
		take_connection(d, fd, (struct sockaddr *)&address, n);
	}
	run(d);
	drop_unstarted(d);
	return 0;
}

// ---- life ----

static int watch_door(struct api_door *d)
{
	sd_event *event = d->api->mediator->event;
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info || info->epoll_fd < 0)
		return -EOPNOTSUPP;
	r = sd_event_add_io(event, &d->io, info->epoll_fd, EPOLLIN, on_io, d);
	if (r == 0)
		r = sd_event_add_time(event, &d->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_timer, d);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	r = sd_event_add_io(event, &d->accepting, d->fd, EPOLLIN, on_accept, d);
	if (r < 0)
		return r;
	sd_event_source_set_priority(d->io, SD_EVENT_PRIORITY_NORMAL + 1);
	sd_event_source_set_priority(d->timer, SD_EVENT_PRIORITY_NORMAL + 1);
	sd_event_source_set_priority(d->accepting, SD_EVENT_PRIORITY_NORMAL + 1);
	return sd_event_source_set_ratelimit(d->accepting, ACCEPT_INTERVAL_US, ACCEPT_ROUNDS);
}

int api_door_open(struct api_door *d, struct api *a, const char *name, int listen_fd, const char *certificate,
		  const char *key)
{
	unsigned flags =
	    MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)certificate },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_PER_IP_CONNECTION_LIMIT, VGPU_MAX_API_ADDRESS_LINKS, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};
	struct MHD_OptionItem plain[] = { { MHD_OPTION_END, 0, NULL } };
	int r;

	*d = (struct api_door){ .api = a, .name = name, .tcp = certificate, .fd = listen_fd };
	LIST_INIT(&d->links);
	d->daemon = MHD_start_daemon(
	    flags | (d->tcp ? MHD_USE_TLS : 0), 0, NULL, NULL, api_handle, d, MHD_OPTION_EXTERNAL_LOGGER,
	    on_library_log, d, MHD_OPTION_NOTIFY_CONNECTION, on_connection, d, MHD_OPTION_NOTIFY_COMPLETED,
	    api_completed, d, MHD_OPTION_UNESCAPE_CALLBACK, api_keep_escapes, NULL,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIBRARY_BYTES, MHD_OPTION_CONNECTION_LIMIT,
	    VGPU_MAX_API_LINKS + VGPU_MAX_API_TURNED_AWAY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S,
	    MHD_OPTION_ARRAY, d->tcp ? tls : plain, MHD_OPTION_END);
	r = d->daemon ? watch_door(d) : -EINVAL;
	if (r < 0)
		api_door_close(d);
	return r;
}

void api_door_close(struct api_door *d)
{
	if (!d->api)
		return;
	d->accepting = sd_event_source_disable_unref(d->accepting);
	d->io = sd_event_source_disable_unref(d->io);
	d->timer = sd_event_source_disable_unref(d->timer);
	for (unsigned i = 0; d->daemon && i < LAST_ROUNDS; i++)
		MHD_run(d->daemon);
	if (d->daemon)
		MHD_stop_daemon(d->daemon);
	d->daemon = NULL;
	close_fd(&d->fd);
	d->api = NULL;
}
