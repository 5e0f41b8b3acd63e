// SPDX-License-Identifier: Apache-2.0
// The table of vGPUs: which there are, whose they are; an admin assigns and releases them.
import { put, remove } from './api.js';
import { ask } from './dialog.js';
import { show as showTable } from './table.js';
import { element } from './text.js';

function assign(vgpu, vms, changed) {
	const free = vms.filter((vm) => !vm.vgpu);
	return ask({
		title: `Assign a vGPU of ${vgpu.profile}`,
		text: free.length ? 'The virtual machine can use it as soon as its device is attached.'
			: 'Every virtual machine has a vGPU. vgpu-admin vm add makes another.',
		button: 'Assign',
		fields: [{ name: 'vm', label: 'Virtual machine', options: free.map((vm) => ({ value: vm.vm, label: `${vm.name} (${vm.vm})` })) }],
		action: ({ vm }) => put(`/v1/vgpus/${vgpu.vgpu}/vm`, { vm }),
	}).then(changed);
}

function release(vgpu, changed) {
	return ask({
		title: `Take the vGPU from ${vgpu.name}`,
		text: 'Programs in the virtual machine lose the GPU now.',
		button: 'Release',
		danger: true,
		action: () => remove(`/v1/vgpus/${vgpu.vgpu}/vm`),
	}).then(changed);
}

const HEADS = [['Profile'], ['Number', true], ['Virtual machine'], ['Id'], ['']];

const cells = (vgpu) => [
	element('td', {}, vgpu.profile),
	element('td', { class: 'number' }, String(vgpu.number)),
	element('td', {}, vgpu.vm ? vgpu.name : element('span', { class: 'badge' }, 'free')),
	element('td', { class: 'note' }, vgpu.vgpu),
];

// vms(): those that there are, when a button is pressed.
export function show(table, vgpus, vms, admin, changed) {
	showTable(table, {
		name: 'vgpu',
		heads: HEADS,
		items: vgpus,
		key: (vgpu) => vgpu.vgpu,
		cells,
		buttons: (vgpu) => (!admin ? []
			: vgpu.vm ? [{ label: 'Release', danger: true, action: (v) => release(v, changed) }]
				: [{ label: 'Assign', action: (v) => assign(v, vms(), changed) }]),
		empty: 'None. vgpu-admin slot create makes one.',
	});
}
