import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Names } from "../../static/realtime/fleet/names.js";

const settled = () => new Promise((resolve) => setImmediate(resolve));
let asked; // [device id, answer()] of the requests
let named;
let names;

beforeEach(() => {
  asked = [];
  named = [];
  names = new Names((device, name, tags) => named.push([device.id, name, ...tags]));
  globalThis.fetch = (address) => new Promise((resolve) => asked.push([address.split("/").at(-1), resolve]));
});

async function answer(status, body = {}) {
  const [, resolve] = asked.at(-1);
  resolve({ ok: status === 200, status, json: async () => body });
  await settled();
}

const ids = () => asked.map(([id]) => id);

test("a thousand new devices are asked about one after the other", async () => {
  for (let n = 0; n < 1000; n++) names.want({ id: `mote-${n}` });
  assert.deepEqual(ids(), ["mote-0"]);
  await answer(200, { name: "Hall", tags: ["roof"] });
  assert.deepEqual(ids(), ["mote-0", "mote-1"]);
  assert.deepEqual(named, [["mote-0", "Hall", "roof"]]);
});

for (const status of [429, 500, 503]) {
  test(`after ${status} the same device is asked about again, later`, async (context) => {
    let later;
    context.mock.method(globalThis, "setTimeout", (run, milliseconds) => (later = [run, milliseconds]));
    names.want({ id: "a" });
    await answer(status);
    names.want({ id: "b" });
    assert.deepEqual(ids(), ["a"]);
    assert.equal(later[1], 10_000);
    later[0]();
    assert.deepEqual(ids(), ["a", "a"]);
    await answer(200, { name: "A" });
    await answer(200, { name: "B" });
    assert.deepEqual(named, [["a", "A"], ["b", "B"]]);
  });
}

test("a device that was erased meanwhile is passed over", async () => {
  for (const id of ["a", "b"]) names.want({ id });
  await answer(404);
  await answer(200, { name: "B" });
  assert.deepEqual(named, [["b", "B"]]);
});

test("an account that may not view devices asks about one, not about all", async () => {
  for (const id of ["a", "b", "c"]) names.want({ id });
  await answer(403);
  assert.deepEqual(ids(), ["a"]);
  names.want({ id: "d" });
  assert.deepEqual(ids(), ["a", "d"]);
});
