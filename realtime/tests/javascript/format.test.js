import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ago, duration, localMoment, metricName, number, utc, whole } from "../../static/realtime/format.js";
import { doubles } from "./doubles.js";

const NOW = Date.UTC(2026, 4, 9, 12, 0, 0);

// devices/metrics.py writes the same texts: realtime/tests/pages/test_numbers.py
test("a number is shown as people write it", () => {
  const cases = JSON.parse(readFileSync(new URL("numbers.json", import.meta.url), "utf8"));
  assert.deepEqual(cases.map(([value, , ...decimals]) => [value, number(value, ...decimals), ...decimals]), cases);
});

test("no number loses a digit before its point, and none is shown as minus zero", () => {
  for (const value of doubles(5000).filter((one) => Math.abs(one) <= 1e300)) {
    const text = number(value);
    assert.ok(text !== "-0", `${value}`);
    const read = Number(text.replaceAll(",", ""));
    assert.ok(Math.abs(read - value) <= Math.abs(value) * 5.1e-4, `${value} is shown as ${text}`);
    if (Math.abs(value) < 2 ** 53) assert.ok(Math.abs(read - value) <= 0.5, `${value} is shown as ${text}`);
    if (Number.isSafeInteger(value)) assert.equal(read, value + 0);
  }
});

test("counts have separators", () => {
  assert.equal(whole(1_234_567), "1,234,567");
});

test("a metric's name is shown without underscores", () => {
  assert.equal(metricName("soil_moisture_top"), "soil moisture top");
});

test("the exact moment is UTC to the second", () => {
  assert.equal(utc(NOW + 999), "2026-05-09 12:00:00 UTC");
});

test("an age is given in the largest unit that says enough", () => {
  const ages = [-60, 4, 5, 119, 120, 7199, 7200, 172_799, 172_800];
  const texts = ages.map((seconds) => ago(NOW - seconds * 1000, NOW));
  assert.deepEqual(texts, [
    "just now", "just now", "5 s ago", "119 s ago", "2 min ago", "120 min ago", "2 h ago", "48 h ago", "2 days ago",
  ]);
});

test("a local moment has the year only where it is another one", () => {
  const thisYear = new Date().getFullYear();
  assert.doesNotMatch(localMoment(new Date(thisYear, 4, 9, 12, 5)), new RegExp(thisYear));
  assert.match(localMoment(new Date(2001, 4, 9, 12, 5)), /^9 May 2001,? 12:05$/);
  assert.match(localMoment(new Date(2001, 4, 9, 0, 5, 7), { seconds: true }), /00:05:07$/);
});

test("a length of time has the largest unit that is exact", () => {
  assert.deepEqual([1, 30, 60, 90, 300, 3600, 5400, 7200, 86_400, 604_800].map(duration), [
    "1 s", "30 s", "1 min", "90 s", "5 min", "1 h", "90 min", "2 h", "1 d", "7 d",
  ]);
});
