// SPDX-License-Identifier: Apache-2.0
// The last minutes: each tenant's share of the GPU, what it was to have and what it had.
import { element, percent, shape } from './text.js';

const COLOURS = ['#3b82f6', '#f59e0b', '#10b981', '#ef4444', '#a855f7', '#14b8a6', '#ec4899', '#84cc16'];
const OTHERS = '#8a93a3';
const HEIGHT = 240, LEFT = 40, RIGHT = 8, TOP = 8, BOTTOM = 22;

const given = new Map(); // tenant -> colour, for as long as the page is open

export function colour(tenant) {
	if (!given.has(tenant))
		given.set(tenant, given.size < COLOURS.length ? COLOURS[given.size] : OTHERS);
	return given.get(tenant);
}

// width: of the drawing, in pixels, so that its text is not stretched.
function line(values, most, width) {
	const x = (i) => LEFT + (width - LEFT - RIGHT) * (most - values.length + i + 1) / most;
	const y = (v) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - v / 10000);
	return values.map((v, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join('');
}

function grid(minutes, width) {
	const made = [];
	for (const part of [0, 25, 50, 75, 100]) {
		const y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - part / 100);
		made.push(shape('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
		made.push(shape('text', { x: LEFT - 6, y: y + 4, 'text-anchor': 'end' }, `${part}%`));
	}
	for (let ago = 0; ago <= minutes; ago += minutes > 5 ? 2 : 1) {
		const x = width - RIGHT - (width - LEFT - RIGHT) * ago / minutes;
		made.push(shape('text', { x, y: HEIGHT - 6, 'text-anchor': ago ? 'middle' : 'end' }, ago ? `-${ago} min` : 'now'));
	}
	return made;
}

// history: the answer of /v1/history.
export function draw(place, history, minutes) {
	const most = Math.round(minutes * 60e9 / history.step_ns);
	const width = Math.max(place.clientWidth, 320);
	const svg = shape('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img',
		'aria-label': `shares of the last ${minutes} minutes` }, ...grid(minutes, width));
	const legend = element('div', { class: 'legend' });
	for (const tenant of history.tenants) {
		const achieved = tenant.achieved.slice(-most), target = tenant.target.slice(-most);
		if (!achieved.some(Boolean) && !target.some(Boolean))
			continue;
		const stroke = colour(tenant.tenant);
		svg.append(shape('path', { d: line(target, most, width), stroke, class: 'target' }));
		svg.append(shape('path', { d: line(achieved, most, width), stroke }));
		const swatch = element('span', { class: 'swatch' });
		swatch.style.background = stroke;
		legend.append(element('span', {}, swatch,
			`${tenant.name || `tenant ${tenant.tenant}`} ${percent(achieved.at(-1) / 100)} of ${percent(target.at(-1) / 100)}`));
	}
	if (!legend.childElementCount)
		legend.append(element('span', { class: 'empty' }, 'Nobody used the GPU in these minutes.'));
	place.replaceChildren(svg, legend);
}
