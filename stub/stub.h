// SPDX-License-Identifier: Apache-2.0
// vgpu-stub's one object: a PCI device for one VM. Who calls whom:
//
//   server (vfio-user messages) ──> identity (the second device of the nvidia personality: registers, no
//   more)
//     │
//     └─────────────────────────> device (registers, reset, memory) ──> commands ──> channels ──> mediator,
//                                      │                                     ^            │         executors
//                                      └── dma, irq, config space            └── host <───┘
//
// One thread, one sd-event loop; no handler waits for anybody. What takes time (an executor that starts or
// ends) is a state of its channel. Nothing is allocated at a guest's wish but the table of its memory.
#ifndef VGPU_STUB_STUB_H
#define VGPU_STUB_STUB_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "stub/channel.h"
#include "stub/command.h"
#include "stub/config_space.h"
#include "stub/dma.h"
#include "stub/host.h"
#include "stub/identity.h"
#include "stub/irq.h"
#include "stub/registers.h"
#include "stub/server.h"

struct stub {
	sd_event *event;
	const char *socket_path, *tenant_path;
	bool once; // ends with the first monitor
	bool stopping;
	sd_event_source *stop_timer;

	uint16_t pci_vendor, pci_device; // of the transport; 0: its own
	struct config_space config;
	struct registers registers;
	struct dma dma;
	struct irq irq;
	bool warned; // that memory is not shared
	struct server server;
	struct identity identity;
	struct host host;
	struct commands commands;
	struct channel channels[VGPU_MAX_VM_CHANNELS];
	bool disabling; // ADMIN_ENABLE = 0 or a reset: the area goes with the last channel
};

#endif
