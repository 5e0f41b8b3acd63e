// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator, before its loop and in it.
#include "mediator/api/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define BLANKS " \t\r"

static bool read_hash(const char *text, size_t n, uint8_t *ret)
{
	if (n != 2 * (size_t)TOKEN_HASH_BYTES)
		return false;
	for (size_t i = 0; i < TOKEN_HASH_BYTES; i++) {
		char digits[3] = { text[2 * i], text[2 * i + 1], 0 }, *end;

		if (strspn(digits, "0123456789abcdefABCDEF") != 2)
			return false;
		ret[i] = (uint8_t)strtoul(digits, &end, 16);
	}
	return true;
}

static bool read_name(const char *text, size_t n, char *ret)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.@";

	if (!n || n > VGPU_MAX_POLICY_NAME || strspn(text, good) < n)
		return false;
	memcpy(ret, text, n);
	ret[n] = 0;
	return true;
}

static bool is_word(const char *text, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(text, word, n) == 0;
}

// What is wrong with the line; NULL: nothing, and *ret has it.
static const char *read_line(const char *line, size_t n, struct api_token *ret)
{
	const char *part[3];
	size_t len[3], at = 0;

	for (unsigned i = 0; i < 3; i++) {
		while (at < n && strchr(BLANKS, line[at]))
			at++;
		part[i] = line + at;
		while (at < n && !strchr(BLANKS, line[at]))
			at++;
		len[i] = (size_t)(line + at - part[i]);
	}
	while (at < n && strchr(BLANKS, line[at]))
		at++;
	if (at < n || !len[2])
		return "not 'role sha256 name'";
	ret->admin = is_word(part[0], len[0], "admin");
	if (!ret->admin && !is_word(part[0], len[0], "viewer"))
		return "the role is not admin or viewer";
	if (!read_hash(part[1], len[1], ret->hash))
		return "not a SHA-256 of 64 hexadecimal digits";
	if (!read_name(part[2], len[2], ret->name))
		return "not a name (A-Z a-z 0-9 _ - . @)";
	return NULL;
}

static bool is_there(const struct api_tokens *t, const struct api_token *other)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (strcmp(t->list[i].name, other->name) == 0 ||
		    memcmp(t->list[i].hash, other->hash, TOKEN_HASH_BYTES) == 0)
			return true;
	}
	return false;
}

static bool is_empty(const char *line, size_t n)
{
	size_t blanks = strspn(line, BLANKS);

	return blanks >= n || line[blanks] == '#';
}

int api_tokens_parse(struct api_tokens *t, const char *text, char *error, size_t error_bytes)
{
	struct api_tokens read = { .list = calloc(VGPU_MAX_API_TOKENS, sizeof(*read.list)) };
	const char *wrong = read.list ? NULL : "no memory";
	unsigned number = 0;

	while (!wrong && *text) {
		size_t n = strcspn(text, "\n");
		struct api_token token;

		number++;
		if (!is_empty(text, n)) {
			wrong = read_line(text, n, &token);
			if (!wrong && is_there(&read, &token))
				wrong = "the name, or the token, is there already";
			else if (!wrong && read.n == VGPU_MAX_API_TOKENS)
				wrong = "too many tokens (VGPU_MAX_API_TOKENS)";
			else if (!wrong)
				read.list[read.n++] = token;
		}
		text += n + (text[n] == '\n');
	}
	if (!wrong) {
		*t = read;
		return 0;
	}
	snprintf(error, error_bytes, "line %u: %s", number, wrong);
	api_tokens_done(&read);
	return number ? -EINVAL : -ENOMEM;
}

void api_tokens_done(struct api_tokens *t)
{
	free(t->list);
	*t = (struct api_tokens){ 0 };
}

const struct api_token *api_tokens_find(const struct api_tokens *t, const char *secret, size_t n)
{
	const struct api_token *found = NULL;
	uint8_t hash[TOKEN_HASH_BYTES];

	if (n > VGPU_MAX_API_TOKEN || gnutls_hash_fast(GNUTLS_DIG_SHA256, secret, n, hash) < 0)
		return NULL;
	for (unsigned i = 0; i < t->n; i++) {
		uint8_t differs = 0;

		for (unsigned j = 0; j < TOKEN_HASH_BYTES; j++)
			differs |= (uint8_t)(hash[j] ^ t->list[i].hash[j]);
		found = differs ? found : &t->list[i];
	}
	return found;
}

// ---- files ----

static int read_whole(int fd, size_t bytes, char **ret)
{
	cleanup_free char *text = malloc(bytes + 1);
	size_t n = 0;

	if (!text)
		return -ENOMEM;
	while (n < bytes) {
		ssize_t r = read(fd, text + n, bytes - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	text[n] = 0;
	if (strlen(text) != n)
		return -EBADMSG;
	*ret = take_ptr(text);
	return 0;
}

int api_read_file(const char *what, const char *path, bool is_secret, char **ret, char *error,
		  size_t error_bytes)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int r = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		snprintf(error, error_bytes, "%s %s: %s", what, path, strerror(-r));
		return r;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)VGPU_MAX_API_FILE) {
		snprintf(error, error_bytes, "%s %s: not a file of at most VGPU_MAX_API_FILE bytes", what,
			 path);
		return -EINVAL;
	}
	if (is_secret && ((st.st_mode & S_IRWXO) || (st.st_uid != 0 && st.st_uid != geteuid()))) {
		snprintf(error, error_bytes,
			 "%s %s: must belong to root or the mediator's user, and not be open to others "
			 "(mode %04o)",
			 what, path, (unsigned)st.st_mode & 07777);
		return -EPERM;
	}
	r = read_whole(fd, (size_t)st.st_size, ret);
	if (r < 0)
		snprintf(error, error_bytes, "%s %s: %s", what, path,
			 r == -EBADMSG ? "not a text" : strerror(-r));
	return r;
}
