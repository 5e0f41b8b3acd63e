// SPDX-License-Identifier: Apache-2.0
// See the header. Called by handlers in the mediator's loop.
#define SD_JOURNAL_SUPPRESS_LOCATION // what a message is about matters, not which line of ours it comes from
#include "mediator/about.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "common/log.h"
#include "mediator/channel.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

// Last: its LOG_* are syslog's macros, ours are an enumeration's. Nothing is logged here.
#include <systemd/sd-journal.h>

#define FIELDS	    9
#define FIELD_BYTES (VGPU_MAX_NAME + 40)

static struct about now;

static struct about set(const struct about about)
{
	struct about before = now;

	now = about;
	return before;
}

struct about about_channel(const struct channel *c)
{
	return set(c ? (struct about){ c->tenant, c->session, c } : now);
}

struct about about_session(const struct session *s)
{
	return set((struct about){ session_tenant(s), s, NULL });
}

struct about about_tenant(const struct tenant *t)
{
	return set(now.tenant == t ? now : (struct about){ .tenant = t });
}

void about_restore(const struct about *before)
{
	now = *before;
}

// ---- the journal ----

struct fields {
	int n;
	struct iovec iov[FIELDS];
	char text[FIELDS][FIELD_BYTES];
};

__attribute__((format(printf, 2, 3))) static void add(struct fields *f, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(f->text[f->n], FIELD_BYTES, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	f->iov[f->n] = (struct iovec){ f->text[f->n], n < FIELD_BYTES ? (size_t)n : FIELD_BYTES - 1 };
	f->n++;
}

static void add_about(struct fields *f)
{
	if (now.tenant) {
		add(f, "VGPU_TENANT=%s", now.tenant->name);
		add(f, "VGPU_TENANT_ID=%" PRIu32, now.tenant->id);
		if (now.tenant->vm[0])
			add(f, "VGPU_VM=%s", now.tenant->vm);
	}
	if (now.session)
		add(f, "VGPU_SESSION=%" PRIu64, session_id(now.session));
	if (!now.channel)
		return;
	add(f, "VGPU_CHANNEL=%" PRIu64, now.channel->id);
	if (now.channel->process.pid > 0)
		add(f, "VGPU_EXECUTOR=%d", (int)now.channel->process.pid);
}

static bool to_journal(enum log_level level, const char *message, size_t bytes)
{
	static const int priorities[] = { 3, 4, 6, 7 };
	struct fields f = { .n = 1 };

	f.iov[0] = (struct iovec){ (char *)message, bytes };
	add(&f, "PRIORITY=%d", priorities[level]);
	add(&f, "SYSLOG_IDENTIFIER=vgpu-mediator");
	add_about(&f);
	return sd_journal_sendv(f.iov, f.n) >= 0;
}

void about_begin(void)
{
	if (log_is_journal())
		log_send_to(to_journal);
}
