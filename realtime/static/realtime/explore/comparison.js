// The data of the comparison: statistics of several devices in the same buckets, and the series of each chart.

import { columns, secondsOf } from "../device/series.js";

const USUAL_INTERVAL = { told: null, usual: 60 };
const EXPAND_NULLS = 2; // uPlot.join: a gap lasts from value to value, also where other lines have values in it
export const COLORS = 10;
const DASHES = [null, [8, 4], [2, 3], [10, 3, 2, 3]];

async function ask(parameters, signal) {
  const response = await fetch(`/api/v1/aggregate?${new URLSearchParams(parameters)}`, { signal, headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => null); // a proxy answers with a page of its own
  throw new Error(problem?.errors?.[0]?.detail ?? problem?.detail ?? `The server answered with status ${response.status}.`);
}

const windowOf = ({ start, end }) => [["start", new Date(start * 1000).toISOString()], ["end", new Date(end * 1000).toISOString()]];

// The metrics that the devices have in the period, a set.
export async function metricsOf(selection, bounds, signal) {
  const { devices } = await ask([...selection.parameters([]), ...windowOf(bounds)], signal);
  return new Set(devices.flatMap(({ metrics }) => Object.keys(metrics)));
}

// { start, end, bucket, bucketSeconds, devices: [{ id, buckets: [{ start, metrics }] }] }; moments in seconds.
export async function load(selection, metrics, bounds, points, signal) {
  const found = await ask([...selection.parameters(metrics), ...windowOf(bounds), ["bucket", "auto"], ["points", points]], signal);
  const devices = found.devices.map(({ device_id: id, buckets }) => ({
    id, buckets: buckets.map((bucket) => ({ start: Date.parse(bucket.start) / 1000, metrics: bucket.metrics })),
  }));
  return { ...bounds, bucket: found.bucket, bucketSeconds: secondsOf(found.bucket), devices };
}

// One chart for each unit: [{ unit, metrics }], in the order of the catalogue. Each metric without a unit has its own.
export function groupsOf(metrics, catalogue) {
  const groups = new Map();
  for (const metric of catalogue.inOrder(metrics)) {
    const unit = catalogue.unit(metric);
    const key = unit ? `unit ${unit}` : `metric ${metric}`;
    if (!groups.has(key)) groups.set(key, { key, unit, metrics: [] });
    groups.get(key).metrics.push(metric);
  }
  return [...groups.values()];
}

// The lines of a group: [{ key, device, metric, color, dash, columns, statistics }]. A device has the same colour in every chart.
export function seriesOf(group, loaded) {
  return group.metrics.flatMap((metric, m) =>
    loaded.devices.map(({ id, buckets }, d) => ({
      key: `${id} ${metric}`, device: id, metric,
      color: d % COLORS,
      dash: DASHES[(Math.floor(d / COLORS) + m) % DASHES.length],
      columns: columns({ ...loaded, buckets }, metric, [], USUAL_INTERVAL),
      statistics: statisticsOf(buckets, metric),
    })),
  );
}

// Of the whole period; null without values.
export function statisticsOf(buckets, metric) {
  const found = buckets.flatMap(({ metrics }) => (Object.hasOwn(metrics, metric) ? [metrics[metric]] : []));
  const count = found.reduce((sum, one) => sum + one.count, 0);
  if (!count) return null;
  const min = found.reduce((least, one) => Math.min(least, one.min), Infinity);
  const max = found.reduce((most, one) => Math.max(most, one.max), -Infinity);
  const sum = found.reduce((total, one) => total + one.sum, 0);
  return { count, min, max, avg: Math.min(Math.max(sum / count, min), max) };
}

// The columns for uPlot: moments, then maximum, minimum and average of each line. `join`: uPlot.join.
export function joined(series, join) {
  const tables = series.map((one) => one.columns).filter(([moments]) => moments.length);
  if (!tables.length) return [[], ...series.flatMap(() => [[], [], []])];
  const all = join(tables, tables.map((table) => table.map(() => EXPAND_NULLS)));
  let next = 1;
  const nothing = all[0].map(() => undefined);
  return [all[0], ...series.flatMap(({ columns: [moments] }) => (moments.length ? all.slice(next, (next += 3)) : [nothing, nothing, nothing]))];
}
