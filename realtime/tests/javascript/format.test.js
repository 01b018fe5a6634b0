import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, localMoment, metricName, number, rounded, short, utc, whole } from "../../static/realtime/format.js";

const NOW = Date.UTC(2026, 4, 9, 12, 0, 0);

test("a number has fewer decimals the larger it is", () => {
  assert.equal(number(1.23456), "1.235");
  assert.equal(number(123.456), "123.46");
  assert.equal(number(-12_345.67), "-12,345.7");
  assert.equal(number(0), "0");
});

test("a very small or very large number is written with an exponent", () => {
  assert.equal(number(0.00012346), "1.235e-4");
  assert.equal(number(0.001), "0.001");
  assert.equal(number(1e7), "1.000e+7");
  assert.equal(rounded(-1e300), "-1.00e+300");
});

test("a statistic is rounded more than a value", () => {
  assert.equal(rounded(1.23456), "1.235");
  assert.equal(rounded(123.456), "123.5");
  assert.equal(rounded(12_345.67), "12,346");
});

test("counts have separators, labels of an axis are short", () => {
  assert.equal(whole(1_234_567), "1,234,567");
  assert.equal(short(1_234_567), "1.235M");
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
