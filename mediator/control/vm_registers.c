// SPDX-License-Identifier: Apache-2.0
// vm.registers: asks the VM's stub, and answers when that has. Runs in the mediator's loop.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mediator/control/inventory.h"
#include "mediator/session/session.h"
#include "protocol/control/control.h"

static json_t *hex(uint32_t value, int digits)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%0*" PRIx32, digits, value);
	return json_string(text);
}

static json_t *describe(const struct link_register *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "register", hex(r->offset, 6));
	json_object_set_new(o, "name", r->name[0] ? json_string(r->name) : json_null());
	control_set_count(o, "reads", r->reads);
	control_set_count(o, "writes", r->writes);
	json_object_set_new(o, "answer", r->reads ? hex(r->answer, 8) : json_null());
	json_object_set_new(o, "written", r->writes ? hex(r->written, 8) : json_null());
	return o;
}

static void set_state(json_t *answer, const char *state)
{
	json_object_set_new(answer, "device", json_string(state));
}

static void told(void *opaque, const struct link_registers *part)
{
	static const char *const states[] = { "none", "unused", "in use" };
	struct control_later *l = opaque;
	json_t *answer = control_later_answer(l), *rows = json_object_get(answer, "registers");

	if (!part) {
		control_finish(l, CONTROL_E_INTERNAL, "the VM's stub did not answer");
		return;
	}
	for (uint32_t i = 0; i < part->n; i++)
		json_array_append_new(rows, describe(&part->row[i]));
	if (part->left)
		return;
	set_state(answer, states[part->state]);
	control_set_count(answer, "more_reads", part->more_reads);
	control_set_count(answer, "more_writes", part->more_writes);
	control_set_count(answer, "aperture_reads", part->aperture_reads);
	control_set_count(answer, "aperture_writes", part->aperture_writes);
	control_set_count(answer, "odd", part->odd);
	control_finish(l, NULL, NULL);
}

void control_vm_registers(struct control_call *c)
{
	const struct vm *vm = control_vm(c, "vm");
	struct session *s = vm && vm->tenant ? session_of_stub(vm->tenant) : NULL;
	struct control_later *l;
	int r;

	if (!vm)
		return;
	json_object_set_new(c->answer, "vm", json_string(vm->uuid));
	json_object_set_new(c->answer, "personality", json_string(vm_word(vm, POLICY_PERSONALITY)));
	json_object_set_new(c->answer, "registers", json_array());
	if (!s) {
		set_state(c->answer, "no stub");
		return;
	}
	l = control_later(c);
	if (!l)
		return;
	r = session_ask_registers(s, told, l);
	if (r == 0)
		return;
	control_not_later(c, l);
	control_fail(c, CONTROL_E_LIMIT, "the VM's stub is being asked already, or cannot be: %s",
		     strerror(-r));
}
