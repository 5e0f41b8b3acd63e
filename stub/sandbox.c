// SPDX-License-Identifier: Apache-2.0
// System calls of vgpu-stub; see the header. Called by main.c when the socket is open and before the first
// byte of a monitor is read.
#include "stub/sandbox.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <seccomp.h>

static const char *const calls[] = {
	"read",		  "write",	  "pread64",	     "pwrite64",
	"close",	  "fstat",	  "newfstatat",	     "fstatfs",
	"mmap",		  "munmap",	  "mprotect",	     "mremap",
	"madvise",	  "brk",	  "epoll_wait",	     "epoll_pwait",
	"epoll_pwait2",	  "epoll_ctl",	  "timerfd_settime", "clock_gettime",
	"gettimeofday",	  "accept4",	  "connect",	     "sendto",
	"sendmsg",	  "recvfrom",	  "recvmsg",	     "socketpair",
	"shutdown",	  "memfd_create", "eventfd2",	     "timerfd_create",
	"unlink",	  "unlinkat",	  "fcntl",	     "futex",
	"rt_sigprocmask", "rt_sigreturn", "rt_sigaction",    "getpid",
	"gettid",	  "exit",	  "exit_group",	     "restart_syscall",
	"getrandom",	  "tgkill",	  "ioctl",	     "getsockopt",
	"waitid",
};

static int add(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !r; i++) {
		int call = seccomp_syscall_resolve_name(calls[i]);

		if (call != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
		if (r == -EDOM)
			r = 0;
	}
	if (!r) // sd-event would like the machine's boot id for its timers, and does without
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0);
	return r ? r
		 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				    SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
}

int stub_sandbox_enter(bool only_log)
{
	const struct rlimit none = { 0, 0 };
	scmp_filter_ctx filter;
	int r;

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	filter = seccomp_init(only_log ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	r = add(filter);
	if (!r)
		r = seccomp_load(filter); // sets no_new_privs
	seccomp_release(filter);
	return r;
}
