// SPDX-License-Identifier: Apache-2.0
// Requests to the mediator that served this page. With TLS there is a token, which lives as long as the tab.

const TOKEN = 'vgpu-token';

export class Problem extends Error {
	constructor(status, said) {
		super(said?.detail || said?.title || `the mediator answered ${status}`);
		this.status = status;
	}
}

export function setToken(token) {
	sessionStorage.setItem(TOKEN, token);
}

function headers(more) {
	const token = sessionStorage.getItem(TOKEN);
	return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function refuse(response) {
	let said = null;
	try {
		said = await response.json();
	} catch {
		// a proxy's page, say: the status is all there is to tell
	}
	throw new Problem(response.status, said);
}

async function send(method, path, body) {
	const response = await fetch(path, {
		method,
		headers: headers(body === undefined ? {} : { 'Content-Type': 'application/json' }),
		body: body === undefined ? undefined : JSON.stringify(body),
		cache: 'no-store',
	});
	if (!response.ok)
		await refuse(response);
	return response;
}

const request = async (method, path, body) => (await send(method, path, body)).json();

export const text = async (path) => (await send('GET', path)).text();

export const get = (path) => request('GET', path);
export const put = (path, body = {}) => request('PUT', path, body);
export const post = (path, body = {}) => request('POST', path, body);
export const patch = (path, body) => request('PATCH', path, body);
export const remove = (path) => request('DELETE', path);

// Server-sent events by fetch, since EventSource sends no token. Calls event(id, data) for each, from the one
// after `last` on if the mediator still has it; returns when the connection ends.
export async function follow(path, last, event) {
	const response = await fetch(path, {
		headers: headers({ Accept: 'text/event-stream', ...(last === null ? {} : { 'Last-Event-ID': last }) }),
		cache: 'no-store',
	});
	if (!response.ok)
		await refuse(response);
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = '';
	for (;;) {
		const { value, done } = await reader.read();
		if (done)
			return;
		const blocks = (rest + value).split('\n\n');
		rest = blocks.pop();
		for (const block of blocks) {
			const fields = {};
			for (const line of block.split('\n')) {
				const [, name, text] = /^([a-z]*): ?(.*)$/.exec(line) || [];
				if (name)
					fields[name] = text;
			}
			if (fields.data !== undefined)
				event(fields.id, JSON.parse(fields.data));
		}
	}
}
