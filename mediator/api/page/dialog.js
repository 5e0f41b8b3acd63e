// SPDX-License-Identifier: Apache-2.0
// The one dialog: what will happen, what to fill in, and what the mediator says if it refuses.
import { element } from './text.js';

// fields: { name, label, value, options (of a choice), type, ... } ; action(values) does it and may throw.
// Resolves to whether it was done.
export function ask({ title, text, button, danger = false, fields = [], action }) {
	const dialog = document.getElementById('dialog');
	const problem = element('p', { class: 'problem', role: 'alert' });
	const inputs = fields.map((field) => field.options
		? element('select', { name: field.name },
			...field.options.map((o) => element('option', { value: o.value, selected: o.value === field.value }, o.label)))
		: element('input', { name: field.name, type: field.type || 'text', value: field.value, min: field.min,
			max: field.max, required: field.required !== false, autocomplete: 'off' }));
	const form = element('form', {},
		element('h2', {}, title),
		element('p', {}, text),
		...fields.map((field, i) => element('label', {}, field.label, inputs[i])),
		problem,
		element('div', { class: 'buttons' },
			element('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'),
			element('button', { type: 'submit', class: danger ? 'danger' : null }, button)));
	return new Promise((resolve) => {
		let done = false;
		form.addEventListener('submit', async (event) => {
			event.preventDefault();
			try {
				await action(Object.fromEntries(inputs.map((input) => [input.name, input.value])));
				done = true;
				dialog.close();
			} catch (error) {
				problem.textContent = error.message;
			}
		});
		dialog.addEventListener('close', () => resolve(done), { once: true });
		dialog.replaceChildren(form);
		dialog.showModal();
	});
}
