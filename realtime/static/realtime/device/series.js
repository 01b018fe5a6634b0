// The data of the charts: buckets from `aggregate`, each newer reading, and the gaps between them.

const CADENCE_POINTS = 5; // from this many points on, the device's usual interval is measured
const GAP_CADENCES = 2.5; // a device is late after two intervals
const GAP_BUCKETS = 1.5;

// { start, end, bucket, bucketSeconds, buckets: [{ start, metrics }], totals: { metric: statistics } }; moments in seconds.
// `metrics`: those with buckets, or null for all. Totals are of all metrics.
export async function load(deviceId, { start, end }, points, metrics, signal) {
  const window = { start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString() };
  const only = metrics ? { metrics: metrics.join(",") } : {};
  const [inBuckets, inAll] = await Promise.all([
    metrics?.length === 0 ? { bucket: "1d", buckets: [] } : ask(deviceId, { ...window, ...only, bucket: "auto", points }, signal),
    ask(deviceId, window, signal),
  ]);
  const buckets = inBuckets.buckets.map((bucket) => ({ start: Date.parse(bucket.start) / 1000, metrics: bucket.metrics }));
  return { start, end, bucket: inBuckets.bucket, bucketSeconds: secondsOf(inBuckets.bucket), buckets, totals: inAll.metrics };
}

async function ask(deviceId, parameters, signal) {
  const address = `/api/v1/devices/${encodeURIComponent(deviceId)}/aggregate?${new URLSearchParams(parameters)}`;
  const response = await fetch(address, { signal, headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  // A proxy in front of the server answers with a page of its own.
  const problem = await response.json().catch(() => null);
  throw new Error(problem?.detail ?? `The server answered with status ${response.status}.`);
}

export function secondsOf(bucket) {
  return Number(bucket.slice(0, -1)) * { s: 1, m: 60, h: 3600, d: 86_400 }[bucket.at(-1)];
}

// Columns for uPlot: moments, maximum, minimum, average. `tail`: [moment, value] of the readings after `loaded.end`.
export function columns(loaded, metric, tail, interval) {
  const points = [];
  for (const { start, metrics } of loaded.buckets) {
    const found = Object.hasOwn(metrics, metric) ? metrics[metric] : null; // a metric may be called "constructor"
    // The values of a bucket are somewhere in it, so draw them at its middle, but not outside the window.
    const middle = Math.max(Math.min(start + loaded.bucketSeconds / 2, loaded.end), loaded.start);
    if (found) points.push([middle, found.max, found.min, found.avg]);
  }
  for (const [moment, value] of tail) points.push([moment, value, value, value]);
  const longest = gapSeconds(points, loaded.bucketSeconds, interval);
  const result = [[], [], [], []];
  points.forEach((point, n) => {
    if (n && point[0] - points[n - 1][0] > longest) put(result, [(point[0] + points[n - 1][0]) / 2, null, null, null]);
    put(result, point);
  });
  return result;
}

function put(result, point) {
  point.forEach((value, column) => result[column].push(value));
}

// A longer time without values is a gap. It depends on the device's measured or configured interval.
function gapSeconds(points, bucketSeconds, interval) {
  const steps = points.slice(1).map((point, n) => point[0] - points[n][0]).sort((a, b) => a - b);
  const pace = steps.length >= CADENCE_POINTS ? steps[Math.floor(steps.length / 2)] : 0;
  return Math.max(GAP_BUCKETS * bucketSeconds, GAP_CADENCES * Math.max(pace, interval.told ?? (pace ? 0 : interval.usual)));
}
