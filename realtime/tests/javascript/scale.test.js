import assert from "node:assert/strict";
import { test } from "node:test";

import { pathOf } from "../../static/realtime/fleet/row.js";
import { isFlat, ticks, valueRange } from "../../static/realtime/scale.js";
import { ranges } from "./doubles.js";

const LARGEST_VALUE = 1e300; // that a reading may have
const MOST_TICKS = 6;
const NARROW = [
  [1024.3999999999999, 1024.4], [1, 1.0000000000000002], [2 ** 53 - 1, 2 ** 53], [-(2 ** 53), 1 - 2 ** 53], [1e300, 1e300], [1e300, 1.0000000000000002e300],
  [0, 5e-324], [-5e-324, 5e-324], [1e-310, 3e-310], [0, 0], [-0, 0], [21.5, 21.5], [0.1 + 0.2, 0.3].sort(), [1e15, 1e15 + 0.125], [-7.3, -7.299999999999999],
];

test("values that differ by rounding errors are a flat line", () => {
  for (const [low, high] of NARROW) assert.ok(isFlat(low, high), `${low} to ${high}`);
});

test("values that differ by more are not", () => {
  const wide = [[20, 20.1], [1_764_374_400, 1_764_374_401], [1e12, 1e12 + 150], [1e-9, 1.1e-9], [0, 1e-200], [-1e300, 1e300]];
  for (const [low, high] of wide) assert.ok(!isFlat(low, high), `${low} to ${high}`);
});

test("the range of any values has room above and below, and few different ticks", () => {
  for (const [low, high] of [...NARROW, [-1e300, 1e300], [-Number.MAX_VALUE, Number.MAX_VALUE], ...ranges(5_000)]) {
    const named = `${low} to ${high}`;
    const [bottom, top] = valueRange(low, high);
    assert.ok(Number.isFinite(top - bottom) && bottom < top, named);
    if (Math.max(Math.abs(low), Math.abs(high)) <= LARGEST_VALUE) {
      assert.ok(bottom <= low && top >= high, named);
      assert.ok((low - bottom) / (top - bottom) <= 0.51 && (top - high) / (top - bottom) <= 0.51, named);
    }
    const found = ticks(bottom, top);
    assert.ok(found.length >= 2 && found.length <= MOST_TICKS, `${named}: ${found}`);
    assert.equal(new Set(found).size, found.length, named);
    assert.ok(found.every((tick, n) => Number.isFinite(tick) && !Object.is(tick, -0) && (n === 0 || tick > found[n - 1])), named);
    assert.ok(found[0] >= bottom - (top - bottom) * 1e-9 && found.at(-1) <= top + (top - bottom) * 1e-9, named);
  }
});

test("a flat line is in the middle, and the value can be read", () => {
  assert.deepEqual(valueRange(20, 20), [19.5, 20.5]);
  assert.deepEqual(valueRange(0, 0), [-0.5, 0.5]);
  assert.deepEqual(valueRange(0.002, 0.002), [0, 0.004]);
  const [bottom, top] = valueRange(1024.3999999999999, 1024.4);
  assert.ok(Math.abs((bottom + top) / 2 - 1024.4) < 1e-9);
  assert.ok(top - bottom > 20);
});

test("without values there is a range", () => {
  assert.deepEqual(valueRange(null, null), [0, 1]);
});

test("ticks are round numbers", () => {
  assert.deepEqual(ticks(0.07, 0.61), [0.2, 0.4, 0.6]);
  assert.deepEqual(ticks(-0.3, 0.3), [-0.2, 0, 0.2]);
  assert.deepEqual(ticks(1005, 1043), [1010, 1020, 1030, 1040]);
  assert.deepEqual(ticks(-1.2e300, 1.2e300), [-1e300, -5e299, 0, 5e299, 1e300]);
});

test("a sparkline of values that differ by rounding errors is flat", () => {
  const heights = (line) => new Set(line.match(/ [\d.]+/g).map(Number));
  assert.deepEqual([...heights(pathOf([1024.3999999999999, 1024.4, 1024.4]))], [16]);
  assert.deepEqual([...heights(pathOf([7, null, 7]))], [16]);
  assert.deepEqual([...heights(pathOf([1e300, -1e300]))], [3, 29]);
});
