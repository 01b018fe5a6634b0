import assert from "node:assert/strict";
import { test } from "node:test";

import { Catalogue } from "../../static/realtime/metrics.js";

const catalogue = new Catalogue({
  temperature: ["", "°C", null, 10, -40, 85],
  co2: ["CO₂", "ppm", 0, 5, 0, null],
  constructor: ["Constructor", "m", 1, 1, null, null],
});

test("a metric has its label, else its name without underscores", () => {
  assert.deepEqual(["co2", "temperature", "soil_moisture", "toString"].map((name) => catalogue.label(name)), ["CO₂", "temperature", "soil moisture", "toString"]);
  assert.deepEqual(["co2", "soil_moisture"].map((name) => catalogue.heading(name)), ["CO₂ (ppm)", "soil moisture"]);
});

test("a value has the decimals and the unit of its metric", () => {
  assert.equal(catalogue.text("co2", 412.6), "413 ppm");
  assert.equal(catalogue.text("temperature", 21.25), "21.25 °C");
  assert.equal(catalogue.text("soil_moisture", 0.5), "0.5");
});

test("metrics are in the order of the catalogue, the others follow by name", () => {
  assert.deepEqual(catalogue.inOrder(["zinc", "temperature", "argon", "co2", "constructor"]), ["constructor", "co2", "temperature", "argon", "zinc"]);
});

test("a value beyond the plausible range is doubted", () => {
  assert.equal(catalogue.doubt("temperature", -40.5), "Below the plausible -40 °C");
  assert.equal(catalogue.doubt("temperature", 127.9), "Above the plausible 85 °C");
  assert.deepEqual([catalogue.doubt("temperature", 85), catalogue.doubt("co2", 1e6), catalogue.doubt("unknown", -1)], ["", "", ""]);
});
