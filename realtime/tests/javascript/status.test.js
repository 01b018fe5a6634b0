import assert from "node:assert/strict";
import { test } from "node:test";

import { showStatus, statusOf } from "../../static/realtime/status.js";

const NOW = 1_000_000_000;

test("a device is late after two intervals of silence and offline after five", () => {
  const statuses = [0, 19.9, 20, 49.9, 50].map((seconds) => statusOf(NOW - seconds * 1000, 10, NOW));
  assert.deepEqual(statuses, ["online", "online", "late", "late", "offline"]);
});

test("a device that was never seen has the status never", () => {
  assert.equal(statusOf(null, 10, NOW), "never");
});

test("a status is written into its element", () => {
  const element = { dataset: {}, textContent: "" };
  showStatus(element, "late");
  assert.deepEqual(element, { dataset: { status: "late" }, textContent: "late" });
});
