import assert from "node:assert/strict";
import { test } from "node:test";

import { Catalogue } from "../../static/realtime/metrics.js";
import { about, acknowledgement, appliesTo, condition, duration, ending, values } from "../../static/realtime/alarms/words.js";

const CATALOGUE = new Catalogue({
  temperature: ["", "°C", null, 10, null, null], voltage: ["", "V", null, 110, null, null], co2: ["CO₂", "ppm", 0, 40, 0, null],
});
const rule = (given) => ({ kind: "threshold", metric: "temperature", above: null, below: null, for: 0, ...given });
const plain = (text) => text.replaceAll("\u00a0", " ");

test("a duration is in the largest unit without a fraction", () => {
  const expected = { 0: "0 s", 1: "1 s", 90: "90 s", 600: "10 min", 5400: "90 min", 7200: "2 h", 86_400: "1 day", 172_800: "2 days" };
  for (const [seconds, text] of Object.entries(expected)) assert.equal(duration(Number(seconds)), text);
});

test("about how long something took has two units at most", () => {
  const expected = { 0: "0 s", 59.6: "1 min", 200: "3 min 20 s", 3600: "1 h", 3661: "1 h 1 min", 90_000: "1 day 1 h", 180_000: "2 days 2 h" };
  for (const [seconds, text] of Object.entries(expected)) assert.equal(about(Number(seconds)), text);
});

test("a rule of each kind is a sentence", () => {
  const expected = [
    [rule({ above: 30, for: 600 }), "temperature above 30 °C for 10 min"],
    [rule({ above: 30, below: -5 }), "temperature above 30 °C or below -5 °C"],
    [rule({ metric: "soil_moisture", below: 0.2 }), "soil moisture below 0.2"],
    [rule({ metric: "co2", above: 1000.5 }), "CO₂ above 1,000.5 ppm"],
    [rule({ metric: "constructor", above: 1 }), "constructor above 1"],
    [{ kind: "silence", metric: null, seconds: null }, "nothing received for 5 report intervals"],
    [{ kind: "silence", metric: "voltage", seconds: 3600 }, "no voltage received for 1 h"],
    [{ kind: "stuck", metric: "voltage", seconds: 7200, tolerance: 0 }, "voltage has not changed for 2 h"],
    [{ kind: "stuck", metric: "voltage", seconds: 60, tolerance: 0.5 }, "voltage has not changed by more than 0.5 V for 1 min"],
    [{ kind: "rate", metric: "temperature", change: 5, per: 600 }, "temperature changes by more than 5 °C within 10 min"],
  ];
  for (const [given, text] of expected) assert.equal(plain(condition(given, CATALOGUE)), text);
});

test("the devices of a rule are named up to three", () => {
  assert.equal(appliesTo({ devices: [] }), "all devices");
  assert.equal(appliesTo({ devices: ["a", "b", "c"] }), "a, b, c");
  assert.equal(appliesTo({ devices: ["a", "b", "c", "d", "e"] }), "a, b, c and 2 more");
  assert.equal(appliesTo({ devices: [], tags: ["cold", "roof"] }), "devices tagged cold and roof");
});

test("an alarm has its value, and the worst one if that differs", () => {
  assert.equal(plain(values({ metric: "temperature", value: 31, worst: 31 }, CATALOGUE)), "Temperature 31 °C");
  assert.equal(plain(values({ metric: "temperature", value: 31, worst: 35.25 }, CATALOGUE)), "Temperature 31 °C, at worst 35.25 °C");
  assert.equal(plain(values({ metric: "co2", value: 1200.4, worst: 1200.4 }, CATALOGUE)), "CO₂ 1,200 ppm");
  assert.equal(values({ metric: "co2", value: null, worst: null }, CATALOGUE), "CO₂");
  assert.equal(values({ metric: null, value: null, worst: null }, CATALOGUE), "");
});

test("it says who acknowledged it, and why it ended if not by its condition", () => {
  assert.equal(acknowledgement({ acknowledged_by: null, comment: null }), "");
  assert.equal(acknowledgement({ acknowledged_by: "ada", comment: null }), "Acknowledged by ada");
  assert.equal(acknowledgement({ acknowledged_by: "ada", comment: "On my way" }), "ada: On my way");
  assert.deepEqual(["cleared", "rule_off", null].map((reason) => ending({ reason })), ["", "The rule was switched off", ""]);
});
