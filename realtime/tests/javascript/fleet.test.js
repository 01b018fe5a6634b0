import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

import { Choice, counts, viewsOf } from "../../static/realtime/fleet/choice.js";
import { Device } from "../../static/realtime/fleet/device.js";
import { distinct } from "../../static/realtime/fleet/row.js";
import { Sparklines } from "../../static/realtime/fleet/sparklines.js";
import { Catalogue } from "../../static/realtime/metrics.js";

const NOW = Date.UTC(2026, 4, 9, 12);
const backlog = JSON.parse(readFileSync(new URL("./data/backlog.json", import.meta.url)));
let replaced;

beforeEach(() => {
  replaced = null;
  globalThis.location = "http://localhost/live/";
  globalThis.history = { replaceState: (state, title, address) => (replaced = String(address)) };
});

const at = (seconds) => new Date(NOW + seconds * 1000).toISOString();

function device(id, { name = "", active = true, status = "online", seen = 0, values = {}, timestamp = null, seq = null, others } = {}) {
  return new Device([id, name, active, status, seen === null ? null : at(seen), values, timestamp, seq, others]);
}

function shown(query, devices) {
  globalThis.location = `http://localhost/live/?${query}`;
  return new Choice().of(devices).map(({ id }) => id);
}

const after = (seconds, values = { temperature: 20 }, seq = 1) => ({ id: "x", seq, timestamp: at(seconds), ...values });

test("devices are sorted by name, numbers in it as numbers, and by id where there is no name", () => {
  assert.deepEqual(shown("", [device("mote-10"), device("mote-9"), device("z", { name: "A" })]), ["z", "mote-9", "mote-10"]);
});

test("by status what needs looking at comes first", () => {
  const devices = [
    device("off", { active: false }), device("never", { status: "never" }), device("online"), device("late", { status: "late" }),
    device("offline", { status: "offline" }),
  ];
  assert.deepEqual(shown("sort=status", devices), ["offline", "late", "online", "never", "off"]);
});

test("by a metric the largest comes first, and last what does not have it", () => {
  const devices = [device("none"), device("low", { values: { voltage: 1 } }), device("high", { values: { voltage: 3 } })];
  assert.deepEqual(shown("sort=voltage", devices), ["high", "low", "none"]);
});

test("every sort has two directions, and what a device does not have is last in both", () => {
  const devices = [
    device("b", { seen: -90, values: { battery: 40 } }), device("a", { seen: -1, others: { battery: 5 }, status: "late" }), device("c", { seen: null }),
  ];
  assert.deepEqual(shown("sort=name&order=desc", devices), ["c", "b", "a"]);
  assert.deepEqual(shown("sort=status&order=desc", devices), ["b", "c", "a"]);
  assert.deepEqual(shown("sort=seen&order=asc", devices), ["b", "a", "c"]);
  assert.deepEqual(shown("sort=battery", devices), ["b", "a", "c"]);
  assert.deepEqual(shown("sort=battery&order=asc", devices), ["a", "b", "c"]);
  assert.deepEqual(shown("sort=battery&order=sideways", devices), ["b", "a", "c"]);
});

test("an order is kept in the address unless it is the usual one", () => {
  const choice = new Choice();
  choice.sortBy("battery", "asc");
  choice.remember();
  assert.equal(replaced, "http://localhost/live/?sort=battery&order=asc");
  choice.reverse();
  choice.remember();
  assert.equal(replaced, "http://localhost/live/?sort=battery");
  assert.equal(choice.metric, "battery");
  choice.sortBy("seen");
  assert.deepEqual([choice.metric, choice.order], [null, "desc"]);
});

test("where several values have a unit, their labels tell them apart", () => {
  const catalogue = new Catalogue({ temperature: ["", "°C", null, 1], soil: ["soil temperature", "°C", null, 2], humidity: ["", "%", null, 3] });
  const units = (values) => distinct(device("a", { values }).shown(catalogue), catalogue).map(([, unit]) => unit);
  assert.deepEqual(units({ temperature: 21.5, soil: 14, humidity: 60, flow: 2 }), ["°C temperature", "°C soil temperature", "%", "flow"]);
  assert.deepEqual(units({ temperature: 21.5, humidity: 60 }), ["°C", "%"]);
});

test("views of what is lowest are of the first metric that the devices have", () => {
  assert.deepEqual(viewsOf(new Set(["voltage", "battery", "rssi"])), [["battery", "battery"], ["signal", "rssi"]]);
  assert.deepEqual(viewsOf(new Set(["voltage"])), [["battery", "voltage"]]);
  assert.deepEqual(viewsOf(new Set()), []);
});

test("a metric that a newer reading lacks keeps its latest value", () => {
  const known = device("a", { values: { battery: 80 }, timestamp: at(0), seq: 1, others: { rssi: -60 } });
  known.take([after(1, { temperature: 20 }, 2)]);
  assert.deepEqual(["battery", "rssi", "temperature", "constructor"].map((metric) => known.value(metric)), [80, -60, 20, undefined]);
  known.take([after(2, { battery: 79 }, 3)]);
  assert.equal(known.value("battery"), 79);
});

test("the last seen comes first", () => {
  const devices = [device("never", { seen: null }), device("old", { seen: -90 }), device("new", { seen: -1 })];
  assert.deepEqual(shown("sort=seen", devices), ["new", "old", "never"]);
});

test("devices with open alarms can be chosen and come first, the most severe before the most", () => {
  const devices = [device("none"), device("many"), device("severe"), device("few")];
  for (const [n, alarms] of [[1, [9, "info"]], [2, [1, "critical"]], [3, [2, "info"]]]) assert.equal(devices[n].mark(alarms), true);
  assert.equal(devices[1].mark([9, "info"]), false);
  assert.deepEqual(shown("sort=alarms", devices), ["severe", "many", "few", "none"]);
  assert.deepEqual(shown("alarms=open", devices), ["few", "many", "severe"]);
  assert.equal(devices[1].mark(null), true);
  assert.deepEqual(shown("alarms=open", devices), ["few", "severe"]);
});

test("a search finds devices by every word, in id or name", () => {
  const devices = [device("mote-1", { name: "North greenhouse" }), device("mote-2", { name: "South" })];
  assert.deepEqual(shown("search=GREEN+mote", devices), ["mote-1"]);
  assert.deepEqual(shown("status=late", devices), []);
});

test("what is chosen is kept in the address, what is usual is not", () => {
  globalThis.location = "http://localhost/live/?sort=seen&status=late";
  const choice = new Choice();
  choice.sortBy("name");
  choice.search = "north";
  choice.remember();
  assert.equal(replaced, "http://localhost/live/?status=late&search=north");
});

test("devices are counted by status", () => {
  const devices = [device("a"), device("b"), device("c", { active: false })];
  assert.deepEqual(counts(devices), { online: 2, late: 0, offline: 0, never: 0, deactivated: 1 });
});

test("a new reading gives the latest values; one measured earlier does not", () => {
  const known = device("a");
  known.take([after(10, { temperature: 21 }), after(5, { temperature: 3 })]);
  assert.deepEqual(known.values, { temperature: 21 });
});

test("a backlog does not replace a newer value, whether the page came with it or heard it", () => {
  const old = backlog.map(({ age_seconds, ...values }, n) => after(-age_seconds, values, n + 2));
  const loaded = device("a", { values: { temperature: 31 }, timestamp: at(0), seq: 1 });
  const heard = device("b", { seen: null, status: "never" });
  heard.take([after(0, { temperature: 31 })], at(0));
  for (const known of [loaded, heard]) {
    known.take(old, at(5));
    assert.deepEqual(known.values, { temperature: 31 });
    known.take([after(1, { temperature: 32 }, 99)], at(6));
    assert.deepEqual(known.values, { temperature: 32 });
  }
});

test("a history that comes newest first leaves its newest value", () => {
  const known = device("a", { seen: null, status: "never" });
  for (let n = 0; n < 50; n++) known.take([after(-n * 3600, { temperature: n }, n + 1)]);
  assert.deepEqual(known.values, { temperature: 0 });
});

test("of two readings of one moment the later one in the log is shown", () => {
  const known = device("a");
  known.take([after(0, { temperature: 1 }, 7), after(0, { temperature: 2 }, 8), after(0, { temperature: 3 }, 6)]);
  assert.deepEqual(known.values, { temperature: 2 });
});

test("readings say nothing about when a device was seen and which status it has", () => {
  const known = device("a", { status: "never", seen: null });
  known.take([after(-3600), after(10)]);
  known.judge();
  assert.deepEqual([known.seen, known.status], [null, "never"]);
  known.hear(at(0));
  assert.equal(known.seen, NOW);
  known.hear(null);
  assert.equal(known.seen, null);
});

test("the status is what the server told", () => {
  const known = device("a");
  known.told = "offline";
  assert.equal(known.judge(), true);
  assert.equal(known.status, "offline");
  assert.equal(known.judge(), false);
  const off = device("b", { active: false });
  off.told = "late";
  assert.equal(off.judge(), false);
  assert.equal(off.status, "deactivated");
});

test("values are shown in the order of the catalogue, those without a unit with their label", () => {
  const known = device("a", { values: { soil_moisture: 0.5, valve: 1, humidity: 40, temperature: 20.04 } });
  const catalogue = new Catalogue({ temperature: ["", "°C", 1, 10, null, null], humidity: ["", "%", null, 5, null, null], valve: ["Main valve", "", 0, 7, null, null] });
  assert.deepEqual(known.shown(catalogue), [
    ["40", "%", "humidity"], ["1", "Main valve", "valve"], ["20.0", "°C", "temperature"], ["0.5", "soil moisture", "soil_moisture"],
  ]);
});

test("a sparkline is of the temperature, else of the first metric by name", () => {
  assert.equal(device("a", { values: { humidity: 1, temperature: 2 } }).metric, "temperature");
  assert.equal(device("a", { values: { voltage: 1, humidity: 2 } }).metric, "humidity");
  assert.equal(device("a").metric, null);
});

test("a device with the name of an inherited property has no line while the server has none", async (context) => {
  context.mock.method(globalThis, "fetch", async () => ({ ok: true, json: async () => ({ values: { constructor: [1] } }) }));
  const [known, unknown] = [{ id: "constructor" }, { id: "toString" }];
  await new Sparklines(() => {}).load("temperature", [known, unknown], 0);
  assert.deepEqual([known.line, unknown.line], [[1], null]);
});
