// SPDX-License-Identifier: Apache-2.0
// Log lines that somebody else can cause: limited in number, so that nobody fills the host's log.
#ifndef VGPU_MEDIATOR_COMPLAIN_H
#define VGPU_MEDIATOR_COMPLAIN_H

// As log_warning, at most 20 a second in the whole daemon; what was left out is counted in a later line.
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
