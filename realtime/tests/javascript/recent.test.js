import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

const NOON = Date.UTC(2026, 4, 9, 12);
const backlog = JSON.parse(readFileSync(new URL("./data/backlog.json", import.meta.url)));

class Element {
  constructor() {
    Object.assign(this, { dataset: {}, children: [], textContent: "" });
  }

  append(...parts) {
    this.children.push(...parts);
  }

  replaceChildren(...parts) {
    this.children = parts;
  }
}

globalThis.document = { createElement: () => new Element(), querySelectorAll: () => [] };
globalThis.setInterval = () => {}; // of times.js
const { Catalogue } = await import("../../static/realtime/metrics.js");
const { Recent } = await import("../../static/realtime/device/recent.js");

let recent;
const shown = () => recent.readings.map(({ seq }) => seq);
const at = (seconds, seq, temperature) => ({
  id: `id-${seq}`, seq, timestamp: new Date(NOON + seconds * 1000).toISOString(), temperature,
});

beforeEach(() => {
  recent = new Recent({ tHead: new Element(), tBodies: [new Element()] }, new Catalogue({ temperature: ["", "°C", 1, 10, null, null] }));
});

test("the newest reading is on top, whatever came last", () => {
  recent.add([at(0, 1, 30)], ["temperature"]);
  recent.add(backlog.map(({ age_seconds, temperature }, n) => at(-age_seconds, n + 2, temperature)), ["temperature"]);
  assert.equal(recent.readings[0].temperature, 30);
  const ages = backlog.map(({ age_seconds }) => age_seconds).sort((a, b) => a - b);
  assert.deepEqual(recent.readings.slice(1).map(({ timestamp }) => (NOON - Date.parse(timestamp)) / 1000), ages.slice(0, 11));
  assert.equal(recent.table.tBodies[0].children.length, 12);
});

test("readings that come newest first end in the same order as oldest first", () => {
  const log = Array.from({ length: 30 }, (_, n) => at(n, 100 - n, n));
  recent.add(log.toReversed?.() ?? [...log].reverse(), ["temperature"]);
  assert.deepEqual(recent.readings.map(({ temperature }) => temperature), Array.from({ length: 12 }, (_, n) => 29 - n));
});

test("of equal times the higher number is on top", () => {
  recent.add([at(0, 2, 1), at(0, 1, 2), at(0, 3, 3)], ["temperature"]);
  assert.deepEqual(shown(), [3, 2, 1]);
});

test("a reading that the page has already is shown once", () => {
  recent.add([at(0, 1, 20), at(1, 2, 21)], ["temperature"]);
  recent.add([at(1, 2, 21), at(2, 3, 22)], ["temperature"]);
  assert.deepEqual(shown(), [3, 2, 1]);
});

test("the table has labels with units, and the decimals of the catalogue", () => {
  recent.add([at(0, 1, 20)], ["temperature", "soil_moisture"]);
  const texts = (row) => row.children.map(({ textContent }) => textContent);
  assert.deepEqual(texts(recent.table.tHead.children[0]), ["#", "When", "temperature (°C)", "soil moisture"]);
  assert.deepEqual(texts(recent.table.tBodies[0].children[0]).slice(2), ["20.0", ""]);
});
