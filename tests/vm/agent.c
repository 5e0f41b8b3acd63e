// SPDX-License-Identifier: Apache-2.0
// The first process of a test's guest, started by its init script with a serial port as argument: runs shell
// commands for the harness (machine.py), several at a time, and says what they write and how they end. Owns
// the port.
//
// From the harness, a line each:	run ID COMMAND		kill ID
// To the harness:			ready			once
//					out ID BYTES, err ID BYTES	and so many bytes
//					end ID STATUS		exit status, or minus the signal
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { MOST_COMMANDS = 64, LINE_BYTES = 65536, CHUNK_BYTES = 4096, FD_OUT = 0, FD_ERR = 1 };

struct command {
	unsigned long id;
	pid_t pid; // 0: free
	int fd[2]; // its stdout and stderr, -1: at their end
};

static struct command commands[MOST_COMMANDS];
static int port = -1, signals = -1;

static void write_all(const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(port, p, n);

		if (w < 0 && errno != EINTR && errno != EAGAIN)
			exit(1);
		if (w > 0) {
			p += w;
			n -= (size_t)w;
		}
	}
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	char line[128];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	write_all(line, (size_t)n);
}

// Hands on what the command wrote; false when there is no more for now.
static bool hand_on(struct command *c, int which)
{
	char data[CHUNK_BYTES];
	ssize_t n = read(c->fd[which], data, sizeof(data));

	if (n < 0)
		return false;
	if (n == 0) {
		close(c->fd[which]);
		c->fd[which] = -1;
		return false;
	}
	say("%s %lu %zd\n", which == FD_OUT ? "out" : "err", c->id, n);
	write_all(data, (size_t)n);
	return true;
}

static void run_child(const char *command, const int *out, const int *err)
{
	int null_fd = open("/dev/null", O_RDONLY);
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null_fd, STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(err[1], STDERR_FILENO);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void start(unsigned long id, const char *command)
{
	struct command *c = NULL;
	int out[2], err[2];

	for (int i = 0; i < MOST_COMMANDS && !c; i++) {
		if (!commands[i].pid)
			c = &commands[i];
	}
	if (!c || pipe2(out, O_CLOEXEC) < 0) {
		say("end %lu 126\n", id);
		return;
	}
	if (pipe2(err, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		say("end %lu 126\n", id);
		return;
	}
	*c = (struct command){ .id = id, .pid = fork(), .fd = { out[0], err[0] } };
	if (c->pid == 0)
		run_child(command, out, err);
	close(out[1]);
	close(err[1]);
	for (int i = 0; i < 2; i++)
		fcntl(c->fd[i], F_SETFL, O_NONBLOCK);
	if (c->pid < 0) {
		close(out[0]);
		close(err[0]);
		c->pid = 0;
		say("end %lu 126\n", id);
	}
}

static void obey(char *line)
{
	unsigned long id;
	int used = 0;

	if (sscanf(line, "run %lu %n", &id, &used) == 1 && used) {
		start(id, line + used);
	} else if (sscanf(line, "kill %lu", &id) == 1) {
		for (int i = 0; i < MOST_COMMANDS; i++) {
			if (commands[i].pid && commands[i].id == id)
				kill(-commands[i].pid, SIGKILL);
		}
	}
}

// As process 1 everybody's orphans are ours.
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < MOST_COMMANDS; i++) {
			struct command *c = &commands[i];

			if (c->pid != pid)
				continue;
			for (int which = 0; which < 2; which++) {
				while (c->fd[which] >= 0 && hand_on(c, which))
					;
				if (c->fd[which] >= 0)
					close(c->fd[which]);
			}
			say("end %lu %d\n", c->id,
			    WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
			c->pid = 0;
		}
	}
}

static void read_port(void)
{
	static char line[LINE_BYTES];
	static size_t length;
	ssize_t n = read(port, line + length, sizeof(line) - 1 - length);
	char *end;

	if (n <= 0)
		return;
	length += (size_t)n;
	line[length] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		obey(line);
		length -= (size_t)(end + 1 - line);
		memmove(line, end + 1, length + 1);
	}
	if (length == sizeof(line) - 1)
		length = 0;
}

static void open_port(const char *path)
{
	struct termios raw;

	port = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (port < 0 || tcgetattr(port, &raw) < 0) {
		fprintf(stderr, "agent: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	tcsetattr(port, TCSANOW, &raw);
}

int main(int argc, char **argv)
{
	char filler[CHUNK_BYTES];
	sigset_t child;

	if (argc != 2)
		return 64;
	open_port(argv[1]);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	// A message that the machine's last life began may lack some of its data, which the host still waits
	// for.
	memset(filler, '\n', sizeof(filler));
	write_all(filler, sizeof(filler));
	say("ready\n");
	for (;;) {
		struct pollfd fds[2 + 2 * MOST_COMMANDS] = { { .fd = port, .events = POLLIN },
							     { .fd = signals, .events = POLLIN } };
		struct signalfd_siginfo si;

		for (int i = 0; i < 2 * MOST_COMMANDS; i++)
			fds[2 + i] =
			    (struct pollfd){ .fd = commands[i / 2].pid ? commands[i / 2].fd[i % 2] : -1,
					     .events = POLLIN };
		if (poll(fds, 2 + 2 * MOST_COMMANDS, -1) < 0)
			continue;
		for (int i = 0; i < 2 * MOST_COMMANDS; i++) {
			if (fds[2 + i].revents)
				hand_on(&commands[i / 2], i % 2);
		}
		if (fds[0].revents)
			read_port();
		if (fds[1].revents) {
			while (read(signals, &si, sizeof(si)) > 0)
				;
			reap();
		}
	}
}
