// SPDX-License-Identifier: Apache-2.0
// The sandbox; see the header. Allow lists by backend, made with libseccomp. Called by main.c: prepare at its
// beginning, enter when the backend is open and before the first byte of the guest is read.
#include "executor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "common/log.h"

// Every profile: the loop, memory, threads that a backend starts, and dying.
static const char *const common_calls[] = {
	"read",
	"write",
	"writev",
	"close",
	"fstat",
	"newfstatat",
	"lseek",
	"mmap",
	"mprotect",
	"munmap",
	"mremap",
	"madvise",
	"brk",
	"futex",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_ctl",
	"poll",
	"ppoll",
	"clock_gettime",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"sched_yield",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigaltstack",
	"getpid",
	"gettid",
	"tgkill",
	"exit",
	"exit_group",
	"restart_syscall",
	"set_robust_list",
	"rseq",
	"getrandom",
	"prlimit64",
	"sched_getaffinity",
	"getcpu",
	"membarrier",
	"memfd_create", // memory and events that are shared
	"ftruncate",
	"fcntl",
};

// Threads and what an in-process compiler asks for.
static const char *const cpu_calls[] = {
	"clone3",  "sched_setaffinity", "set_tid_address", "uname",
	"sysinfo", "getrusage",		"readlink",	   "access",
};

// The NVIDIA driver's user side: its device files, its compiler library, its own threads and event fds.
static const char *const cuda_calls[] = {
	"clone3",
	"sched_setaffinity",
	"set_tid_address",
	"uname",
	"sysinfo",
	"getrusage",
	"ioctl",
	"eventfd2",
	"pipe2",
	"dup",
	"dup3",
	"stat",
	"lstat",
	"statx",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents64",
	"pread64",
	"getcwd",
	"statfs",
	"fstatfs",
	"geteuid",
	"getuid",
	"getgid",
	"getegid",
	"epoll_create1",
	"mlock",
	"munlock",
	"mincore",
	"set_mempolicy",
	"get_mempolicy",
	"mbind",
	"sched_getscheduler",
	"sched_getparam",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"fadvise64",
	"flock",
	"getppid",
	"capget",
	"arch_prctl",
};

struct profile {
	const char *name;
	const char *const *calls;
	size_t n_calls;
	bool opens; // may open files
	bool threads;
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct profile profiles[] = {
	{ "null", NULL, 0, false, false },
	{ "cpu", cpu_calls, COUNT(cpu_calls), false, true },
	{ "cuda", cuda_calls, COUNT(cuda_calls), true, true },
};

int sandbox_prepare(int keep)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (keep > 3 && close_range(3, (unsigned)keep - 1, 0) < 0)
		return -errno;
	if (close_range((unsigned)keep + 1, ~0u, 0) < 0)
		return -errno;
	return 0;
}

// ---- naming what was refused ----

static void say(const char *text)
{
	if (write(log_fd(), text, strlen(text)) < 0) {
		// Nowhere left to say it.
	}
}

// Runs in place of the refused call. libseccomp's tables are static, so asking it here is safe enough for a
// debug mode whose next step is to die.
static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	char *name = seccomp_syscall_resolve_num_arch(info->si_arch, info->si_syscall);

	(void)sig;
	(void)context;
	say("vgpu-executor: sandbox refused the system call ");
	say(name ? name : "(unknown)");
	say("\n");
	signal(SIGSYS, SIG_DFL);
	raise(SIGSYS);
	_exit(128 + SIGSYS);
}

static int install_handler(void)
{
	struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

// ---- rules ----

static int allow(scmp_filter_ctx filter, const char *name)
{
	int call = seccomp_syscall_resolve_name(name);
	int r;

	if (call == __NR_SCMP_ERROR) // this machine's libseccomp or architecture does not know it
		return 0;
	r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
	return r == -EDOM ? 0 : r;
}

static int allow_all(scmp_filter_ctx filter, const char *const *names, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = allow(filter, names[i]);
	return r;
}

// Messages on the links only: no call takes an address there, and no other socket exists or can be made.
static int allow_link(scmp_filter_ctx filter, int link)
{
	static const int calls[] = { SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(recvfrom),
				     SCMP_SYS(shutdown) };
	int r = 0;

	for (size_t i = 0; i < COUNT(calls) && !r; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)link));
	return r;
}

// Threads, but no new process: clone only with CLONE_THREAD. clone3's flags cannot be seen; it answers
// ENOSYS, and the C library falls back to clone.
static int allow_threads(scmp_filter_ctx filter)
{
	const scmp_datum_t thread = 0x00010000; // CLONE_THREAD
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));

	return r ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

// Files that exist, never to make or cut one.
static int allow_opens(scmp_filter_ctx filter)
{
	const scmp_datum_t making = O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, making, 0));

	return r ? r
		 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1,
				    SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT));
}

// What libraries try and do well without: refused with an error instead of death.
static int refuse_softly(scmp_filter_ctx filter, const struct profile *p)
{
	static const char *const soft[] = { "openat", "open",	"socket",
					    "mkdir",  "unlink", "sched_setscheduler",
					    "prctl",  "ioctl",	"readlink",
					    "access", "uname",	"sysinfo" };
	int r = 0;

	for (size_t i = 0; i < COUNT(soft) && !r; i++) {
		int call = seccomp_syscall_resolve_name(soft[i]);

		if (p->opens && strcmp(soft[i], "openat") == 0)
			continue;
		for (size_t k = 0; k < p->n_calls && call != __NR_SCMP_ERROR; k++)
			if (strcmp(soft[i], p->calls[k]) == 0)
				call = __NR_SCMP_ERROR;
		if (call != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
		if (r == -EDOM)
			r = 0;
	}
	return r;
}

static int add_rules(scmp_filter_ctx filter, const struct profile *p, const struct sandbox_options *o)
{
	int r = allow_all(filter, common_calls, COUNT(common_calls));

	if (!r)
		r = allow_all(filter, p->calls, p->n_calls);
	if (!r)
		r = allow_link(filter, o->link);
	if (!r && o->memory_link)
		r = allow_link(filter, o->memory_link);
	if (!r && p->threads)
		r = allow_threads(filter);
	if (!r && p->opens)
		r = allow_opens(filter);
	return r;
}

int sandbox_enter(const struct sandbox_options *options)
{
	const struct profile *p = NULL;
	scmp_filter_ctx filter;
	int r;

	for (size_t i = 0; i < COUNT(profiles); i++)
		if (strcmp(profiles[i].name, options->profile) == 0)
			p = &profiles[i];
	if (!p)
		return -EINVAL;
	filter = seccomp_init(options->name_refused    ? SCMP_ACT_TRAP
			      : options->refuse_softly ? SCMP_ACT_ERRNO(EPERM)
						       : SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	r = options->name_refused ? install_handler() : 0;
	if (!r)
		r = add_rules(filter, p, options);
	if (!r && (options->name_refused || !options->refuse_softly))
		r = refuse_softly(filter, p);
	if (!r) // threads that the backend started at open as well
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
