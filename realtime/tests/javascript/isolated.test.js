import assert from "node:assert/strict";
import { test } from "node:test";

import { loneIndexes } from "../../static/realtime/device/isolated.js";
import { columns } from "../../static/realtime/device/series.js";

const bucketOf = (start) => ({ start, metrics: { temperature: { min: 18, max: 22, avg: 20 } } });
const INTERVAL = { told: 60, usual: 60 };

// The moments of the lone points among buckets of a minute that begin at these moments.
function lone(starts, { tail = [], start = 0, end = 100_000 } = {}) {
  const drawn = columns({ start, end, bucketSeconds: 60, buckets: starts.map(bucketOf) }, "temperature", tail, INTERVAL);
  return loneIndexes(drawn[3]).map((n) => drawn[0][n]);
}

test("a value between two gaps is lone, one beside another value is not", () => {
  assert.deepEqual(loneIndexes([1, 2, null, 3, null, 4, 5]), [3]);
  assert.deepEqual(loneIndexes([0, null, 0, undefined, 0]), [0, 2, 4]);
  assert.deepEqual(loneIndexes([null, 1]), [1]);
  assert.deepEqual(loneIndexes([7]), [0]);
  assert.deepEqual(loneIndexes([]), []);
  assert.deepEqual(loneIndexes([null, null]), []);
});

test("a bucket between gaps is lone, first and last ones too", () => {
  assert.deepEqual(lone([0, 6000, 6060, 9000]), [30, 9030]);
  assert.deepEqual(lone([3000]), [3030]);
});

test("a reading that came since is lone after a gap", () => {
  assert.deepEqual(lone([0, 60], { tail: [[5000, 21]] }), [5000]);
  assert.deepEqual(lone([0, 60], { tail: [[5000, 21], [5060, 21]] }), []);
});

test("a bucket whose middle is outside the window is drawn at its edge", () => {
  assert.deepEqual(lone([60, 6000], { start: 100, end: 6010 }), [100, 6010]);
});
