// SPDX-License-Identifier: Apache-2.0
// What an operator has set up for virtual machines: profiles (sizes of vGPUs), VMs, and slots, the vGPUs that
// the card is divided into. A VM that was assigned a vGPU is a tenant with a socket of its own. All of it
// lies in the store (if there is one) and with the keeper; the mediator makes the tenants again from it, or
// takes those over that run. Logic only: who asked, and how, is the control socket's business. In the
// mediator's loop; docs/decisions/0025.
#ifndef VGPU_MEDIATOR_INVENTORY_INVENTORY_H
#define VGPU_MEDIATOR_INVENTORY_INVENTORY_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/limits.h"
#include "mediator/inventory/capacity.h"
#include "mediator/inventory/slot_life.h"
#include "mediator/inventory/uuid.h"
#include "mediator/limit/policy.h"
#include "mediator/store/store.h"
#include "protocol/host/link.h"

struct mediator;
struct tenant;

// Its record with the keeper.
struct keep_mark {
	uint64_t id; // 0: none yet
	bool kept;
};

struct profile {
	RB_ENTRY(profile) link;
	char name[VGPU_MAX_POLICY_NAME + 1];
	struct policy policy;	 // what was given
	bool fixed;		 // a section of the settings
	bool row;		 // the store has a row of it
	bool loading;		 // it came with the rows that are being loaded
	unsigned n_vms, n_slots; // that name it
	struct keep_mark keep;
};
RB_HEAD(profile_tree, profile);

struct vm {
	RB_ENTRY(vm) link;
	char uuid[VM_UUID_BYTES];
	char name[LINK_NAME_BYTES];
	char pool[VGPU_MAX_POLICY_NAME + 1]; // "": nobody said
	struct profile *profile;	     // that its vGPU is to be of; NULL: any
	struct policy said;		     // of POLICY_OF_VM, what was said of itself
	struct slot *slot;		     // NULL: it has none
	struct tenant *tenant;		     // NULL while it has none
	bool loading;
	struct keep_mark keep;
};
RB_HEAD(vm_tree, vm);

struct slot {
	RB_ENTRY(slot) link;
	char uuid[VM_UUID_BYTES];
	char gpu[STORE_NAME_BYTES];
	struct profile *profile;
	uint32_t number; // among the card's of this profile
	struct vm *vm;	 // NULL: it is free
	struct slot_life life;
	bool with_vm; // slot.reserve made the VM, which goes when it is free
	bool stale;   // it was reserved before the host's last start
	bool loading;
	struct keep_mark keep;
};
RB_HEAD(slot_tree, slot);

struct inventory {
	struct mediator *mediator;
	struct profile_tree profiles;
	struct vm_tree vms;
	struct slot_tree slots;
	unsigned n_profiles, n_vms, n_slots;
	uint64_t next_id;	// of records with the keeper
	bool started;		// tenants can be made
	uid_t stub_user;	// who may connect to VMs' sockets; -1: the mediator's own
	gid_t stub_group;	// -1: none
	char boot[40];		// the host's; empty: not looked for yet
	sd_event_source *timer; // while a slot's state ends by itself
};

// ---- life

// With the profiles of the settings. 0 or -errno, which was logged.
int inventory_init(struct mediator *m);
// The mediator serves: assigned VMs become tenants; those that were adopted stay.
void inventory_start(struct mediator *m);
void inventory_done(struct mediator *m);

// ---- errors: what an operator reads of why something cannot be. Functions below that take one return 0 or
// -ENOENT (there is no such thing), -EBUSY (in use, or exists), -EINVAL (a value), -ENOSPC (a limit), -ENODEV
// (the card does not have it, or is not known), or another -errno.

#define INVENTORY_WHY_BYTES 256

// ---- profiles

struct profile *profile_find(struct mediator *m, const char *name); // NULL: there is none
struct profile *profile_after(struct mediator *m,
			      struct profile *p); // NULL: it was the last; p NULL: the first

int profile_add(struct mediator *m, const char *name, const struct policy *given, char *why);
// Its VMs' tenants follow at once.
int profile_set(struct mediator *m, struct profile *p, const struct policy *change, char *why);
int profile_remove(struct mediator *m, struct profile *p, char *why);

// ---- VMs. uuid: as vm_uuid_parse() gives it.

struct vm *vm_find(struct mediator *m, const char *uuid); // NULL: there is none
struct vm *vm_after(struct mediator *m, struct vm *vm);	  // NULL: it was the last; vm NULL: the first
struct vm *vm_in_pool(struct mediator *m, const char *pool);

// What is said of a VM. NULL: nothing; "" (not of a name): none.
struct vm_wish {
	const char *name, *pool, *profile, *personality, *protocol;
};

// What holds of one of POLICY_OF_VM: what was said of the VM, or of the profile that its vGPU is of (without
// one, is to be of), or the default.
uint64_t vm_item(const struct vm *vm, enum policy_item item);
const char *vm_word(const struct vm *vm, enum policy_item item); // the same as a word
const char *vm_said(const struct vm *vm, enum policy_item item); // of the VM itself; "": nothing
// uuid NULL: one is made.
int vm_add(struct mediator *m, const char *uuid, const struct vm_wish *wish, struct vm **ret, char *why);
// Its tenant follows at once.
int vm_set(struct mediator *m, struct vm *vm, const struct vm_wish *wish, char *why);
int vm_remove(struct mediator *m, struct vm *vm, char *why);

// ---- slots

struct slot *slot_find(struct mediator *m, const char *uuid);
struct slot *slot_after(struct mediator *m, struct slot *s);

// p NULL: vm's. vm NULL: it stays free.
int slot_add(struct mediator *m, struct profile *p, struct vm *vm, struct slot **ret, char *why);
int slot_remove(struct mediator *m, struct slot *s, char *why);
// Makes the VM's tenant. Nothing changes if it has this one already, but that a tenant that could not be made
// is tried again.
int slot_assign(struct mediator *m, struct slot *s, struct vm *vm, char *why);
// Ends it.
int slot_release(struct mediator *m, struct slot *s, char *why);

// As slot_assign(), for a VM that is made known if it is not, until its stub has gone, or has not come
// (slot_life.h). Again for the same VM: its time begins anew. What it is called is what name says.
int slot_reserve(struct mediator *m, struct slot *s, const char *vm, const char *name, char *why);
// Ends what slot_reserve() began for that VM. False: the VM has it not, or has it from an operator's hand.
bool slot_unreserve(struct mediator *m, struct slot *s, const char *vm);

// The stub's socket for the VM's monitor, of the pattern in the settings.
#define SLOT_PATH_VM	"VM"
#define SLOT_PATH_BYTES 320
void slot_stub_path(const struct mediator *m, const char *vm, char ret[static SLOT_PATH_BYTES]);

struct slots_partitioned {
	uint32_t made, removed;
};
// The card has exactly count slots of the profile then, with numbers from 0 and uuids that follow from them.
// Nothing is changed when one that would go is in use.
int slots_partition(struct mediator *m, struct profile *p, uint32_t count, struct slots_partitioned *ret,
		    char *why);

// ---- tenants of VMs

// A connection or a channel of it came or went.
void inventory_tenant_changed(const struct tenant *t);
// It is freed.
void inventory_tenant_gone(struct tenant *t);
// Nothing is set by hand for it any more.
void inventory_tenant_forgotten(struct tenant *t);

// ---- the card

void inventory_card(struct mediator *m, struct capacity_card *ret);
void inventory_use(struct mediator *m, const struct capacity_card *card, struct capacity_use *ret);

// ---- for the store and the keeper (mediator/record, mediator/adopt)

struct deposit_profile;
struct deposit_vm;
struct deposit_slot;

void inventory_loading(struct mediator *m); // a file is being loaded: rows are known as it tells them
void inventory_row(struct mediator *m, const struct store_row *row);
void inventory_limits(struct mediator *m, const struct store_limits *limits);
void inventory_loaded(struct mediator *m);
// Of a mediator before this one, in this order. 0 or -errno.
int inventory_adopt_profile(struct mediator *m, uint64_t id, const struct deposit_profile *r);
int inventory_adopt_vm(struct mediator *m, uint64_t id, const struct deposit_vm *r);
int inventory_adopt_slot(struct mediator *m, uint64_t id, const struct deposit_slot *r);
void inventory_keep_all(struct mediator *m, bool anew);

// ---- between the files of this folder

struct profile *profile_new(struct mediator *m, const char *name); // NULL: no memory, or too many
void profile_drop(struct mediator *m, struct profile *p);
// Tells the store and the keeper what it is now; nothing of one of the settings that nobody uses.
void profile_tell(struct mediator *m, struct profile *p);
void profile_keep(struct mediator *m, struct profile *p); // only the keeper
// A VM or vGPU names it, or no longer does.
void profile_users_changed(struct mediator *m, struct profile *p);

struct vm *vm_new(struct mediator *m, const char *uuid, const char *name); // NULL: no memory, or too many
void vm_drop(struct mediator *m, struct vm *vm);
void vm_name_profile(struct vm *vm, struct profile *p); // NULL: none
int vm_rename(struct mediator *m, struct vm *vm, const struct vm_wish *wish, char *why);
void vm_keep(struct mediator *m, struct vm *vm);
void vm_tell(struct mediator *m, struct vm *vm);

struct slot *slot_new(struct mediator *m, const char *uuid, const char *gpu, struct profile *p);
void slot_drop(struct mediator *m, struct slot *s);
void slot_give(struct slot *s, struct vm *vm); // NULL: nobody
uint32_t slot_free_number(struct mediator *m, const char *gpu, const struct profile *p);
void slot_keep(struct mediator *m, struct slot *s);
void slot_tell(struct mediator *m, struct slot *s);

int slot_take(struct mediator *m, struct slot *s, struct vm *vm, bool by_reserve, bool with_vm, char *why);

// reserve.c
const char *inventory_boot(struct mediator *m); // the host's boot, as text
void slot_begin(struct mediator *m, struct slot *s, bool by_reserve);
// As it was with a mediator before this one.
void slot_resume(struct mediator *m, struct slot *s, bool by_reserve, enum slot_state state);
void slot_end(struct mediator *m, struct slot *s); // of one that a VM has
void slots_look(struct mediator *m);		   // what is seen of stubs, and what is over
void slots_of_last_boot(struct mediator *m);	   // frees those that are stale

// vm_tenant.c
int vm_tenant_make(struct mediator *m, struct vm *vm, const struct profile *p, char *why);
void vm_tenant_end(struct vm *vm);
// What was said of it or its profile changed.
void vm_tenant_follow(struct mediator *m, struct vm *vm);
void vm_tenants_of_profile(struct mediator *m, const struct profile *p);
// Makes those that are missing, ends those that nobody has.
void vm_tenants_settle(struct mediator *m);

__attribute__((format(printf, 3, 4))) int inventory_refuse(int error, char *why, const char *format, ...);

#endif
