// SPDX-License-Identifier: Apache-2.0
// The table of tenants: shares, memory, latency, what held them back, and what an admin can do about it.
import { patch, post, put, remove } from './api.js';
import { ask } from './dialog.js';
import * as latency from './latency.js';
import { colour } from './plot.js';
import { show as showTable } from './table.js';
import { bar, bytes, count, duration, element, percent } from './text.js';

const HEADS = [['Tenant'], ['Pool'], ['Weight', true], ['Share: achieved of target'], ['Memory'],
	['Launches wait p50 / p99', true], ['Launches/s', true], ['Held back', true], ['State'], ['']];

const before = new Map(); // tenant -> what its counters were at the last look

function rates(tenant, now_ns) {
	const last = before.get(tenant.tenant);
	const held = Object.values(tenant.held_ns).reduce((sum, ns) => sum + ns, 0) - tenant.held_ns.turn + tenant.capped_ns;
	before.set(tenant.tenant, { now_ns, launches: tenant.launches, held });
	if (!last || now_ns <= last.now_ns)
		return { launches: 0, held: 0 };
	const seconds = (now_ns - last.now_ns) / 1e9;
	return {
		launches: Math.max(0, tenant.launches - last.launches) / seconds,
		held: Math.min(100, Math.max(0, held - last.held) / 1e7 / seconds),
	};
}

function state(tenant) {
	if (tenant.quarantine)
		return element('span', { class: 'badge bad' }, 'quarantine');
	if (!tenant.channels.length)
		return element('span', { class: 'badge' }, 'no program');
	return tenant.in_demand ? element('span', { class: 'badge good' }, 'working') : element('span', { class: 'badge' }, 'idle');
}

function waits(tenant) {
	const l = latency.of(tenant.tenant);
	return l ? `${duration(l.p50)} / ${duration(l.p99)}` : '–';
}

const nameOf = (tenant) => tenant.name || `tenant ${tenant.tenant}`;
const path = (tenant) => `/v1/tenants/${tenant.tenant}`;

function changeWeight(tenant, changed) {
	return ask({
		title: `Weight of ${nameOf(tenant)}`,
		text: 'Its share relative to the others of its pool. It changes at once, also for programs that run.',
		button: 'Change weight',
		fields: [{ name: 'weight', label: 'Weight, 1 to 10000', type: 'number', min: 1, max: 10000, value: tenant.weight }],
		action: ({ weight }) => patch(path(tenant), { weight: Number(weight) }),
	}).then(changed);
}

function changeQuarantine(tenant, changed) {
	return ask(tenant.quarantine ? {
		title: `Release ${nameOf(tenant)}`,
		text: 'It may use the GPU again, and its recent strikes are forgotten.',
		button: 'Release',
		action: () => remove(`${path(tenant)}/quarantine`),
	} : {
		title: `Quarantine for ${nameOf(tenant)}`,
		text: 'Its programs lose the GPU now and get none until it is released.',
		button: 'Quarantine',
		danger: true,
		action: () => put(`${path(tenant)}/quarantine`),
	}).then(changed);
}

function disconnect(tenant, changed) {
	return ask({
		title: `Disconnect ${nameOf(tenant)}`,
		text: `${tenant.channels.length} program(s) lose the GPU now. They may connect again.`,
		button: 'Disconnect',
		danger: true,
		action: () => post(`${path(tenant)}/disconnect`),
	}).then(changed);
}

function cells(tenant, now_ns) {
	const rate = rates(tenant, now_ns);
	const swatch = element('span', { class: 'swatch' });
	swatch.style.background = colour(tenant.tenant);
	const memory = tenant.memory
		? [bar(tenant.memory_used, tenant.memory), `${bytes(tenant.memory_used)} of ${bytes(tenant.memory)}`]
		: [bytes(tenant.memory_used)];
	const held = Object.entries(tenant.held_ns).map(([by, ns]) => `${by}: ${duration(ns)}`).join(', ');
	return [
		element('td', {}, swatch, nameOf(tenant)),
		element('td', {}, tenant.pool),
		element('td', { class: 'number' }, String(tenant.weight)),
		element('td', {}, bar(tenant.share_achieved, 100, tenant.in_demand ? tenant.share_target : undefined),
			`${percent(tenant.share_achieved)} of ${tenant.in_demand ? percent(tenant.share_target) : '–'}`),
		element('td', {}, ...memory),
		element('td', { class: 'number' }, waits(tenant)),
		element('td', { class: 'number' }, count(rate.launches)),
		element('td', { class: 'number', title: held }, percent(rate.held)),
		element('td', {}, state(tenant)),
	];
}

export function show(table, status, admin, changed) {
	const here = new Set(status.tenants.map((tenant) => tenant.tenant));
	for (const tenant of before.keys())
		if (!here.has(tenant))
			before.delete(tenant);
	showTable(table, {
		name: 'tenant',
		heads: HEADS,
		items: status.tenants,
		key: (tenant) => tenant.tenant,
		cells: (tenant) => cells(tenant, status.now_ns),
		buttons: (tenant) => (admin ? [
			{ label: 'Weight', action: (t) => changeWeight(t, changed) },
			{ label: tenant.quarantine ? 'Release' : 'Quarantine', danger: !tenant.quarantine, action: (t) => changeQuarantine(t, changed) },
			{ label: 'Disconnect', danger: true, action: (t) => disconnect(t, changed) },
		] : []),
		empty: 'No tenants. vgpu-run starts a program as one.',
	});
}
