import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { showStatus } from "../../static/realtime/status.js";

let element;

beforeEach(() => {
  element = { dataset: {}, textContent: "", title: "" };
});

test("a status is written into its element", () => {
  showStatus(element, "late");
  assert.deepEqual(element, { dataset: { status: "late" }, textContent: "late", title: "" });
});

test("a status from before the connection was lost is shown as of then", () => {
  for (const status of ["online", "late", "offline"]) {
    showStatus(element, status, Date.UTC(2026, 4, 9, 0, 57, 8));
    assert.deepEqual(element, { dataset: { status }, textContent: `was ${status}`, title: "As of 2026-05-09 00:57:08 UTC" });
  }
  showStatus(element, "offline");
  assert.deepEqual(element, { dataset: { status: "offline" }, textContent: "offline", title: "" });
});

test("what does not change by itself is shown as it is", () => {
  for (const status of ["never", "deactivated"]) {
    showStatus(element, status, Date.UTC(2026, 4, 9));
    assert.deepEqual(element, { dataset: { status }, textContent: status, title: "" });
  }
});
