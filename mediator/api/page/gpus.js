// SPDX-License-Identifier: Apache-2.0
// The card: what it is, how it is, and who uses it now.
import { bar, bytes, element, percent } from './text.js';

function fact(name, ...value) {
	return element('div', {}, element('dt', {}, name), element('dd', {}, ...value));
}

const known = (value, text) => value === null || value === undefined ? '–' : text(value);

function users(status) {
	return status.tenants.filter((tenant) => tenant.in_demand).map((tenant) => tenant.name || `tenant ${tenant.tenant}`);
}

export function show(place, gpus, status) {
	const working = users(status);
	const text = working.length > 6 ? `${working.slice(0, 6).join(', ')} and ${working.length - 6} more` : working.join(', ');
	place.replaceChildren(...gpus.map((gpu) => element('div', { class: 'card' },
		element('div', { class: 'title' },
			element('h2', {}, gpu.name || 'GPU'),
			element('span', { class: gpu.health === 'healthy' ? 'badge good' : 'badge bad' }, gpu.health),
			element('span', { class: 'note' }, gpu.gpu)),
		element('dl', { class: 'facts' },
			fact('Used now by', text || 'nobody'),
			fact('Memory', ...(gpu.memory_used === null ? [bytes(gpu.memory)]
				: [bar(gpu.memory_used, gpu.memory), `${bytes(gpu.memory_used)} of ${bytes(gpu.memory)}`])),
			fact('Utilisation', known(gpu.utilisation, percent)),
			fact('Temperature', known(gpu.temperature_c, (c) => `${c} °C`)),
			fact('Power', known(gpu.power_w, (w) => `${Math.round(w)} W`)),
			fact('Driver', gpu.driver || '–')))));
}
