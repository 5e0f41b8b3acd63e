// SPDX-License-Identifier: Apache-2.0
// Tables that are shown again and again. Rows and their buttons stay the elements they are, so that a press of a button
// or a keyboard's focus is not lost to the next look.
import { element } from './text.js';

function buttonCell(row, buttons) {
	return element('td', { class: 'actions' }, ...buttons.map(({ label, danger, action }) => element('button',
		{ type: 'button', class: danger ? 'danger' : null, onclick: () => action(row.item) }, label)));
}

function fillRow(row, item, cells, buttons) {
	const labels = buttons.map((button) => button.label).join();
	row.item = item;
	if (row.childElementCount) {
		cells.forEach((cell, i) => row.children[i].replaceWith(cell));
		if (row.labels !== labels)
			row.lastElementChild.replaceWith(buttonCell(row, buttons));
	} else {
		row.append(...cells, buttonCell(row, buttons));
	}
	row.labels = labels;
}

// heads: [text, whether its cells are numbers]; the last is that of the buttons. Of each item: key(item) names its row,
// cells(item) are all but the last, buttons(item): { label, danger, action(item) }.
export function show(table, { name, heads, items, key, cells, buttons, empty }) {
	if (!table.tHead) {
		table.append(element('thead', {}, element('tr', {}, ...heads.map(([text, number]) =>
			element('th', { scope: 'col', class: number ? 'number' : null }, text)))), element('tbody'));
		table.rowOf = new Map();
	}
	const rows = items.map((item) => {
		const row = table.rowOf.get(key(item)) || element('tr', { [`data-${name}`]: key(item) });
		fillRow(row, item, cells(item), buttons(item));
		return row;
	});
	table.rowOf = new Map(items.map((item, i) => [key(item), rows[i]]));
	const body = table.tBodies[0];
	const wanted = rows.length ? rows : [element('tr', {}, element('td', { colspan: heads.length, class: 'empty' }, empty))];
	if (wanted.length !== body.rows.length || wanted.some((row, i) => body.rows[i] !== row))
		body.replaceChildren(...wanted);
}
