// SPDX-License-Identifier: Apache-2.0
// Life of the API: its sockets by the settings, the clock of its connections, its end. A mediator that is
// replaced takes its connections with it, and the next one binds the sockets anew: clients see a closed
// connection, never one that hangs. Runs in the mediator's loop.
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/api/internal.h"
#include "mediator/mediator.h"

#define BACKLOG 64
#define TICK_US 1000000u

// ---- the unix socket ----

// Groups that may connect: the file's own if it is one; if they are two, anybody can connect, and who is in
// neither is told so.
static int open_to_groups(const struct peer_groups *groups, const char *path)
{
	bool admins = groups->admins != PEER_NO_GROUP, viewers = groups->viewers != PEER_NO_GROUP;

	if (admins && viewers && groups->admins != groups->viewers)
		return chmod(path, 0666) < 0 ? -errno : 0;
	if (!admins && !viewers)
		return 0;
	if (chown(path, (uid_t)-1, admins ? groups->admins : groups->viewers) < 0)
		return -errno;
	return chmod(path, 0660) < 0 ? -errno : 0;
}

static int open_local(struct api *a)
{
	const struct settings *s = a->mediator->settings;
	char path[sizeof(a->path)];
	int fd, r;

	if (strcmp(s->api_socket, "none") == 0)
		return 0;
	if (s->api_socket[0])
		snprintf(path, sizeof(path), "%.107s", s->api_socket);
	else
		snprintf(path, sizeof(path), "%.80s/" API_SOCKET_NAME, s->paths_run_directory);
	fd = stream_listen(path, 0600, BACKLOG);
	r = fd < 0 ? fd : open_to_groups(&a->groups, path);
	if (fd >= 0)
		memcpy(a->path, path, sizeof(path));
	if (r == 0)
		r = api_door_open(&a->local, a, "http", take_fd(&fd), NULL, NULL);
	close_fd(&fd);
	if (r == -EADDRINUSE)
		log_error("API socket %s: another mediator answers on it", path);
	else if (r < 0)
		log_error("API socket %s: %s", path, strerror(-r));
	return r;
}

// ---- TCP ----

// "ADDRESS:PORT" or "[ADDRESS]:PORT", numbers only.
static int resolve(const char *text, struct addrinfo **ret)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
					.ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	unsigned long port;
	char host[64];
	size_t n;

	port = colon ? strtoul(colon + 1, NULL, 10) : 0;
	if (!port || port > UINT16_MAX)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (!n || n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = 0;
	return getaddrinfo(host, colon + 1, &hints, ret) == 0 ? 0 : -EINVAL;
}

static int listen_tcp(const char *text)
{
	struct addrinfo *where = NULL;
	cleanup_fd int fd = -1;
	int one = 1, r = resolve(text, &where);

	if (r < 0)
		return r;
	fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, where->ai_addr, where->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		r = -errno;
	freeaddrinfo(where);
	return r < 0 ? r : take_fd(&fd);
}

static int read_tokens(struct api *a, char *error, size_t error_bytes)
{
	const char *path = a->mediator->settings->api_tokens;
	cleanup_free char *text = NULL;
	char why[128];
	int r = api_read_file("api.tokens", path, true, &text, error, error_bytes);

	if (r < 0)
		return r;
	r = api_tokens_parse(&a->tokens, text, why, sizeof(why));
	if (r < 0)
		snprintf(error, error_bytes, "api.tokens %s: %s", path, why);
	else if (!a->tokens.n)
		log_warning("api.tokens %s: no token, so nobody can use %s", path,
			    a->mediator->settings->api_listen);
	return r;
}

static int open_remote(struct api *a)
{
	const struct settings *s = a->mediator->settings;
	cleanup_free char *certificate = NULL, *key = NULL;
	char error[2 * SETTING_TEXT_BYTES] = "";
	cleanup_fd int fd = -1;
	int r;

	if (!s->api_listen[0])
		return 0;
	r = read_tokens(a, error, sizeof(error));
	if (r == 0)
		r = api_read_file("api.certificate", s->api_certificate, false, &certificate, error,
				  sizeof(error));
	if (r == 0)
		r = api_read_file("api.key", s->api_key, true, &key, error, sizeof(error));
	if (r < 0) {
		log_error("%s", error);
		return r;
	}
	fd = listen_tcp(s->api_listen);
	if (fd < 0) {
		log_error("api.listen %s: %s", s->api_listen, strerror(-fd));
		return fd;
	}
	r = api_door_open(&a->remote, a, "https", take_fd(&fd), certificate, key);
	explicit_bzero(key, strlen(key));
	if (r < 0)
		log_error(
		    "api.listen %s: TLS does not begin: are api.certificate and api.key a pair of PEM files?",
		    s->api_listen);
	return r;
}

// ---- time ----

static void cut_late(struct api_door *d, uint64_t now_ns)
{
	struct api_link *l;

	if (!d->api)
		return;
	LIST_FOREACH (l, &d->links, link) {
		if (!l->deadline_ns || now_ns < l->deadline_ns)
			continue;
		if (l->request && l->request->later)
			api_request_give_up(l->request);
		else
			api_link_cut(l);
	}
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct api *a = userdata;
	uint64_t now = clock_now_ns();

	(void)usec;
	cut_late(&a->local, now);
	cut_late(&a->remote, now);
	api_streams_tick(a, now);
	if (LIST_EMPTY(&a->local.links) && LIST_EMPTY(&a->remote.links))
		return sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return sd_event_source_set_time(source, now / NSEC_PER_USEC + TICK_US);
}

// ---- life ----

static void on_panic(void *opaque, const char *file, unsigned line, const char *reason)
{
	(void)opaque;
	log_error("api: the HTTP library gave up in %s:%u: %s", file, line, reason ? reason : "");
	abort();
}

static void check_routes(void)
{
	for (const struct api_route *r = api_routes; r->path; r++)
		assert(!r->operation || control_find(r->operation));
}

int api_init(struct api *a, struct mediator *m)
{
	const struct settings *s = m->settings;
	int r;

	*a = (struct api){ .mediator = m };
	LIST_INIT(&a->streams);
	check_routes();
	MHD_set_panic_func(on_panic, NULL);
	r = peer_find_group("control.group", s->control_group, &a->groups.admins);
	if (r == 0)
		r = peer_find_group("api.viewer_group", s->api_viewer_group, &a->groups.viewers);
	if (r < 0)
		return r;
	r = sd_event_add_time(m->event, &a->tick, CLOCK_MONOTONIC, 0, 1000, on_tick, a);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(a->tick, SD_EVENT_OFF);
	sd_event_source_set_priority(a->tick, SD_EVENT_PRIORITY_NORMAL + 1);
	m->events.listener = api_stream_event;
	m->events.opaque = a;
	r = open_local(a);
	if (r == 0)
		r = open_remote(a);
	if (r < 0)
		api_done(a);
	return r;
}

static void end_waits(struct api_door *d)
{
	struct api_link *l;

	if (!d->api)
		return;
	LIST_FOREACH (l, &d->links, link) {
		if (l->request && l->request->suspended && !l->request->stream)
			api_link_resume(l, l->request->connection);
	}
}

void api_done(struct api *a)
{
	if (!a->mediator)
		return;
	a->mediator->events.listener = NULL;
	// The library does not stop while a connection is suspended.
	end_waits(&a->local);
	end_waits(&a->remote);
	api_streams_end(a);
	api_door_close(&a->local);
	api_door_close(&a->remote);
	a->tick = sd_event_source_disable_unref(a->tick);
	api_tokens_done(&a->tokens);
	if (a->path[0])
		unlink(a->path);
	a->mediator = NULL;
}
