import assert from "node:assert/strict";
import { test } from "node:test";

import { byTime, replaces } from "../../static/realtime/newest.js";

const reading = (timestamp, seq) => ({ timestamp, seq });
// From the oldest to the newest.
const READINGS = [
  reading("1970-01-01T00:00:00Z", 9), reading("2026-05-09T11:59:59.999999Z", 5), reading("2026-05-09T12:00:00Z", 7),
  reading("2026-05-09T12:00:00Z", 8), reading("2026-05-09T12:00:00.000001Z", 2), reading("2026-05-09T12:00:00.000002Z", 1),
  reading("2026-05-09T12:00:00.5Z", 3), reading("2026-05-09T12:00:00.500001Z", 1), reading("2026-05-09T12:00:01Z", 4),
  reading("9999-12-30T00:00:00Z", 1),
];

test("readings are ordered by time to the microsecond, then by number", () => {
  READINGS.forEach((one, n) => {
    READINGS.forEach((other, m) => assert.equal(Math.sign(byTime(one, other)), Math.sign(n - m), `${n} and ${m}`));
  });
});

test("a whole second is the same with and without its fraction", () => {
  assert.equal(replaces(reading("2026-05-09T12:00:00.000000Z", 3), reading("2026-05-09T12:00:00.000000Z", 4)), false);
});

test("a reading replaces an older one, and none that is newer", () => {
  assert.equal(replaces(READINGS[3], null), true);
  assert.equal(replaces(READINGS[3], READINGS[2]), true);
  assert.equal(replaces(READINGS[2], READINGS[3]), false);
});

test("a reading that a wrong clock dated in the future is replaced by the next that the device sends", () => {
  const shown = reading("2026-05-10T12:00:00Z", 1);
  const next = reading("2026-05-09T11:00:00Z", 2);
  assert.equal(replaces(next, shown, "2026-05-09T12:00:00Z"), true);
  assert.equal(replaces(next, shown, null), false);
  assert.equal(replaces(next, reading("2026-05-09T12:04:59Z", 1), "2026-05-09T12:00:00Z"), false);
});
