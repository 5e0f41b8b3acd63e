// SPDX-License-Identifier: Apache-2.0
// The HTTP client; see the header. libcurl does the protocol, this file says where to, with which rights, and
// what a failure means for whoever asked.
#include "admin/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define MOST_ANSWER_BYTES (64l << 20)
#define MOST_TOKEN_BYTES  512
#define CONNECT_S	  5l
#define SILENCE_S	  150l // of an event stream, which beats at least once a minute
#define ANSWER_S	  60l  // a backup of a great database takes its time

struct http {
	CURL *curl;
	char *socket, *base; // one of them is what was asked for; base is the URL's beginning
	char *authorization; // header, or NULL
	char *failure;
	long patience_s;
	char error[CURL_ERROR_SIZE];
};

// What a request's bytes go to.
struct sink {
	struct http *http;
	struct http_answer *answer;
	size_t room; // bytes of the answer's body that were asked for
	bool (*take)(void *opaque, const char *bytes, size_t n);
	void *opaque;
	bool enough; // take said so
};

// ---- the target ----

static char *read_token(const char *path, char **ret_error)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char text[MOST_TOKEN_BYTES + 1];
	struct stat st;
	ssize_t n;
	size_t len;

	if (fd < 0 || fstat(fd, &st) < 0) {
		*ret_error = text_print("%s: %s", path, strerror(errno));
		return NULL;
	}
	if (S_ISREG(st.st_mode) && (st.st_mode & 077)) {
		*ret_error = text_print("%s: others can read this token: chmod 600 %s, and have the token "
					"replaced if they might have",
					path, path);
		return NULL;
	}
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	len = strcspn(text, "\r\n");
	text[len] = 0;
	for (size_t i = 0; i < len; i++) {
		if (!isgraph((unsigned char)text[i]))
			len = 0;
	}
	if (!len || n == (ssize_t)sizeof(text) - 1) {
		*ret_error = text_print("%s: no token on its first line", path);
		return NULL;
	}
	return text_print("Authorization: Bearer %s", text);
}

static char *check_target(const struct http_target *t)
{
	if (!t->url && strlen(t->socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return text_print("%s: the path of a socket is at most %zu bytes long", t->socket,
				  sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
	if (t->url && strncmp(t->url, "https://", 8) != 0)
		return text_print("%s: only https:// is spoken over the network; on the mediator's own host "
				  "use --socket",
				  t->url);
	if (t->url && !t->token_file)
		return text_print("a mediator at %s wants a token: --token-file FILE, or "
				  "VGPU_ADMIN_TOKEN_FILE",
				  t->url);
	return NULL;
}

static void set_up(struct http *h, const struct http_target *t)
{
	CURL *c = h->curl;

	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, t->url ? "https" : "http");
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1l); // a name may be ".."
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1l);
	if (!t->url) {
		curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, t->socket);
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	} else if (t->ca_file) {
		curl_easy_setopt(c, CURLOPT_CAINFO, t->ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
}

struct http *http_new(const struct http_target *t, char **ret_error)
{
	struct http *h;
	size_t len;

	*ret_error = check_target(t);
	if (*ret_error)
		return NULL;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	h = text_memory(calloc(1, sizeof(*h)));
	h->curl = text_memory(curl_easy_init());
	h->patience_s = ANSWER_S;
	h->socket = t->url ? NULL : text_print("%s", t->socket);
	h->base = text_print("%s", t->url ? t->url : "http://localhost");
	for (len = strlen(h->base); len && h->base[len - 1] == '/'; len--)
		h->base[len - 1] = 0;
	if (t->token_file && t->url) {
		h->authorization = read_token(t->token_file, ret_error);
		if (!h->authorization) {
			http_free(h);
			return NULL;
		}
	}
	set_up(h, t);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	if (h->authorization)
		explicit_bzero(h->authorization, strlen(h->authorization));
	free(h->authorization);
	curl_easy_cleanup(h->curl);
	free(h->socket);
	free(h->base);
	free(h->failure);
	free(h);
}

void http_set_patience(struct http *h, long seconds)
{
	h->patience_s = seconds;
}

const char *http_place(const struct http *h)
{
	return h->socket ? h->socket : h->base;
}

const char *http_failure(const struct http *h)
{
	return h->failure ? h->failure : "";
}

// ---- failures ----

// Why the socket cannot be connected to, which libcurl does not tell apart.
static int try_socket(const char *path)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return 0;
}

// The mediator gives its socket to the group that may use it, if there is one.
static char *explain_denied(const char *path)
{
	struct stat st;
	const struct group *group =
	    stat(path, &st) == 0 && (st.st_mode & S_IWGRP) ? getgrgid(st.st_gid) : NULL;

	if (group)
		return text_print(
		    "%s: permission denied.\nBecome root, or a member of the group %s and log in "
		    "again",
		    path, group->gr_name);
	return text_print("%s: permission denied.\nBecome root, or have the mediator's setting control.group "
			  "(all) or api.viewer_group (only look) name a group of yours",
			  path);
}

static char *explain_socket(const struct http *h)
{
	int r = try_socket(h->socket);

	switch (r) {
	case -ENOENT:
		return text_print("there is no socket %s.\nIs vgpu-mediator running (systemctl status "
				  "vgpu-mediator)? If its run directory is another one: --socket, or "
				  "VGPU_ADMIN_SOCKET",
				  h->socket);
	case -ECONNREFUSED:
		return text_print("nobody listens on %s: vgpu-mediator has ended.\nsystemctl start "
				  "vgpu-mediator; journalctl -u vgpu-mediator says why it ended",
				  h->socket);
	case -EACCES: return explain_denied(h->socket);
	default:
		return text_print("%s: %s", h->socket,
				  r < 0		? strerror(-r)
				  : h->error[0] ? h->error
						: "the connection was lost");
	}
}

static char *explain(const struct http *h, CURLcode code)
{
	const char *text = h->error[0] ? h->error : curl_easy_strerror(code);

	switch (code) {
	case CURLE_COULDNT_CONNECT:
		if (h->socket)
			return explain_socket(h);
		return text_print("%s: %s.\nIs vgpu-mediator running there, with api.listen set?", h->base,
				  text);
	case CURLE_COULDNT_RESOLVE_HOST: return text_print("%s: %s", h->base, text);
	case CURLE_PEER_FAILED_VERIFICATION:
		return text_print("%s: its certificate is not trusted: %s.\n--ca-file FILE names the "
				  "authority that signed it",
				  h->base, text);
	case CURLE_SSL_CACERT_BADFILE: return text_print("--ca-file: %s", text);
	case CURLE_OPERATION_TIMEDOUT: return text_print("%s: no answer: %s", http_place(h), text);
	case CURLE_WRITE_ERROR:
	case CURLE_FILESIZE_EXCEEDED:
		return text_print("%s: the answer is longer than %ld MiB", http_place(h),
				  MOST_ANSWER_BYTES >> 20);
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return text_print("%s: what answers there is no mediator's API: %s", http_place(h), text);
	default: return text_print("%s: %s", http_place(h), text);
	}
}

// ---- requests ----

static size_t on_bytes(char *bytes, size_t size, size_t n, void *opaque)
{
	struct sink *s = opaque;
	struct http_answer *a = s->answer;

	n *= size;
	curl_easy_getinfo(s->http->curl, CURLINFO_RESPONSE_CODE, &a->status);
	if (s->take && a->status == 200) {
		s->enough = !s->take(s->opaque, bytes, n);
		return s->enough ? 0 : n;
	}
	if (a->len + n > (size_t)MOST_ANSWER_BYTES)
		return 0;
	if (a->len + n + 1 > s->room) {
		s->room = 2 * (a->len + n + 1);
		a->body = text_memory(realloc(a->body, s->room));
	}
	memcpy(a->body + a->len, bytes, n);
	a->len += n;
	a->body[a->len] = 0;
	return n;
}

static int perform(struct http *h, const char *path, struct curl_slist *headers, struct sink *s)
{
	cleanup_free char *url = text_print("%s%s", h->base, path);
	CURLcode code;

	free(take_ptr(h->failure));
	h->error[0] = 0;
	if (h->authorization)
		headers = text_memory(curl_slist_append(headers, h->authorization));
	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, s);
	code = curl_easy_perform(h->curl);
	curl_slist_free_all(headers);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &s->answer->status);
	if (code == CURLE_OK || s->enough)
		return 0;
	h->failure = explain(h, code);
	return -EIO;
}

static struct curl_slist *header(struct curl_slist *list, const char *text)
{
	return text_memory(curl_slist_append(list, text));
}

int http_ask(struct http *h, const char *method, const char *path, const char *body, struct http_answer *ret)
{
	struct sink s = { .http = h, .answer = ret };
	struct curl_slist *headers = header(NULL, "Accept: application/json, application/problem+json, */*");

	*ret = (struct http_answer){ 0 };
	if (body)
		headers = header(headers, "Content-Type: application/json");
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT, h->patience_s);
	curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, 0l);
	curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1l);
	if (body) {
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
		curl_easy_setopt(h->curl, CURLOPT_COPYPOSTFIELDS, body);
	}
	curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
	return perform(h, path, headers, &s);
}

int http_stream(struct http *h, const char *path, const char *last_event_id,
		bool (*take)(void *opaque, const char *bytes, size_t n), void *opaque,
		struct http_answer *ret)
{
	struct sink s = { .http = h, .answer = ret, .take = take, .opaque = opaque };
	struct curl_slist *headers = header(NULL, "Accept: text/event-stream");

	*ret = (struct http_answer){ 0 };
	if (last_event_id[0]) {
		cleanup_free char *line = text_print("Last-Event-ID: %s", last_event_id);

		headers = header(headers, line);
	}
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT, 0l);
	curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, 1l);
	curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
	curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1l);
	curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, NULL);
	return perform(h, path, headers, &s);
}

void http_answer_done(struct http_answer *a)
{
	free(a->body);
	*a = (struct http_answer){ 0 };
}

char *http_encode(const char *text)
{
	char *out = text_memory(malloc(3 * strlen(text) + 1)), *p = out;

	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			*p++ = *text;
		else
			p += snprintf(p, 4, "%%%02X", (unsigned char)*text);
	}
	*p = 0;
	return out;
}
