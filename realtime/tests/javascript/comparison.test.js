import assert from "node:assert/strict";
import { test } from "node:test";

import "./dom.js";
import { groupsOf, joined, seriesOf, statisticsOf } from "../../static/realtime/explore/comparison.js";
import { inOrder, matches } from "../../static/realtime/explore/picker.js";
import { Catalogue } from "../../static/realtime/metrics.js";
import uPlot from "../../static/realtime/vendor/uplot/uPlot.esm.js";

const catalogue = new Catalogue({ temperature: ["", "°C", null, 10, null, null], dew_point: ["", "°C", null, 5, null, null], humidity: ["", "%", null, 20, null, null] });
const of = (...values) => ({ count: values.length, min: Math.min(...values), max: Math.max(...values), sum: values.reduce((a, b) => a + b), avg: values.reduce((a, b) => a + b) / values.length });
const bucket = (start, ...values) => ({ start, metrics: { temperature: of(...values) } });

test("devices are added in the order in which they were typed, whichever answer comes first", async () => {
  const open = {};
  const added = [];
  const enter = inOrder((text) => new Promise((resolve, reject) => (open[text] = { resolve, reject })), async (text, answer) => {
    try {
      added.push(await answer);
    } catch {
      added.push(`${text} failed`);
    }
  });
  enter("north");
  enter("east");
  const last = enter("south");
  await new Promise(setImmediate);
  open.south.resolve("south");
  open.east.reject(new Error("gone"));
  await new Promise(setImmediate);
  assert.deepEqual(added, []);
  open.north.resolve("north");
  await last;
  assert.deepEqual(added, ["north", "east failed", "south"]);
});

test("metrics with one unit share a chart, and each without a unit has its own", () => {
  const groups = groupsOf(["valve", "humidity", "temperature", "pump", "dew_point"], catalogue);
  assert.deepEqual(groups.map(({ metrics }) => metrics), [["dew_point", "temperature"], ["humidity"], ["pump"], ["valve"]]);
});

test("lines of several devices share their moments, and a device without values has an empty line", () => {
  const loaded = { start: 0, end: 300, bucketSeconds: 60, devices: [{ id: "a", buckets: [bucket(0, 1, 3), bucket(60, 5)] }, { id: "b", buckets: [] }, { id: "c", buckets: [bucket(60, 7)] }] };
  const series = seriesOf({ metrics: ["temperature"] }, loaded);
  assert.deepEqual(series.map(({ key, color }) => [key, color]), [["a temperature", 0], ["b temperature", 1], ["c temperature", 2]]);
  const join = () => [[30, 90], [3, 5], [1, 5], [2, 5], [undefined, 7], [undefined, 7], [undefined, 7]];
  const data = joined(series, join);
  assert.equal(data.length, 1 + 3 * 3);
  assert.deepEqual([data[3], data[6], data[9]], [[2, 5], [undefined, undefined], [undefined, 7]]);
});

test("a gap of one line stays empty where another line has values", () => {
  const starts = [...Array(12).keys()].map((n) => 60 * n);
  const all = starts.map((start) => bucket(start, start));
  const gap = all.filter(({ start }) => start < 240 || start > 480);
  const loaded = { start: 0, end: 720, bucketSeconds: 60, devices: [{ id: "a", buckets: all }, { id: "b", buckets: gap }] };
  const data = joined(seriesOf({ metrics: ["temperature"] }, loaded), uPlot.join);
  const inside = data[6].filter((value, n) => data[0][n] > 210 && data[0][n] < 570);
  assert.deepEqual([...new Set(inside)], [null]);
});

test("the statistics of a period are those of its buckets together", () => {
  assert.deepEqual(statisticsOf([bucket(0, 1, 3), bucket(60, 8)], "temperature"), { count: 3, min: 1, max: 8, avg: 4 });
  assert.equal(statisticsOf([bucket(0, 1)], "constructor"), null);
});

test("a search finds every word in the id or the label, without what is chosen", () => {
  const items = [{ id: "bed-1", label: "North bed" }, { id: "bed-2", label: "South bed" }, { id: "door", label: "door" }];
  assert.deepEqual(matches(items, "bed north", []), [items[0]]);
  assert.deepEqual(matches(items, "", [{ id: "bed-1" }]), [items[1], items[2]]);
});
