// SPDX-License-Identifier: Apache-2.0
// The compile cache that NVRTC and nvJitLink ask the driver for (an export table; its functions were learnt
// by watching NVRTC 13 call them). cuDNN compiles the same engine for every new sequence length of a decoding
// model; without a cache each costs a fifth of a second. Results are kept in the process, and as files under
// CUDA_CACHE_PATH, else the user's cache folder, for the next one. Runs in the guest program, in any thread.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/libcuda/export_tables.h"
#include "guest/libcuda/libcuda.h"

#define BUCKETS	     256u
#define MEMORY_LIMIT (256ull << 20)
#define DISK_LIMIT   (1ull << 30) // the driver's own default; CUDA_CACHE_MAXSIZE
#define PATH_BYTES   512
#define FILE_MAGIC   0x31434756u // "VGC1"

// What is compiled, with what: all of it is compared before a result counts as found.
struct key {
	uint64_t hash;
	size_t bytes;
	char data[];
};

struct entry {
	SLIST_ENTRY(entry) next;
	struct key *key;
	void *data;
	uint32_t bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SLIST_HEAD(, entry) buckets[BUCKETS];
static uint64_t in_memory;
static atomic_flag disk_is_tidy = ATOMIC_FLAG_INIT; // looked at once a process

// ---- keys

static uint64_t hash_bytes(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ull; // FNV-1a

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 0x100000001b3ull;
	return h;
}

// kind: 2 compiles to PTX, 1 to machine code. options and tag (the compiler's build) are texts.
static struct key *key_new(uint32_t kind, const void *code, uint32_t code_bytes, const char *options,
			   const char *tag)
{
	size_t options_bytes = options ? strlen(options) + 1 : 0, tag_bytes = tag ? strlen(tag) + 1 : 0;
	size_t bytes = sizeof(kind) + code_bytes + options_bytes + tag_bytes;
	struct key *k = malloc(sizeof(*k) + bytes);
	char *to;

	if (!k)
		return NULL;
	to = k->data;
	memcpy(to, &kind, sizeof(kind));
	to += sizeof(kind);
	if (code_bytes)
		memcpy(to, code, code_bytes);
	to += code_bytes;
	if (options_bytes)
		memcpy(to, options, options_bytes);
	if (tag_bytes)
		memcpy(to + options_bytes, tag, tag_bytes);
	k->bytes = bytes;
	k->hash = hash_bytes(k->data, bytes);
	return k;
}

static int same_key(const struct key *a, const struct key *b)
{
	return a->hash == b->hash && a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes);
}

// ---- in memory

static struct entry *find(const struct key *k)
{
	struct entry *e;

	SLIST_FOREACH(e, &buckets[k->hash % BUCKETS], next)
	if (same_key(e->key, k))
		return e;
	return NULL;
}

// Keeps copies of both; what does not fit is not kept.
static void keep(const struct key *k, const void *data, uint32_t bytes)
{
	struct entry *e;

	if (find(k) || in_memory + k->bytes + bytes > MEMORY_LIMIT)
		return;
	e = calloc(1, sizeof(*e));
	if (!e)
		return;
	e->key = malloc(sizeof(*k) + k->bytes);
	e->data = malloc(bytes ? bytes : 1);
	if (!e->key || !e->data) {
		free(e->key);
		free(e->data);
		free(e);
		return;
	}
	memcpy(e->key, k, sizeof(*k) + k->bytes);
	memcpy(e->data, data, bytes);
	e->bytes = bytes;
	in_memory += k->bytes + bytes;
	SLIST_INSERT_HEAD(&buckets[k->hash % BUCKETS], e, next);
}

void compile_cache_forget(void)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		while (!SLIST_EMPTY(&buckets[i])) {
			struct entry *e = SLIST_FIRST(&buckets[i]);

			SLIST_REMOVE_HEAD(&buckets[i], next);
			free(e->key);
			free(e->data);
			free(e);
		}
	in_memory = 0;
}

// ---- on disk: a file an entry, named by the hash: magic, lengths, key, data

struct file_head {
	uint32_t magic, bytes;
	uint64_t key_bytes;
};

// Makes the folder; 0 when there is to be none.
static int folder(char path[PATH_BYTES])
{
	const char *off = getenv("CUDA_CACHE_DISABLE"), *base = getenv("CUDA_CACHE_PATH"),
		   *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
	int n;

	if ((off && !strcmp(off, "1")) || (!base && !cache && !home))
		return 0;
	if (base || cache)
		n = snprintf(path, PATH_BYTES, "%s/vgpu", base ? base : cache);
	else
		n = snprintf(path, PATH_BYTES, "%s/.cache/vgpu", home);
	if (n < 0 || n >= PATH_BYTES - 64)
		return 0;
	if (mkdir(path, 0700) && errno == ENOENT && !base) { // one level up may be missing in a new home
		char *last = strrchr(path, '/');

		*last = '\0';
		mkdir(path, 0700);
		*last = '/';
		mkdir(path, 0700);
	}
	return access(path, W_OK) == 0;
}

static int read_all(int fd, void *to, size_t bytes)
{
	for (size_t have = 0; have < bytes;) {
		ssize_t n = read(fd, (char *)to + have, bytes - have);

		if (n <= 0 && !(n < 0 && errno == EINTR))
			return 0;
		have += n > 0 ? (size_t)n : 0;
	}
	return 1;
}

static void *disk_read(const struct key *k, uint32_t *ret_bytes)
{
	cleanup_free char *have = NULL;
	char path[PATH_BYTES];
	cleanup_fd int fd = -1;
	struct file_head head;
	void *data;

	if (!folder(path))
		return NULL;
	snprintf(path + strlen(path), 64, "/%016llx", (unsigned long long)k->hash);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !read_all(fd, &head, sizeof(head)) || head.magic != FILE_MAGIC ||
	    head.key_bytes != k->bytes)
		return NULL;
	have = malloc(k->bytes);
	if (!have || !read_all(fd, have, k->bytes) || memcmp(have, k->data, k->bytes))
		return NULL;
	data = malloc(head.bytes ? head.bytes : 1);
	if (data && !read_all(fd, data, head.bytes)) {
		free(data);
		return NULL;
	}
	*ret_bytes = head.bytes;
	return data;
}

static int write_all(int fd, const void *from, size_t bytes)
{
	for (size_t have = 0; have < bytes;) {
		ssize_t n = write(fd, (const char *)from + have, bytes - have);

		if (n < 0 && errno != EINTR)
			return 0;
		have += n > 0 ? (size_t)n : 0;
	}
	return 1;
}

// Removes what was not used for longest until the folder is below half of its limit.
static void tidy(const char *path)
{
	const char *limit_text = getenv("CUDA_CACHE_MAXSIZE");
	uint64_t limit = limit_text ? strtoull(limit_text, NULL, 10) : DISK_LIMIT, total;
	int over = 0;

	do {
		char oldest[64] = "";
		struct timespec when = { 0 };
		struct dirent *d;
		struct stat st;
		DIR *dir = opendir(path);
		int fd = dir ? dirfd(dir) : -1;

		if (fd < 0)
			return;
		total = 0;
		while ((d = readdir(dir))) {
			if (d->d_name[0] == '.' || strlen(d->d_name) >= sizeof(oldest) ||
			    fstatat(fd, d->d_name, &st, 0) || !S_ISREG(st.st_mode))
				continue;
			total += (uint64_t)st.st_size;
			if (!oldest[0] || st.st_mtim.tv_sec < when.tv_sec) {
				when = st.st_mtim;
				snprintf(oldest, sizeof(oldest), "%s", d->d_name);
			}
		}
		over = oldest[0] && total > (over ? limit / 2 : limit);
		if (over && unlinkat(fd, oldest, 0))
			over = 0;
		closedir(dir);
	} while (over);
}

// Written beside and renamed, so that a reader meets whole files only.
static void disk_write(const struct key *k, const void *data, uint32_t bytes)
{
	struct file_head head = { FILE_MAGIC, bytes, k->bytes };
	char path[PATH_BYTES], made[PATH_BYTES];
	cleanup_fd int fd = -1;
	size_t length;

	if (!folder(path))
		return;
	if (!atomic_flag_test_and_set(&disk_is_tidy))
		tidy(path);
	length = strlen(path);
	memcpy(made, path, length + 1);
	snprintf(path + length, 64, "/%016llx", (unsigned long long)k->hash);
	snprintf(made + length, 64, "/.%016llx.%d", (unsigned long long)k->hash, (int)getpid());
	fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (!write_all(fd, &head, sizeof(head)) || !write_all(fd, k->data, k->bytes) ||
	    !write_all(fd, data, bytes) || rename(made, path))
		unlink(made);
}

// ---- the table's functions

CUresult export_cache_open(void **ret, uint32_t kind, const void *code, uint32_t code_bytes,
			   const char *options, const char *tag)
{
	if (!ret || (code_bytes && !code))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = key_new(kind, code, code_bytes, options, tag);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult export_cache_close(void *handle)
{
	free(handle);
	return CUDA_SUCCESS;
}

// *data is the caller's, given back by export_cache_free.
CUresult export_cache_lookup(void *handle, uint64_t zero, void **data, uint32_t *bytes)
{
	const struct key *k = handle;
	void *found = NULL;
	struct entry *e;

	(void)zero;
	if (!k || !data || !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	e = find(k);
	if (e) {
		found = malloc(e->bytes ? e->bytes : 1);
		if (found) {
			memcpy(found, e->data, e->bytes);
			*bytes = e->bytes;
		}
	}
	pthread_mutex_unlock(&lock);
	if (!e) {
		found = disk_read(k, bytes);
		pthread_mutex_lock(&lock);
		if (found)
			keep(k, found, *bytes);
		pthread_mutex_unlock(&lock);
	}
	if (!found)
		return CUDA_ERROR_NOT_FOUND;
	*data = found;
	return CUDA_SUCCESS;
}

CUresult export_cache_store(void *handle, uint64_t zero, const void *data, uint32_t bytes)
{
	const struct key *k = handle;

	(void)zero;
	if (!k || (bytes && !data))
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	keep(k, data, bytes);
	pthread_mutex_unlock(&lock);
	disk_write(k, data, bytes);
	return CUDA_SUCCESS;
}

CUresult export_cache_free(void *data)
{
	free(data);
	return CUDA_SUCCESS;
}
