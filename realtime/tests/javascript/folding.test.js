import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Folding } from "../../static/realtime/device/folding.js";

const many = Array.from({ length: 12 }, (_, n) => `metric_${n + 10}`);
let addresses;

beforeEach(() => {
  addresses = [];
  globalThis.location = "http://localhost/live/mote-1/?range=24h";
  globalThis.history = {
    replaceState: (state, title, address) => {
      globalThis.location = String(address);
      addresses.push(new URL(address).search);
    },
  };
});

test("a few charts are all open, of many only the first", () => {
  assert.deepEqual(new Folding(() => many.slice(0, 8)).open(), many.slice(0, 8));
  assert.deepEqual(new Folding(() => many).open(), many.slice(0, 6));
});

test("what is opened and folded is in the address, in the order of the metrics", () => {
  const folding = new Folding(() => many);
  folding.set("metric_20", true);
  folding.set("metric_11", false);
  assert.deepEqual(folding.open(), ["metric_10", "metric_12", "metric_13", "metric_14", "metric_15", "metric_20"]);
  assert.equal(addresses.at(-1), "?range=24h&metrics=metric_10%2Cmetric_12%2Cmetric_13%2Cmetric_14%2Cmetric_15%2Cmetric_20");
});

test("a link opens the same charts, also none", () => {
  globalThis.location += "&metrics=metric_21,metric_12,unknown";
  assert.deepEqual(new Folding(() => many).open(), ["metric_12", "metric_21"]);
  globalThis.location = "http://localhost/live/mote-1/?metrics=";
  assert.deepEqual(new Folding(() => many.slice(0, 3)).open(), []);
});
