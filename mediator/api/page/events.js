// SPDX-License-Identifier: Apache-2.0
// What happened, newest first, as it happens; after a lost connection it goes on where it was.
import { follow, get } from './api.js';
import { element } from './text.js';

const MOST = 200;
const AGAIN_MS = 2000;

function row(event) {
	const at = new Date(event.at_ms);
	return element('li', {},
		element('time', { datetime: at.toISOString() }, at.toLocaleTimeString()),
		element('span', { class: 'kind' }, event.kind),
		element('span', {}, event.text));
}

const pause = () => new Promise((resolve) => setTimeout(resolve, AGAIN_MS));

// Never returns.
export async function run(list) {
	let last = null;
	const add = (event, id) => {
		last = id ?? last;
		list.prepend(row(event));
		while (list.childElementCount > MOST)
			list.lastElementChild.remove();
	};
	for (;; await pause()) {
		try {
			if (last === null) { // a stream begins with what happens from now on
				for (const event of (await get(`/v1/events?last=${MOST}`)).events)
					add(event, event.id);
			}
			await follow('/v1/events', last, (id, event) => add(event, id));
		} catch {
			// no token yet, the mediator is being replaced, or the network is gone: the loop tries again
		}
	}
}
