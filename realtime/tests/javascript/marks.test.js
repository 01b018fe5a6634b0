import assert from "node:assert/strict";
import { test } from "node:test";

import { Element } from "./dom.js";

const { Chart } = await import("../../static/realtime/device/chart.js");
const { bandsOf, linesOf, reach } = await import("../../static/realtime/device/marks.js");

const BOUNDS = { start: 1_700_000_000, end: 1_700_003_600 };
const nothing = () => {};

test("a line near the values is shown, one far away only if asked for", () => {
  const lines = [{ value: 30 }, { value: -200 }];
  assert.deepEqual(reach(20, 26, lines), [20, 30]);
  assert.deepEqual(reach(20, 26, lines, true), [-200, 30]);
  assert.deepEqual(reach(20, 20, [{ value: 21.5 }, { value: 30 }]), [20, 21.5]);
  assert.deepEqual(reach(null, null, lines), [null, null]);
  assert.deepEqual(reach(null, null, lines, true), [-200, 30]);
  assert.deepEqual(reach(null, null, [], true), [null, null]);
  assert.deepEqual(reach(1, 2, []), [1, 2]);
});

test("a chart has the bands of its metric and of silences, and the lines of its thresholds", () => {
  const alarm = (metric, severity, resolved) => ({ metric, began_at: "2026-05-09T12:00:00Z", resolved_at: resolved, rule: { severity } });
  const bands = bandsOf([alarm("temperature", "info", "2026-05-09T12:10:00Z"), alarm(null, "critical", null), alarm("humidity", "info", null)], "temperature");
  const start = Date.UTC(2026, 4, 9, 12) / 1000;
  assert.deepEqual(bands, [{ start, end: start + 600, severity: "info" }, { start, end: null, severity: "critical" }]);
  const rule = (kind, metric, above, below) => ({ kind, metric, above, below, severity: "info" });
  const rules = [rule("threshold", "temperature", 30, 5), rule("threshold", "humidity", 80, null), rule("stuck", "temperature", null, null)];
  assert.deepEqual(linesOf(rules, "temperature").map(({ value }) => value), [30, 5]);
  assert.deepEqual(linesOf(rules, "humidity").map(({ value }) => value), [80]);
});

test("a band is as wide as its alarm, at least a few pixels, and not outside the chart", () => {
  const box = new Element();
  box.clientWidth = 900;
  const one = new Chart(box, { onZoom: nothing, onReset: nothing, onPoint: nothing, label: "Chart" });
  const bands = (...given) => {
    one.mark({ bands: given, lines: [] });
    one.draw([[BOUNDS.start, BOUNDS.end], [2, 2], [1, 1], [1, 2]], BOUNDS);
    const { left, width } = one.plot.bbox;
    return one.plot.ctx.bars.map(([x, , wide]) => [(x - left) / width, wide / width].map((part) => Math.round(part * 100) / 100));
  };
  assert.deepEqual(bands({ start: BOUNDS.start + 900, end: BOUNDS.start + 1800 }), [[0.25, 0.25]]);
  assert.deepEqual(bands({ start: BOUNDS.start - 900, end: null }), [[0, 1]]);
  assert.deepEqual(bands({ start: BOUNDS.start + 1800, end: BOUNDS.end + 900 }), [[0.5, 0.5]]);
  assert.deepEqual(bands({ start: BOUNDS.start - 900, end: BOUNDS.start - 1 }, { start: BOUNDS.end + 1, end: null }), []);
  bands({ start: BOUNDS.start + 900, end: BOUNDS.start + 900.1 });
  assert.ok(one.plot.ctx.bars[0][2] >= 3);
});
