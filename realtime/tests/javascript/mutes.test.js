import assert from "node:assert/strict";
import { test } from "node:test";

import { deviceMute, ruleMute, tagMute } from "../../static/realtime/alarms/mute.js";
import { MuteControl } from "../../static/realtime/alarms/mute_control.js";
import { Mutes } from "../../static/realtime/alarms/mutes.js";
import { Element } from "./dom.js";

const UNTIL = "2099-01-01T00:00:00Z";
const nothing = { muted_rules: [], muted: [], muted_tags: [] };

// Answers requests with the documents by their addresses; `meanwhile` is called before each answer.
function server(documents, meanwhile = () => {}) {
  globalThis.fetch = async (address) => {
    meanwhile();
    return { ok: address in documents, status: address in documents ? 200 : 404, json: async () => documents[address] ?? {} };
  };
}

test("what others mute and unmute is known after the next answer", async () => {
  const mutes = new Mutes({ ...nothing, muted: [["mote-1", UNTIL]] });
  server({ "/alarms/-/mutes": { muted_rules: [[7, UNTIL]], muted: [], muted_tags: [["mote-2", "roof", UNTIL]] } });
  await mutes.refresh();
  assert.deepEqual([...mutes.until.keys()], [ruleMute(7), tagMute("roof")]);
  assert.deepEqual([...mutes.tagsOf], [["mote-2", ["roof"]]]);
});

test("what was muted here while the server answered stays, and so does all if it does not answer", async () => {
  const mutes = new Mutes(nothing);
  server({ "/alarms/-/mutes": nothing }, () => mutes.until.set(ruleMute(7), UNTIL));
  await mutes.refresh();
  server({});
  await mutes.refresh();
  assert.deepEqual([...mutes.until.keys()], [ruleMute(7)]);
});

test("the mutes of a page of one device or tag follow those that others make", async () => {
  globalThis.document = { createElement: () => new Element() };
  const control = new MuteControl(new Element(), { allowed: () => true });
  let drawn = 0;
  control.draw = () => drawn++;
  control.show([["this device", deviceMute("mote-1")], ["the tag roof", tagMute("roof")]], new Map());
  server({ [deviceMute("mote-1")]: { muted_until: UNTIL } });
  await control.refresh();
  await control.refresh();
  assert.deepEqual([...control.mutes], [[deviceMute("mote-1"), UNTIL]]);
  assert.equal(drawn, 2, "once to show it, once because something changed");
});
