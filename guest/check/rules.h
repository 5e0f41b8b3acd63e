// SPDX-License-Identifier: Apache-2.0
// What is to be found in texts and bytes that the system keeps: pure functions, no files, no state. Texts end
// with a zero; nothing is assumed of what stands in them.
#ifndef VGPU_CHECK_RULES_H
#define VGPU_CHECK_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// "6.1.0-32-amd64": 6 and 1. False: it does not begin so.
bool rule_kernel_version(const char *release, unsigned *major, unsigned *minor);

// Names of modules: '-' and '_' are the same.
// Whether /proc/modules (text) names it.
bool rule_modules_has(const char *text, const char *module);
// Whether modules.dep (text) has a file of it, compressed or not.
bool rule_dep_has(const char *text, const char *module);
// The next module of modules.dep whose name begins so, behind *at (begin: text itself), its name in ret.
// False: none.
bool rule_dep_next(const char **at, const char *prefix, char *ret, size_t room);
// Whether a file of modprobe.d keeps modprobe from loading it by its ids: blacklist, or install with false or
// true.
bool rule_modprobe_refuses(const char *text, const char *module);
// The same of the kernel's command line: module_blacklist=, modprobe.blacklist=.
bool rule_cmdline_refuses(const char *text, const char *module);

// The choice in brackets, "none [integrity] confidentiality". False: there is none.
bool rule_chosen(const char *text, char *ret, size_t room);

// The path of the unified hierarchy in /proc/PID/cgroup, "0::/user.slice". False: there is none.
bool rule_cgroup(const char *text, char *ret, size_t room);
// The value of a line "Name:\tVALUE" (/proc/PID/status). False: there is none.
bool rule_status(const char *text, const char *name, char *ret, size_t room);

// The last line of the kernel's log ("<3>[ 1.2] vgpu 0000:01:00.0: text") of warning level or worse with
// these words, from behind them on. False: there is none.
bool rule_log_last(const char *text, const char *words, char *ret, size_t room);

// Whether a list of folders with colons names this folder ("/a/" is "/a").
bool rule_list_has(const char *list, const char *folder, size_t folder_length);

enum rule_cache { RULE_CACHE_UNKNOWN, RULE_CACHE_NONE, RULE_CACHE_FOUND };
// The x86-64 library that the loader takes from its cache (/etc/ld.so.cache, glibc's format since 2.32) for a
// name: its path in ret. UNKNOWN: the bytes are not such a cache.
enum rule_cache rule_cache_first(const void *data, size_t bytes, const char *name, char *ret, size_t room);

// The version in vgpu's note among an ELF file's notes (one PT_NOTE segment with this alignment).
bool rule_version_note(const void *notes, size_t bytes, size_t align, char *ret, size_t room);

#endif
