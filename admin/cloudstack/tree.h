// SPDX-License-Identifier: Apache-2.0
// Files below a root folder, read and written so that nobody else can lead us elsewhere: each
// folder on the way is opened by itself, is no link, and is writable by nobody but root or who runs
// this. Paths begin with '/', and are the ones that stand in messages. What fails says why in
// *ret_why, to be freed.
#ifndef VGPU_ADMIN_CLOUDSTACK_TREE_H
#define VGPU_ADMIN_CLOUDSTACK_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define TREE_MOST_BYTES (256u << 10) // of one file

struct tree {
	int fd;		// of the root folder; -1: not open
	char *made[16]; // folders that were not there before
	size_t n_made;
};

struct tree_file {
	bool there;
	struct stat st; // of itself, if it is a link
	char *text;	// of a regular file, with a 0 behind it
	size_t n;
};

bool tree_open(struct tree *t, const char *root, char **ret_why);
void tree_close(struct tree *t);

// A file or folder that is not there is not a failure. *ret is to be given back in any case.
bool tree_read(struct tree *t, const char *path, struct tree_file *ret, char **ret_why);
void tree_file_done(struct tree_file *f);

// Writes what path is to be beside it, to the disk, and makes the folders that are missing (mode
// 0755).
bool tree_stage(struct tree *t, const char *path, const char *text, size_t n, mode_t mode, char **ret_why);
// What was staged takes path's place at once, or goes.
bool tree_commit(struct tree *t, const char *path, char **ret_why);
void tree_discard(struct tree *t, const char *path);
// Refused if there is something at to.
bool tree_move(struct tree *t, const char *from, const char *to, char **ret_why);
bool tree_remove(struct tree *t, const char *path, char **ret_why);
// Removes the folders that were made, as far as they are empty.
void tree_unmake(struct tree *t);

#endif
