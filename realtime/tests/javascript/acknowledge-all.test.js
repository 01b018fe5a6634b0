import assert from "node:assert/strict";
import { test } from "node:test";

import "./dom.js";
import { AcknowledgeAll } from "../../static/realtime/alarms/acknowledge_all.js";
import { Element } from "./dom.js";

const alarm = (id, at = null) => ({ id, acknowledged_at: at });

function listOf(alarms, onAcknowledge = async () => {}) {
  Element.prototype.append ??= function append(...children) { this.children.push(...children); };
  return new AcknowledgeAll(new Element(), { alarms: () => alarms, onAcknowledge });
}

test("several alarms can be acknowledged together, one has its own button", () => {
  const alarms = [alarm("a"), alarm("b"), alarm("c", "2026-05-09T12:00:00Z")];
  const all = listOf(alarms);
  all.draw();
  assert.deepEqual([all.button.textContent, all.box.hidden], ["Acknowledge all 2", false]);
  alarms.shift();
  all.draw();
  assert.equal(all.box.hidden, true);
});

test("after a failure only the others are asked again", async () => {
  const asked = [];
  let away = true;
  const all = listOf([], async ({ id }, comment) => {
    asked.push(`${id}: ${comment}`);
    if (id === "b" && away) throw new Error("away");
  });
  const seen = [alarm("a"), alarm("b"), alarm("c")];
  await assert.rejects(all.send(seen, "On my way"));
  away = false;
  await all.send(seen, "On my way");
  assert.deepEqual(asked, ["a: On my way", "b: On my way", "b: On my way", "c: On my way"]);
});
