import assert from "node:assert/strict";
import { test } from "node:test";

import { arcs, Element, LETTER } from "./dom.js";
import { doubles, ranges } from "./doubles.js";

const { Chart } = await import("../../static/realtime/device/chart.js");
const { Catalogue } = await import("../../static/realtime/metrics.js");
const { Panel } = await import("../../static/realtime/device/panel.js");

const BOUNDS = { start: 1_700_000_000, end: 1_700_003_600 };
const WIDTH = 900;
const nothing = () => {};
const actions = { onZoom: nothing, onReset: nothing, onPoint: nothing, label: "Chart" };

function chart(width = WIDTH) {
  const box = new Element();
  box.clientWidth = width;
  return new Chart(box, actions);
}

// Draws values one after the other, [min, avg, max] each (null: a gap). Returns the texts by axis.
function draw(chart, values, bounds = BOUNDS) {
  const step = (bounds.end - bounds.start) / (values.length + 1);
  const column = (n) => values.map((value) => value && value[n]);
  chart.draw([values.map((_, n) => bounds.start + (n + 1) * step), column(2), column(0), column(1)], bounds);
  const { texts } = chart.plot.ctx;
  return { vertical: texts.filter(({ align }) => align === "right"), horizontal: texts.filter(({ align }) => align === "center") };
}

test("uPlot draws a chart of any values with few labels", () => {
  const one = chart();
  for (const [low, high] of [[1024.3999999999999, 1024.4], [2 ** 53 - 1, 2 ** 53], [-1e300, 1e300], [5e-324, 5e-324], ...ranges(400)]) {
    const { vertical } = draw(one, [[low, low, high], [low, high, high]]);
    assert.ok(vertical.length >= 2 && vertical.length <= 6, `${low} to ${high}: ${vertical.length} labels`);
    assert.ok(vertical.every(({ y }) => y >= 0 && y <= 168), `${low} to ${high}`);
  }
});

test("no label is cut off, however long it is and however narrow the chart", () => {
  for (const width of [300, WIDTH]) {
    const one = chart(width);
    for (const value of doubles(120).filter((one) => Math.abs(one) <= 1e300)) {
      for (const days of [1 / 24, 1, 30, 365]) {
        const { vertical, horizontal } = draw(one, [[value, value, value]], { start: BOUNDS.end - days * 86_400, end: BOUNDS.end });
        for (const { text, x } of vertical) assert.ok(x - text.length * LETTER >= 0, `${text} begins at ${x - text.length * LETTER}`);
        for (const { text, x } of horizontal) {
          const half = (text.length * LETTER) / 2;
          assert.ok(x - half >= 0 && x + half <= width, `${text} is around ${x} of ${width}`);
        }
      }
    }
  }
});

test("readings of one time, and none at all, have a horizontal axis with few labels", () => {
  const one = chart();
  for (const count of [0, 1, 1000]) {
    const [moments, values] = [Array(count).fill(BOUNDS.start + 60), Array(count).fill(20)];
    for (const length of [10, 60, 3600, 57 * 365 * 86_400]) {
      one.draw([moments, values, values, values], { start: BOUNDS.start + 60 - length / 2, end: BOUNDS.start + 60 + length / 2 });
      const labels = one.plot.ctx.texts.filter(({ align }) => align === "center").map(({ text }) => text);
      assert.ok(labels.length >= 1 && labels.length <= 12 && new Set(labels).size === labels.length, `${count} readings in ${length} s: ${labels}`);
    }
  }
});

test("charts begin at the same place, except those with long labels", () => {
  const [usual, percent, long] = [chart(), chart(), chart()];
  draw(usual, [[20, 21, 22]]);
  draw(percent, [[0, 50, 100]]);
  draw(long, [[123_456_789, 123_456_789.5, 123_456_790]]);
  assert.equal(usual.plot.bbox.left, percent.plot.bbox.left);
  assert.ok(long.plot.bbox.left > usual.plot.bbox.left);
});

test("a lone value is a point where values are dense, and a bar if its bucket has several values", () => {
  const one = chart();
  const dense = Array.from({ length: 400 }, (_, n) => [20, 20 + (n % 7), 27]);
  const drawn = (values) => {
    arcs();
    draw(one, values);
    return [arcs().length, one.plot.ctx.bars.length];
  };
  assert.deepEqual(drawn(dense), [0, 0]);
  assert.deepEqual(drawn([...dense, null, [21, 22, 23], null, ...dense]), [1, 1]);
  assert.deepEqual(drawn([[22, 22, 22], null, ...dense, null, [22, 22, 22]]), [2, 2]);
  assert.deepEqual(drawn([[22, 22, 22]]), [1, 1]);
});

test("an exception in one chart is shown in its card, and the others are drawn", (context) => {
  const logged = context.mock.method(console, "error", nothing);
  const cards = ["temperature", "humidity", "voltage"].map((metric) => {
    const card = new Panel({ content: { firstElementChild: new Element() } }, metric, new Catalogue(), actions);
    card.setOpen(true);
    return card;
  });
  const metrics = { temperature: { min: 1, max: 3, avg: 2 }, humidity: { min: 1, max: 3, get avg() { throw new Error("no average"); } }, voltage: { min: 3, max: 3, avg: 3 } };
  const loaded = { start: BOUNDS.start, end: BOUNDS.end, bucketSeconds: 60, buckets: [{ start: BOUNDS.start, metrics }] };
  const interval = { told: null, usual: 60 };
  const notes = () => cards.map((card) => (card.part(".none").hidden ? "" : card.part(".none").textContent));
  for (const card of cards) card.draw(loaded, BOUNDS, interval);
  assert.deepEqual(notes(), ["", "This chart cannot be drawn: no average", ""]);
  assert.equal(logged.mock.callCount(), 1);

  cards[0].chart.plot.batch = () => { throw new Error("no canvas"); };
  for (const card of cards) card.move(BOUNDS);
  assert.deepEqual(notes(), ["This chart cannot be drawn: no canvas", "This chart cannot be drawn: no average", ""]);

  Object.defineProperty(metrics.humidity, "avg", { value: 2 });
  for (const card of cards) card.draw(loaded, BOUNDS, interval);
  assert.deepEqual(notes(), ["", "", ""]);
});
