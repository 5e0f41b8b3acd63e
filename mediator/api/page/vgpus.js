// SPDX-License-Identifier: Apache-2.0
// The table of vGPUs: which there are, whose they are, what their VMs see and run; an admin assigns and releases them, and
// says whose programs a VM may run.
import { patch, put, remove } from './api.js';
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

const PROTOCOLS = [
	{ value: '', label: 'as the profile says' },
	{ value: 'any', label: 'any: all programs' },
	{ value: 'custom', label: 'custom: programs of libvgpu' },
	{ value: 'cuda', label: 'cuda: programs of libcuda' },
];

function changeProtocol(vgpu, changed) {
	return ask({
		title: `Protocol of ${vgpu.name}`,
		text: 'Whose programs may use the GPU. It holds for programs that begin from now on.',
		button: 'Change protocol',
		fields: [{ name: 'protocol', label: 'Protocol', options: PROTOCOLS }],
		action: ({ protocol }) => patch(`/v1/vms/${vgpu.vm}`, { protocol }),
	}).then(changed);
}

const HEADS = [['Profile'], ['Number', true], ['Virtual machine'], ['Personality'], ['Protocol'], ['Libraries in use'], ['Id'], ['']];

// vm: that has it, or nothing.
const cells = (vgpu, vm) => [
	element('td', {}, vgpu.profile),
	element('td', { class: 'number' }, String(vgpu.number)),
	element('td', {}, vgpu.vm ? vgpu.name : element('span', { class: 'badge' }, 'free')),
	element('td', {}, vm ? vm.personality : ''),
	element('td', {}, vm ? vm.protocol : ''),
	element('td', {}, vm ? vm.libraries.join(', ') : ''),
	element('td', { class: 'note' }, vgpu.vgpu),
];

// vms(): those that there are, now and when a button is pressed.
export function show(table, vgpus, vms, admin, changed) {
	const machines = new Map(vms().map((vm) => [vm.vm, vm]));
	showTable(table, {
		name: 'vgpu',
		heads: HEADS,
		items: vgpus,
		key: (vgpu) => vgpu.vgpu,
		cells: (vgpu) => cells(vgpu, machines.get(vgpu.vm)),
		buttons: (vgpu) => (!admin ? []
			: vgpu.vm ? [{ label: 'Protocol', action: (v) => changeProtocol(v, changed) },
				{ label: 'Release', danger: true, action: (v) => release(v, changed) }]
				: [{ label: 'Assign', action: (v) => assign(v, vms(), changed) }]),
		empty: 'None. vgpu-admin slot create makes one.',
	});
}
