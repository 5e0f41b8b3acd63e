// SPDX-License-Identifier: Apache-2.0
// Reads and checks /etc/vgpu/cloudstack.conf. It holds keys, so it is refused if anybody else could have read
// it, or written it.
#include "admin/cloudstack/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/text.h"
#include "common/cleanup.h"

struct reading {
	struct config *config;
	char *error; // the first one
};

// ---- values ----

static char *text_or_null(const char *text)
{
	return text ? text_print("%s", text) : NULL;
}

static bool is_number(const char *value, unsigned long least, unsigned long most, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(value, &end, 10);
	return !errno && end != value && !*end && value[0] != '-' && *ret >= least && *ret <= most;
}

static char *set_text(char **to, const char *key, const char *value)
{
	if (!value[0])
		return text_print("%s is empty", key);
	free(*to);
	*to = text_print("%s", value);
	return NULL;
}

static char *set_number(unsigned long *to, const char *key, const char *value, unsigned long least,
			unsigned long most)
{
	unsigned long n;

	if (!is_number(value, least, most, &n))
		return text_print("%s: '%.40s' is not a number from %lu to %lu", key, value, least, most);
	*to = n;
	return NULL;
}

// ---- offerings ----

static struct config_offering *offering_of(struct config *c, const char *profile)
{
	for (size_t i = 0; i < c->n_offerings; i++) {
		if (strcmp(c->offering[i].profile, profile) == 0)
			return &c->offering[i];
	}
	if (c->n_offerings == CONFIG_MOST_OFFERINGS)
		return NULL;
	c->offering[c->n_offerings] = (struct config_offering){ .profile = text_print("%s", profile) };
	return &c->offering[c->n_offerings++];
}

static char *set_offering(struct config *c, const char *profile, const char *key, const char *value)
{
	struct config_offering *o = offering_of(c, profile);

	if (!o)
		return text_print("more than %d offerings", CONFIG_MOST_OFFERINGS);
	if (strcmp(key, "name") == 0)
		return set_text(&o->name, key, value);
	if (strcmp(key, "displaytext") == 0)
		return set_text(&o->displaytext, key, value);
	if (strcmp(key, "hosttags") == 0)
		return set_text(&o->hosttags, key, value);
	if (strcmp(key, "cpunumber") == 0)
		return set_number(&o->cpunumber, key, value, 1, 1024);
	if (strcmp(key, "cpuspeed") == 0)
		return set_number(&o->cpuspeed, key, value, 1, 100000);
	if (strcmp(key, "memory") == 0)
		return set_number(&o->memory, key, value, 1, 1ul << 30);
	if (strcmp(key, "offerha") != 0)
		return text_print("there is no '%.60s' of an offering", key);
	if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		return text_print("offerha: '%.40s' is not true or false", value);
	o->offerha = strcmp(value, "true") == 0;
	return NULL;
}

static char *set(struct config *c, const char *section, const char *key, const char *value)
{
	if (strncmp(section, "offering ", 9) == 0)
		return set_offering(c, section + 9, key, value);
#define TEXT(of, name, member, otherwise)                       \
	if (strcmp(section, of) == 0 && strcmp(key, name) == 0) \
		return set_text(&c->member, key, value);
#define NUMBER(of, name, member, otherwise, least, most)        \
	if (strcmp(section, of) == 0 && strcmp(key, name) == 0) \
		return set_number(&c->member, key, value, least, most);
#include "admin/cloudstack/config.def"
#undef TEXT
#undef NUMBER
	return text_print("there is no '%.60s' in [%.60s]", key, section);
}

// ---- the file ----

static int read_one(void *user, const char *section, const char *key, const char *value)
{
	struct reading *r = user;

	if (!r->error)
		r->error = set(r->config, section, key, value ? value : "");
	return !r->error;
}

// The path begins with no name: only loopback may be spoken to in the clear.
static bool is_url(const char *url)
{
	static const char *const begins[] = { "https://",
					      "http://127.0.0.1:", "http://localhost:", "http://[::1]:" };

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		if (strncmp(url, begins[i], strlen(begins[i])) == 0)
			return !strchr(url, '@') && !strchr(url, '?') && !strchr(url, '#');
	}
	return false;
}

static char *check(const struct config *c)
{
	if (!c->url || !c->apikey || !c->secretkey)
		return text_print("%s is missing in [cloudstack]", !c->url	? "url"
								   : !c->apikey ? "apikey"
										: "secretkey");
	if (!is_url(c->url))
		return text_print("url: not https://HOST/client/api (http:// only to localhost, and neither "
				  "a user nor a query in it)");
	for (size_t i = 0; i < c->n_offerings; i++) {
		const struct config_offering *o = &c->offering[i];

		if (!o->name || !o->cpunumber || !o->cpuspeed || !o->memory)
			return text_print("[offering %s] needs name, cpunumber, cpuspeed and memory",
					  o->profile);
	}
	return NULL;
}

// Whether systemd put the file there for this process alone (LoadCredential). It may do so by an ACL, which
// stat() shows as the group's right to read.
static bool is_credential(const char *path)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	size_t n = folder ? strlen(folder) : 0;

	return n && strncmp(path, folder, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

static char *check_file(int fd, const char *path)
{
	mode_t closed = is_credential(path) ? 037 : 077;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return text_print("%s: not a file", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return text_print("%s belongs to another user: chown root %s", path, path);
	if (st.st_mode & closed)
		return text_print("%s: others can read or write these keys: chmod 600 %s, and have the keys "
				  "replaced if they might have",
				  path, path);
	return NULL;
}

static char *read_file(struct config *c, int *fd)
{
	FILE *f = fdopen(*fd, "re");
	struct reading r = { .config = c };
	char *error;
	int line;

	if (!f)
		return text_print("%s", strerror(errno));
	take_fd(fd);
	line = ini_parse_file(f, read_one, &r);
	fclose(f);
	if (!line)
		return check(c);
	error = text_print("line %d: %s", line,
			   r.error ? r.error : "not 'key = value', or a line of more than 199 bytes");
	free(r.error);
	return error;
}

char *config_read(struct config *c, const char *path)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	cleanup_free char *error = NULL;
	char *refused;

	*c = (struct config){ .path = text_print("%s", path) };
#define TEXT(section, key, member, otherwise)		     c->member = text_or_null(otherwise);
#define NUMBER(section, key, member, otherwise, least, most) c->member = (otherwise);
#include "admin/cloudstack/config.def"
#undef TEXT
#undef NUMBER
	if (fd < 0)
		return text_print("%s: %s.\ndocs/cloudstack.md says what stands in it", path,
				  strerror(errno));
	refused = check_file(fd, path);
	if (refused)
		return refused;
	error = read_file(c, &fd);
	return error ? text_print("%s: %s", path, error) : NULL;
}

void config_done(struct config *c)
{
	if (c->secretkey)
		explicit_bzero(c->secretkey, strlen(c->secretkey));
#define TEXT(section, key, member, otherwise) free(c->member);
#define NUMBER(section, key, member, otherwise, least, most)
#include "admin/cloudstack/config.def"
#undef TEXT
#undef NUMBER
	for (size_t i = 0; i < c->n_offerings; i++) {
		free(c->offering[i].profile);
		free(c->offering[i].name);
		free(c->offering[i].displaytext);
		free(c->offering[i].hosttags);
	}
	free(c->path);
	*c = (struct config){ 0 };
}
