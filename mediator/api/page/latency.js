// SPDX-License-Identifier: Apache-2.0
// How long launches waited lately, by tenant, out of the histograms of /metrics: the difference of two texts, as
// Prometheus' histogram_quantile() takes it.
const NAME = 'vgpu_tenant_launch_delay_seconds_bucket';
const LINE = new RegExp(`^${NAME}\\{tenant="(?:[^"\\\\]|\\\\.)*",id="(\\d+)",le="([^"]+)"\\} (\\d+)$`);
const WINDOW = 4; // texts that are looked back

const texts = []; // the newest last: Map of tenant -> [[bound in s, count so far], ...]

// text: the answer of /metrics.
export function take(text) {
	const counts = new Map();
	for (const line of text.split('\n')) {
		const [, tenant, bound, count] = (line.startsWith(NAME) && LINE.exec(line)) || [];
		if (!tenant)
			continue;
		const id = Number(tenant);
		if (!counts.has(id))
			counts.set(id, []);
		counts.get(id).push([bound === '+Inf' ? Infinity : Number(bound), Number(count)]);
	}
	texts.push(counts);
	if (texts.length > WINDOW)
		texts.shift();
}

function quantile(buckets, part) {
	const wanted = part * buckets.at(-1)[1];
	let [low, below] = [0, 0];
	for (const [bound, count] of buckets) {
		if (count >= wanted && count > below)
			return bound === Infinity ? low : low + (bound - low) * (wanted - below) / (count - below);
		[low, below] = [bound, count];
	}
	return low;
}

// { p50, p99 } in nanoseconds, or null: nothing was launched, or nothing is known yet.
export function of(tenant) {
	const now = texts.at(-1)?.get(tenant);
	if (!now || texts.length < 2)
		return null;
	const then = new Map(texts[0].get(tenant) || []);
	const grown = now.map(([bound, count]) => [bound, Math.max(0, count - (then.get(bound) || 0))]);
	return grown.at(-1)[1] ? { p50: quantile(grown, 0.5) * 1e9, p99: quantile(grown, 0.99) * 1e9 } : null;
}
