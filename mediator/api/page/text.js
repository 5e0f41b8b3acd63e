// SPDX-License-Identifier: Apache-2.0
// Elements and units. Whatever a tenant may have chosen goes into the page as text, never as markup.

export function element(tag, attributes = {}, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith('on'))
			made.addEventListener(name.slice(2), value);
		else if (value !== null && value !== undefined && value !== false)
			made.setAttribute(name, value === true ? '' : value);
	}
	made.append(...children.filter((child) => child !== null && child !== undefined));
	return made;
}

// element() for drawings.
export function shape(tag, attributes = {}, ...children) {
	const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [name, value] of Object.entries(attributes))
		made.setAttribute(name, value);
	made.append(...children);
	return made;
}

export function bytes(n) {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
	let unit = 0;
	while (n >= 1024 && unit < units.length - 1) {
		n /= 1024;
		unit++;
	}
	return `${unit && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function count(n) {
	const units = ['', 'k', 'M', 'G'];
	let unit = 0;
	while (n >= 1000 && unit < units.length - 1) {
		n /= 1000;
		unit++;
	}
	return `${unit && n < 10 ? n.toFixed(1) : Math.round(n)}${units[unit]}`;
}

export function duration(ns) {
	if (ns < 1e3)
		return `${Math.round(ns)} ns`;
	if (ns < 1e6)
		return `${(ns / 1e3).toPrecision(3)} µs`;
	return ns < 1e9 ? `${(ns / 1e6).toPrecision(3)} ms` : `${(ns / 1e9).toPrecision(3)} s`;
}

export function percent(n) {
	return `${n.toFixed(1)} %`;
}

// A bar that is full at `most`, with an optional mark.
export function bar(n, most, mark) {
	const part = (x) => `${Math.min(100, most > 0 ? 100 * x / most : 0)}%`;
	const made = element('span', { class: 'bar', 'aria-hidden': 'true' }, element('i'));
	made.firstChild.style.width = part(n);
	if (mark !== undefined) {
		made.append(element('b'));
		made.lastChild.style.left = `calc(${part(mark)} - 1px)`;
	}
	return made;
}
