import assert from "node:assert/strict";
import { test } from "node:test";

import { fault, localValue, momentOf } from "../../static/realtime/device/between.js";

const NOW = Date.UTC(2026, 4, 9, 12) / 1000;

test("a moment survives the form, to the second", () => {
  for (const moment of [0, NOW, NOW + 1]) assert.equal(momentOf(localValue(moment)), moment);
});

test("a period needs two ends in order, and a start that has been", () => {
  assert.equal(fault(NOW - 60, NOW, NOW), "");
  assert.equal(fault(NOW - 60, NOW + 60, NOW), "");
  assert.equal(fault(momentOf(""), NOW, NOW), "Give both times.");
  assert.equal(fault(NOW, NOW, NOW), "The end must be after the start.");
  assert.equal(fault(NOW + 5, NOW + 60, NOW), "The period begins in the future.");
});
