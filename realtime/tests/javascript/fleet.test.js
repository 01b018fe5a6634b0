import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Choice, counts } from "../../static/realtime/fleet/choice.js";
import { Device } from "../../static/realtime/fleet/device.js";

const NOW = Date.UTC(2026, 4, 9, 12);
let replaced;

beforeEach(() => {
  replaced = null;
  globalThis.location = "http://localhost/live/";
  globalThis.history = { replaceState: (state, title, address) => (replaced = String(address)) };
});

function device(id, { name = "", active = true, interval = 10, silent = 0, values = {} } = {}) {
  const seen = silent === null ? null : Date.now() / 1000 - silent;
  return new Device([id, name, active, interval, seen, values]);
}

function shown(query, devices) {
  globalThis.location = `http://localhost/live/?${query}`;
  return new Choice().of(devices).map(({ id }) => id);
}

const after = (seconds, values = { temperature: 20 }) => ({
  id: "x", seq: 1, timestamp: new Date(NOW + seconds * 1000).toISOString(), ...values,
});

test("devices are sorted by name, numbers in it as numbers, and by id where there is no name", () => {
  assert.deepEqual(shown("", [device("mote-10"), device("mote-9"), device("z", { name: "A" })]), ["z", "mote-9", "mote-10"]);
});

test("by status what needs looking at comes first", () => {
  const devices = [
    device("off", { active: false }), device("never", { silent: null }), device("online"), device("late", { silent: 25 }),
    device("offline", { silent: 100 }),
  ];
  assert.deepEqual(shown("sort=status", devices), ["offline", "late", "online", "never", "off"]);
});

test("by a metric the largest comes first, and last what does not have it", () => {
  const devices = [device("none"), device("low", { values: { voltage: 1 } }), device("high", { values: { voltage: 3 } })];
  assert.deepEqual(shown("sort=voltage", devices), ["high", "low", "none"]);
});

test("the last seen comes first", () => {
  const devices = [device("never", { silent: null }), device("old", { silent: 90 }), device("new", { silent: 1 })];
  assert.deepEqual(shown("sort=seen", devices), ["new", "old", "never"]);
});

test("a search finds devices by every word, in id or name", () => {
  const devices = [device("mote-1", { name: "North greenhouse" }), device("mote-2", { name: "South" })];
  assert.deepEqual(shown("search=GREEN+mote", devices), ["mote-1"]);
  assert.deepEqual(shown("status=late", devices), []);
});

test("what is chosen is kept in the address, what is usual is not", () => {
  globalThis.location = "http://localhost/live/?sort=seen&status=late";
  const choice = new Choice();
  Object.assign(choice, { sort: "name", search: "north" });
  choice.remember();
  assert.equal(replaced, "http://localhost/live/?status=late&search=north");
});

test("devices are counted by status", () => {
  const devices = [device("a"), device("b"), device("c", { active: false })];
  assert.deepEqual(counts(devices), { online: 2, late: 0, offline: 0, never: 0, deactivated: 1 });
});

test("a new reading gives the latest values; one measured earlier does not", () => {
  const known = device("a", { silent: null });
  known.take([after(10, { temperature: 21 }), after(5, { temperature: 3 })]);
  assert.deepEqual(known.values, { temperature: 21 });
  assert.equal(known.seen, NOW + 10_000);
});

test("the status that the server told counts, until a fresh reading comes", () => {
  const known = device("a");
  known.told = "offline";
  assert.equal(known.judge(), true);
  assert.equal(known.status, "offline");
  known.take([{ ...after(0), timestamp: new Date().toISOString() }]);
  known.judge();
  assert.equal(known.status, "online");
  assert.equal(known.judge(), false);
});

test("values with a unit are shown first, in its order, others with their name", () => {
  const known = device("a", { values: { soil_moisture: 0.5, humidity: 40, temperature: 20 } });
  assert.deepEqual(known.shown({ temperature: "°C", humidity: "%" }), [
    ["20", "°C", "temperature"], ["40", "%", "humidity"], ["0.5", "soil moisture", "soil_moisture"],
  ]);
});

test("a sparkline is of the temperature, else of the first metric by name", () => {
  assert.equal(device("a", { values: { humidity: 1, temperature: 2 } }).metric, "temperature");
  assert.equal(device("a", { values: { voltage: 1, humidity: 2 } }).metric, "humidity");
  assert.equal(device("a").metric, null);
});
