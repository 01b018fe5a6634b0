import assert from "node:assert/strict";
import { test } from "node:test";

import { momentLabels, valueLabels } from "../../static/realtime/device/axes.js";
import { ticks, valueRange } from "../../static/realtime/scale.js";
import { ranges } from "./doubles.js";

const DAY = 86_400;
const labels = (low, high) => valueLabels(ticks(low, high), low, high);
const moments = (start, step, count) => Array.from({ length: count }, (_, n) => start + n * step);
const MIDNIGHT = Date.UTC(2026, 10, 26) / 1000; // the tests run with TZ=UTC

test("the labels of an axis have as many decimals as its step", () => {
  assert.deepEqual(labels(18.9, 21.2), ["19.0", "19.5", "20.0", "20.5", "21.0"]);
  assert.deepEqual(labels(0, 11), ["0.0", "2.5", "5.0", "7.5", "10.0"]);
  assert.deepEqual(labels(-0.011, 0.011), ["-0.010", "-0.005", "0.000", "0.005", "0.010"]);
  assert.deepEqual(labels(1004, 1044), ["1,010", "1,020", "1,030", "1,040"]);
});

test("large numbers are compact only where that loses nothing", () => {
  assert.deepEqual(labels(9e5, 3.1e6), ["1M", "1.5M", "2M", "2.5M", "3M"]);
  assert.deepEqual(labels(1_000_000.5, 1_000_004.5), ["1,000,001", "1,000,002", "1,000,003", "1,000,004"]);
  assert.deepEqual(labels(7.3e11, 7.3e11 + 4e6).slice(0, 2), ["730,000,000,000", "730,001,000,000"]);
});

test("an exponent is for very large and very small numbers only", () => {
  assert.deepEqual(labels(-1.2e300, 1.2e300), ["-1.0e300", "-5.0e299", "0", "5.0e299", "1.0e300"]);
  assert.deepEqual(labels(0, 4.4e-7), ["0", "1e-7", "2e-7", "3e-7", "4e-7"]);
  assert.deepEqual(labels(0, 0.00022), ["0.00000", "0.00005", "0.00010", "0.00015", "0.00020"]);
});

test("the labels of any axis are different, and each is its tick", () => {
  for (const [low, high] of ranges(5000)) {
    const range = valueRange(low, high);
    const found = labels(...range);
    assert.equal(new Set(found).size, found.length, `${low} to ${high}: ${found}`);
    if (found.some((label) => /[KMBT]/.test(label))) continue;
    ticks(...range).forEach((tick, n) => {
      const read = Number(found[n].replaceAll(",", ""));
      assert.ok(Math.abs(read - tick) <= (range[1] - range[0]) * 1e-6, `${tick} is labelled ${found[n]}`);
    });
  }
});

test("moments are labelled with what changes between them", () => {
  assert.deepEqual(momentLabels(moments(MIDNIGHT + 5, 5, 2), 5), ["00:00:05", "00:00:10"]);
  assert.deepEqual(momentLabels(moments(MIDNIGHT, 1800, 2), 1800), ["00:00", "00:30"]);
  assert.deepEqual(momentLabels(moments(MIDNIGHT, DAY / 2, 4), DAY / 2), ["26 Nov", "12:00", "27 Nov", "12:00"]);
  assert.deepEqual(momentLabels(moments(MIDNIGHT, 3 * DAY, 2), 3 * DAY), ["26 Nov", "29 Nov"]);
  assert.deepEqual(momentLabels([Date.UTC(2026, 10) / 1000, Date.UTC(2027, 0) / 1000], 60 * DAY), ["Nov 2026", "Jan 2027"]);
  assert.deepEqual(momentLabels([Date.UTC(2026, 0) / 1000], 365 * DAY), ["2026"]);
});
