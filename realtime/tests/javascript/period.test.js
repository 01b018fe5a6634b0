import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Period } from "../../static/realtime/device/period.js";

const NOW = 1_800_000_000; // seconds, as all moments here
const YEAR = 365 * 86_400;
let addresses;
let changes;

beforeEach(() => {
  addresses = [];
  changes = 0;
  globalThis.location = "http://localhost/live/mote-1/";
  globalThis.history = { replaceState: (state, title, address) => addresses.push(String(address)) };
});

function period(context, { began = NOW - YEAR, last = NOW, range = null } = {}) {
  context.mock.method(Date, "now", () => NOW * 1000);
  if (range) globalThis.location += `?range=${range}`;
  return new Period(() => changes++, { began, last });
}

test("the last hour is shown first", (context) => {
  assert.deepEqual(period(context).bounds(NOW), { start: NOW - 3600, end: NOW });
});

test("of a device that has been silent, the shortest range with its last reading is shown", (context) => {
  const silent = (seconds) => period(context, { began: NOW - 3 * YEAR, last: NOW - seconds }).name;
  assert.deepEqual([3599, 3600, 7 * 3600, 6 * 86_400, 2 * YEAR].map(silent), ["1h", "24h", "24h", "7d", "all"]);
});

test("a log that is younger than an hour is shown whole", (context) => {
  assert.deepEqual(period(context, { began: NOW - 600 }).bounds(NOW), { start: NOW - 600, end: NOW });
});

test("an empty log, and one that has just begun, is shown as one minute", (context) => {
  assert.deepEqual(period(context, { began: null }).bounds(NOW), { start: NOW - 60, end: NOW });
  assert.deepEqual(period(context, { began: NOW - 1 }).bounds(NOW), { start: NOW - 60, end: NOW });
});

test("the range comes from the address if there is such a range", (context) => {
  assert.equal(period(context, { range: "7d" }).name, "7d");
  globalThis.location = "http://localhost/live/mote-1/";
  assert.equal(period(context, { range: "constructor" }).name, "1h");
});

test("a chosen range moves on with the time and is kept in the address", (context) => {
  const chosen = period(context);
  chosen.choose("24h");
  assert.deepEqual(chosen.bounds(NOW + 5), { start: NOW + 5 - 86_400, end: NOW + 5 });
  assert.deepEqual(addresses, ["http://localhost/live/mote-1/?range=24h"]);
  assert.equal(changes, 1);
});

test("a zoomed period is kept in the address, until a range is chosen", (context) => {
  const zoomed = period(context);
  zoomed.zoom(NOW - 300, NOW - 200);
  const query = new URL(addresses.at(-1)).searchParams;
  assert.deepEqual([query.get("start"), query.get("end")], [NOW - 300, NOW - 200].map((moment) => new Date(moment * 1000).toISOString()));
  globalThis.location = addresses.at(-1);
  const again = period(context);
  assert.deepEqual(again.bounds(), { start: NOW - 300, end: NOW - 200 });
  again.choose("7d");
  assert.equal(new URL(addresses.at(-1)).search, "?range=7d");
});

test("a period in the address that is none is ignored", (context) => {
  for (const query of ["start=never&end=2026-05-09", "start=2026-05-09&end=2026-05-08", "start=2026-05-09", "start=1969-01-01&end=2026-01-01"]) {
    globalThis.location = `http://localhost/live/mote-1/?${query}`;
    assert.equal(period(context).following, true, query);
  }
});

test("an earlier reading moves the beginning of the log, a later one does not", (context) => {
  const all = period(context, { range: "all" });
  all.include(NOW - 10);
  all.include(NOW - 2 * YEAR);
  assert.equal(all.bounds(NOW).start, NOW - 2 * YEAR);
});

test("all is from the first second that a log can hold", (context) => {
  const all = period(context, { range: "all" });
  for (const began of [86_399, 0.25, 0]) {
    all.include(began);
    assert.equal(all.bounds(NOW).start, began);
  }
  all.zoom(3600, NOW);
  all.scale(2);
  assert.equal(all.bounds(NOW).start, 0);
});

test("zooming fixes the window until a range is chosen", (context) => {
  const zoomed = period(context);
  zoomed.zoom(NOW - 300, NOW - 200);
  assert.deepEqual(zoomed.bounds(NOW + 1000), { start: NOW - 300, end: NOW - 200 });
  assert.equal(zoomed.following, false);
  zoomed.choose("1h");
  assert.equal(zoomed.following, true);
});

test("zooming shows ten seconds or more, and nothing of the future", (context) => {
  const zoomed = period(context);
  zoomed.zoom(NOW - 101, NOW - 100);
  assert.deepEqual(zoomed.bounds(), { start: NOW - 105.5, end: NOW - 95.5 });
  zoomed.zoom(NOW - 100, NOW + 100);
  assert.deepEqual(zoomed.bounds(), { start: NOW - 100, end: NOW });
});

test("a window of the future alone is refused", (context) => {
  const zoomed = period(context);
  zoomed.zoom(NOW + 100, NOW + 200);
  assert.equal(zoomed.following, true);
});

test("shifting goes back by half the window, and forward until it follows again", (context) => {
  const shifted = period(context);
  shifted.shift(-0.5);
  assert.deepEqual(shifted.bounds(), { start: NOW - 5400, end: NOW - 1800 });
  shifted.shift(0.5);
  assert.equal(shifted.following, true);
});

test("scaling keeps the present at the right edge, and the middle of a window of the past", (context) => {
  const scaled = period(context);
  scaled.scale(0.5);
  assert.deepEqual(scaled.bounds(), { start: NOW - 1800, end: NOW });
  scaled.zoom(NOW - 1000, NOW - 900);
  scaled.scale(2);
  assert.deepEqual(scaled.bounds(), { start: NOW - 1050, end: NOW - 850 });
});
