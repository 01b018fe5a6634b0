import assert from "node:assert/strict";
import { test } from "node:test";

import { READY_MADE, blank, cleared, fieldsOf, ruleOf, split } from "../../static/realtime/alarms/fields.js";
import { Previewing, summary } from "../../static/realtime/alarms/previewing.js";
import { settle, stopClock } from "./clock.js";

const NOTHING = {
  metric: null, above: null, below: null, for: null, clear_margin: null, clear_for: null, seconds: null, tolerance: null, change: null, per: null,
};

test("the blanks of a sentence are a rule", () => {
  const { rule, missing } = ruleOf(blank({ side: "outside", above: "30,5", below: " -5 ", for: "10", clear: "90", clearUnit: "s", margin: "1" }));
  assert.deepEqual(missing, []);
  assert.deepEqual(rule, { kind: "threshold", severity: "warning", metric: "temperature", above: 30.5, below: -5, for: 600, clear_margin: 1, clear_for: 90 });
});

test("a bound that the sentence does not have is not in the rule", () => {
  assert.deepEqual(Object.keys(ruleOf(blank({ side: "above", above: "30", below: "7" })).rule).includes("below"), false);
  assert.deepEqual(ruleOf(blank({ kind: "silence", metric: "", seconds: "x" })).rule, { kind: "silence", severity: "warning" });
});

test("a blank that is empty or no number is missing", () => {
  assert.deepEqual(ruleOf(blank({ above: "" })).missing, ["above"]);
  assert.deepEqual(ruleOf(blank({ above: "warm", for: "" })).missing, ["above", "for"]);
  assert.deepEqual(ruleOf(blank({ kind: "rate", metric: "", change: "Infinity" })).missing, ["metric", "change"]);
});

test("every ready-made rule is complete", () => {
  for (const given of Object.values(READY_MADE)) assert.deepEqual(ruleOf(blank(given)).missing, [], given.name);
});

test("a rule of each kind comes back from its blanks", () => {
  const rules = [
    { kind: "threshold", severity: "critical", metric: "temperature", above: 30, for: 600, clear_margin: 0.5, clear_for: 0 },
    { kind: "threshold", severity: "info", metric: "voltage", below: 3.4, above: 4.5, for: 0, clear_margin: 0, clear_for: 86_400 },
    { kind: "silence", severity: "warning" },
    { kind: "silence", severity: "warning", metric: "co2", seconds: 5400 },
    { kind: "stuck", severity: "warning", metric: "co2", seconds: 7200, tolerance: 0.25 },
    { kind: "rate", severity: "warning", metric: "co2", change: 100, per: 60, clear_for: 30 },
  ];
  for (const rule of rules) assert.deepEqual(ruleOf(fieldsOf({ ...NOTHING, ...rule })), { rule, missing: [] });
});

test("a change empties what the sentence no longer has", () => {
  assert.deepEqual(cleared({ kind: "threshold", above: 30 }), { kind: "threshold", above: 30, below: null });
  assert.deepEqual(cleared({ kind: "silence" }), { kind: "silence", metric: null, seconds: null });
});

test("seconds are split into a number and its largest unit", () => {
  assert.deepEqual([0, 90, 600, 5400, 86_400].map(split), [["0", "min"], ["90", "s"], ["10", "min"], ["90", "min"], ["1", "days"]]);
});

test("previews are asked for after a pause, one at a time, and only the last one is shown", async (context) => {
  const clock = stopClock(context);
  const [asked, told] = [[], []];
  const ask = (rule) => new Promise((answer) => asked.push([rule.above, answer]));
  const previewing = new Previewing(ask, (rule, answer) => told.push([rule.above, answer]), 400);
  for (const above of [3, 30, 31]) {
    previewing.want({ above });
    clock.tick(300);
  }
  assert.deepEqual(asked, []);
  clock.tick(100);
  assert.deepEqual([asked.map(([above]) => above), told], [[31], [[31, null]]]);
  previewing.want({ above: 32 });
  clock.tick(400);
  previewing.want({ above: 33 });
  clock.tick(400);
  assert.equal(asked.length, 1);
  asked[0][1]("old");
  await settle();
  assert.deepEqual(asked.map(([above]) => above), [31, 33]);
  asked[1][1]("new");
  await settle();
  assert.deepEqual(told, [[31, null], [33, null], [33, "new"]]);
});

test("the same rule is not asked for twice, unless the first time failed", async (context) => {
  const clock = stopClock(context);
  let asked = 0;
  const errors = [];
  const ask = async () => {
    asked += 1;
    if (asked === 1) throw new Error("busy");
    return {};
  };
  const previewing = new Previewing(ask, (rule, answer, error) => error && errors.push(error.message), 400);
  for (let n = 0; n < 3; n++) {
    previewing.want({ above: 3 });
    clock.tick(400);
    await settle();
  }
  assert.deepEqual([asked, errors], [2, ["busy"]]);
});

test("nothing is asked for while a blank is empty", (context) => {
  const clock = stopClock(context);
  let asked = 0;
  const previewing = new Previewing(async () => (asked += 1), () => {}, 400);
  previewing.want({ above: 3 });
  previewing.want(null);
  clock.tick(1000);
  assert.equal(asked, 0);
});

test("a preview counts alarms by device, most first", () => {
  const alarm = (id, resolved = "z") => ({ device_id: id, resolved_at: resolved });
  const found = summary({ devices: 9, alarms: [alarm("b"), alarm("a"), alarm("c", null), alarm("c")] });
  assert.deepEqual([found.alarms, found.devices, found.open], [4, 9, 1]);
  assert.deepEqual(found.byDevice.map(([id, alarms]) => [id, alarms.length]), [["c", 2], ["a", 1], ["b", 1]]);
});
