// SPDX-License-Identifier: Apache-2.0
// Who a log line is about: what the handler that runs now deals with. In the journal such lines carry the
// fields VGPU_TENANT, VGPU_TENANT_ID, VGPU_VM, VGPU_SESSION, VGPU_CHANNEL and VGPU_EXECUTOR
// (docs/metrics.md); elsewhere the text is all. In the mediator's loop; what is named lives as long as the
// handler runs, since only the reaper frees it.
#ifndef VGPU_MEDIATOR_ABOUT_H
#define VGPU_MEDIATOR_ABOUT_H

#include "common/cleanup.h"

struct channel;
struct session;
struct tenant;

// NULL: nobody.
struct about {
	const struct tenant *tenant;
	const struct session *session;
	const struct channel *channel;
};

// From here on; what was before, for about_restore(). Of what is told already nothing is lost: a tenant keeps
// the session and channel of its own that the handler deals with.
struct about about_channel(const struct channel *c); // NULL: as it is
struct about about_session(const struct session *s);
struct about about_tenant(const struct tenant *t);
void about_restore(const struct about *before);

// Until the end of the block.
#define ABOUT_CHANNEL(c) __attribute__((unused)) cleanup(about_restore) struct about about_ = about_channel(c)
#define ABOUT_SESSION(s) __attribute__((unused)) cleanup(about_restore) struct about about_ = about_session(s)
#define ABOUT_TENANT(t)	 __attribute__((unused)) cleanup(about_restore) struct about about_ = about_tenant(t)

// If our lines go to the journal, they go there with their fields from here on.
void about_begin(void);

#endif
