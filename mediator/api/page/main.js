// SPDX-License-Identifier: Apache-2.0
// Asks the mediator again and again and shows what it says.
import { get, setToken, text } from './api.js';
import { ask } from './dialog.js';
import * as events from './events.js';
import * as gpus from './gpus.js';
import * as latency from './latency.js';
import * as plot from './plot.js';
import * as tenants from './tenants.js';
import * as vgpus from './vgpus.js';

const STATUS_MS = 1000;
// Looks that are not made each time: at history, GPUs and vGPUs; at the text of all metrics.
const SLOW_EVERY = 2, METRICS_EVERY = 10;

const $ = (id) => document.getElementById(id);
const page = { admin: false, history: null, vms: [] };

function link(good, text) {
	$('link').textContent = text;
	$('link').className = good ? 'badge good' : 'badge bad';
}

function drawPlot() {
	if (page.history)
		plot.draw($('plot'), page.history, Number($('minutes').value));
}

async function showSlow(status) {
	const [history, cards, slots, machines, drain] = await Promise.all(
		['/v1/history', '/v1/gpus', '/v1/vgpus', '/v1/vms', '/v1/drain'].map(get));
	$('drain').hidden = !drain.draining;
	page.history = history;
	drawPlot();
	gpus.show($('gpus'), cards.gpus, status);
	page.vms = machines.vms;
	vgpus.show($('vgpus'), slots.vgpus, () => page.vms, page.admin, changed);
}

async function refresh({ slow }) {
	const status = await get('/v1/status');
	$('backend').textContent = `${status.device || 'no device yet'} (${status.backend})`;
	tenants.show($('tenants'), status, page.admin, changed);
	if (slow)
		await showSlow(status);
}

// After a dialog: what it changed is shown at once. The loop tells of errors.
const changed = () => refresh({ slow: true }).catch(() => {});

async function login() {
	await ask({
		title: 'Token', text: 'This mediator wants a token.', button: 'Go on',
		fields: [{ name: 'token', label: 'Token', type: 'password' }],
		action: async ({ token }) => {
			setToken(token);
			await who();
		},
	});
}

async function who() {
	const self = await get('/v1/self');
	page.admin = self.role === 'admin';
	$('who').textContent = `${self.who} (${self.role})`;
}

async function run() {
	let asked = false;
	for (let n = 0; ; n++) {
		try {
			if (!asked) {
				await who();
				asked = true;
			}
			if (n % METRICS_EVERY === 0)
				latency.take(await text('/metrics'));
			await refresh({ slow: n % SLOW_EVERY === 0 });
			link(true, 'live');
		} catch (error) {
			if (error.status === 401) {
				link(false, 'no token');
				await login();
			} else {
				link(false, error.status ? error.message : 'no answer');
			}
		}
		await new Promise((resolve) => setTimeout(resolve, STATUS_MS));
	}
}

$('minutes').addEventListener('change', drawPlot);
addEventListener('resize', drawPlot);
run();
events.run($('events'));
