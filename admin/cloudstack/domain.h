// SPDX-License-Identifier: Apache-2.0
// A libvirt domain's XML as far as vGPUs are concerned: what of it speaks of them, and the same domain with
// virtual GPUs of ours in place of mediated devices. Pure: strings in, strings out; no file, socket or clock.
#ifndef VGPU_ADMIN_CLOUDSTACK_DOMAIN_H
#define VGPU_ADMIN_CLOUDSTACK_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOMAIN_UUID_BYTES  37
#define DOMAIN_MOST_BYTES  131071     // Linux's limit of one argument, which is how the agent hands it over
#define DOMAIN_MOST_OUTPUT 65536      // what the agent reads of a hook's answer
#define DOMAIN_MOST_LIVE   (1u << 20) // libvirt's own hook gets it by stdin, with all that libvirt filled in
#define DOMAIN_MOST_VGPUS  16	      // mediated devices and vGPUs of one domain
#define DOMAIN_STUBS	   "/run/vgpu-stub/" // where vgpu-stub@.service has the sockets

struct _xmlDoc;
struct _xmlNode;

struct domain_mdev {
	char uuid[DOMAIN_UUID_BYTES];
	struct _xmlNode *hostdev;
};

struct domain {
	struct _xmlDoc *doc;
	char uuid[DOMAIN_UUID_BYTES]; // "": none
	char *name;		      // "": none
	struct domain_mdev mdevs[DOMAIN_MOST_VGPUS];
	size_t n_mdevs;
	char *sockets[DOMAIN_MOST_VGPUS]; // of the devices that are written as domain_rewrite() writes them
	size_t n_sockets;
	unsigned next_id;   // vgpuN that no such device has
	uint32_t addresses; // bits: slots of PCI bus 0 that something names
	bool host_bridge;   // a hostdev is 0000:00:00.0, which a uuid becomes that is taken for a PCI address
	char *strange; // what names vfio-user or our sockets and is not written by us; NULL: nothing does
};

// Libvirt's reading of a uuid: 32 digits with hyphens anywhere; canonical in *ret. False: it is none.
bool domain_uuid(const char *text, char ret[static DOMAIN_UUID_BYTES]);

// NULL with why (to be freed): no single domain, or more than anybody has. most: bytes.
struct domain *domain_read(const char *xml, size_t len, size_t most, char **ret_why);
void domain_free(struct domain *d);

// Whether there is anything that the mediator would have to be asked about.
bool domain_concerns_us(const struct domain *d);

struct domain_plan {
	const char *emulator; // NULL: as it is
	struct {
		const char *vgpu, *socket; // uuid as in mdevs
		const char *nvidia;	   // socket of a second device; NULL: there is none
	} vgpus[DOMAIN_MOST_VGPUS];
	size_t n;
};

// The domain with the plan's mediated devices replaced, to be freed; it is spent then. NULL with why (to be
// freed).
char *domain_rewrite(struct domain *d, const struct domain_plan *plan, char **ret_why);

#endif
