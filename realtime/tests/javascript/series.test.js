import assert from "node:assert/strict";
import { test } from "node:test";

import { columns, load } from "../../static/realtime/device/series.js";

const UNTOLD = { told: null, usual: 10 };

// Buckets of a minute that begin at these moments (seconds), each with the one value 20.
function loaded(starts, { bucketSeconds = 60, end = 10_000 } = {}) {
  const statistics = { temperature: { min: 19, max: 21, avg: 20 } };
  return { start: 0, end, bucketSeconds, buckets: starts.map((start) => ({ start, metrics: statistics })) };
}

const moments = (drawn) => drawn[0];
const gaps = (drawn) => drawn[0].filter((_, n) => drawn[3][n] === null);

test("a bucket is drawn at its middle, as maximum, minimum and average", () => {
  assert.deepEqual(columns(loaded([0, 60]), "temperature", [], UNTOLD), [[30, 90], [21, 21], [19, 19], [20, 20]]);
});

test("the last bucket is drawn no later than the end of what was loaded", () => {
  assert.deepEqual(moments(columns(loaded([0, 60], { end: 70 }), "temperature", [], UNTOLD)), [30, 70]);
});

test("a metric that a bucket does not have is left out", () => {
  assert.deepEqual(columns(loaded([0, 60]), "humidity", [], UNTOLD), [[], [], [], []]);
});

test("nor is a metric with the name of an inherited property drawn there", () => {
  assert.deepEqual(columns(loaded([0, 60]), "constructor", [], UNTOLD), [[], [], [], []]);
});

test("readings that came since are drawn as they are", () => {
  const drawn = columns(loaded([0], { end: 60 }), "temperature", [[65, 22], [75, 23]], UNTOLD);
  assert.deepEqual(drawn, [[30, 65, 75], [21, 22, 23], [19, 22, 23], [20, 22, 23]]);
});

test("an empty bucket is a gap, in its middle", () => {
  assert.deepEqual(gaps(columns(loaded([0, 60, 180]), "temperature", [], UNTOLD)), [150]);
});

test("a device that reports less often than the buckets are long has no gaps", () => {
  const everyFiveMinutes = [0, 300, 600, 900, 1200, 1500];
  assert.deepEqual(gaps(columns(loaded(everyFiveMinutes), "temperature", [], UNTOLD)), []);
});

test("its silence is a gap after two and a half of its intervals", () => {
  const steady = [0, 300, 600, 900, 1200, 1500];
  assert.deepEqual(gaps(columns(loaded([...steady, 1500 + 750]), "temperature", [], UNTOLD)), []);
  assert.deepEqual(gaps(columns(loaded([...steady, 1500 + 751]), "temperature", [], UNTOLD)), [1530 + 375.5]);
});

test("an interval that the device was told counts where its own pace is not known", () => {
  assert.deepEqual(gaps(columns(loaded([0, 600]), "temperature", [], { told: 240, usual: 10 })), []);
  assert.deepEqual(gaps(columns(loaded([0, 601]), "temperature", [], { told: 240, usual: 10 })), [330.5]);
});

test("what is loaded has moments in seconds", async (context) => {
  const asked = [];
  context.mock.method(globalThis, "fetch", async (address) => {
    asked.push(new URL(address, "http://localhost"));
    const buckets = [{ start: "1970-01-01T00:01:00.000000Z", metrics: { temperature: { avg: 20 } } }];
    return { ok: true, json: async () => ({ bucket: "5m", buckets, metrics: { temperature: { count: 3 } } }) };
  });
  const found = await load("a:b", { start: 0, end: 3600 }, 500);
  assert.equal(found.bucketSeconds, 300);
  assert.equal(found.buckets[0].start, 60);
  assert.deepEqual(found.totals, { temperature: { count: 3 } });
  assert.equal(asked[0].pathname, "/api/v1/devices/a%3Ab/aggregate");
  assert.deepEqual(asked.map((address) => address.searchParams.get("bucket")), ["auto", null]);
});

test("an answer that is no JSON, such as that of a proxy, is thrown in words", async (context) => {
  const json = async () => JSON.parse("<h1>Bad gateway</h1>");
  for (const status of [500, 502, 504]) {
    context.mock.method(globalThis, "fetch", async () => ({ ok: false, status, json }));
    await assert.rejects(load("mote-1", { start: 0, end: 60 }, 500), { message: `The server answered with status ${status}.` });
  }
});

test("a refusal is thrown with the server's words", async (context) => {
  context.mock.method(globalThis, "fetch", async () => ({ ok: false, json: async () => ({ detail: "No." }) }));
  await assert.rejects(load("mote-1", { start: 0, end: 60 }, 500), { message: "No." });
});
