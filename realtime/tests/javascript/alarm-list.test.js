import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Choice } from "../../static/realtime/alarms/choice.js";
import { Known } from "../../static/realtime/alarms/known.js";
import { deviceMute, mutableWithin, ruleMute, tagMute } from "../../static/realtime/alarms/mute.js";
import { ask } from "../../static/realtime/alarms/requests.js";
import { Marks } from "../../static/realtime/fleet/marks.js";
import { settle, stopClock } from "./clock.js";

const at = (second, given = {}) => ({ id: `id-${second}`, opened_at: `2026-05-09T12:00:${String(second).padStart(2, "0")}.000000Z`, state: "open", ...given });
const ids = (known) => known.alarms.map(({ id }) => id);
let replaced;

beforeEach(() => {
  globalThis.location = "http://localhost/alarms/";
  globalThis.history = { replaceState: (state, title, address) => (replaced = globalThis.location = String(address)) };
  globalThis.document = { hidden: false, querySelector: () => ({ value: "token" }) };
});

test("who is limited to tags may mute devices and those tags alone", () => {
  const targets = [deviceMute("mote-1"), tagMute("north roof"), tagMute("attic"), ruleMute(7)];
  assert.deepEqual(targets.map(mutableWithin(null)), [true, true, true, true]);
  assert.deepEqual(targets.map(mutableWithin(["north roof"])), [true, true, false, false]);
});

test("alarms are newest first, whichever way they come", () => {
  const known = new Known();
  known.begin({ results: [at(5), at(3)], next: null });
  known.put(at(4));
  known.put(at(9));
  known.put(at(1));
  assert.deepEqual(ids(known), ["id-9", "id-5", "id-4", "id-3", "id-1"]);
});

test("of two of one moment the one with the higher id is newer", () => {
  const known = new Known();
  known.begin({ results: [at(5, { id: "b" })], next: null });
  known.put(at(5, { id: "c" }));
  known.put(at(5, { id: "a" }));
  assert.deepEqual(ids(known), ["c", "b", "a"]);
});

test("an alarm that is there is replaced, and one of a page that was not loaded waits for it", () => {
  const known = new Known();
  known.begin({ results: [at(5), at(3)], next: "http://localhost/next" });
  assert.equal(known.put(at(5, { comment: "seen" })), true);
  assert.equal(known.put(at(1)), false);
  assert.deepEqual([ids(known), known.alarms[0].comment], [["id-5", "id-3"], "seen"]);
  known.add({ results: [at(1)], next: null });
  assert.deepEqual(ids(known), ["id-5", "id-3", "id-1"]);
  assert.equal(known.remove("id-3"), true);
  assert.equal(known.remove("id-3"), false);
});

test("the filters are in the address, and in that of the API", () => {
  globalThis.location = "http://localhost/alarms/?severity=critical&rule=7&device=mote-1";
  const choice = new Choice();
  assert.equal(choice.address("open", 100), "/api/v1/alarms?state=open&limit=100&severity=critical&rule=7&device_id=mote-1");
  choice.set("severity", "");
  assert.equal(replaced, "http://localhost/alarms/?rule=7&device=mote-1");
  choice.clear();
  assert.deepEqual([replaced, choice.any], ["http://localhost/alarms/", false]);
});

test("several tags mean all of them, and only the server knows which alarms have them", () => {
  globalThis.location = "http://localhost/alarms/?tag=Roof&tag=north+side";
  const choice = new Choice();
  assert.equal(choice.address("open", 100), "/api/v1/alarms?state=open&limit=100&tag=Roof&tag=north+side");
  assert.deepEqual([choice.any, choice.shows({ rule: { id: 1, severity: "info" }, device_id: "a" })], [true, null]);
  choice.toggleTag({ key: "roof", name: "roof" });
  assert.equal(replaced, "http://localhost/alarms/?tag=north+side");
  choice.toggleTag({ key: "cellar", name: "Cellar" });
  assert.equal(replaced, "http://localhost/alarms/?tag=north+side&tag=Cellar");
  choice.clear();
  assert.deepEqual([replaced, choice.any], ["http://localhost/alarms/", false]);
});

test("what the address says wrongly is left out", () => {
  globalThis.location = "http://localhost/alarms/?severity=terrible&rule=x1";
  assert.equal(new Choice().any, false);
});

test("a live alarm is shown if it fits every filter; of tags only the server knows", () => {
  globalThis.location = "http://localhost/alarms/?severity=critical&rule=7";
  const alarm = (severity, id) => ({ rule: { severity, id }, device_id: "mote-1" });
  const choice = new Choice();
  assert.deepEqual([alarm("critical", 7), alarm("info", 7), alarm("critical", 70)].map((one) => choice.shows(one)), [true, false, false]);
  choice.set("device", "mote-2");
  assert.equal(choice.shows(alarm("critical", 7)), false);
  choice.clear();
  choice.toggleTag({ key: "roof", name: "roof" });
  assert.equal(choice.shows(alarm("critical", 7)), null);
});

test("a request that changes something has the token, and a refusal names its fields", async (context) => {
  const answer = { detail: "Invalid values.", errors: [{ field: "above", detail: "No bound." }, { field: "", detail: "Too many." }] };
  const fetch = context.mock.method(globalThis, "fetch", async () => ({ ok: false, status: 422, json: async () => answer }));
  await assert.rejects(ask("POST", "/x", { body: {} }), { message: "Invalid values.", status: 422, fields: [["above", "No bound."]] });
  assert.equal(fetch.mock.calls[0].arguments[1].headers["X-CSRFToken"], "token");
});

test("a server that is away, or a proxy before it, is a refusal with words", async (context) => {
  context.mock.method(globalThis, "fetch", async () => { throw new TypeError("network"); });
  await assert.rejects(ask("GET", "/x"), { message: "The server cannot be reached.", status: 0 });
  globalThis.fetch = async () => ({ ok: false, status: 502, json: async () => { throw new SyntaxError("<html>"); } });
  await assert.rejects(ask("GET", "/x"), { message: "The server answered with status 502." });
});

test("many changes ask for the marks of devices once in two seconds", async (context) => {
  const clock = stopClock(context);
  let asked = 0;
  globalThis.fetch = async () => ({ ok: true, json: async () => ({ devices: { a: [++asked, "info"] } }) });
  const told = [];
  const marks = new Marks((devices) => told.push(devices.a[0]));
  for (let n = 0; n < 50; n++) marks.ask();
  clock.tick(150);
  await settle();
  assert.deepEqual(told, [1]);
  for (let n = 0; n < 50; n++) marks.ask();
  clock.tick(1000);
  await settle();
  assert.deepEqual(told, [1]);
  clock.tick(1000);
  await settle();
  assert.deepEqual(told, [1, 2]);
});
