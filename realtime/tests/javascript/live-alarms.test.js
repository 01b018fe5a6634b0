import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { watch, watchAlarms, watchFleet } from "../../static/realtime/live.js";
import { parameters, reconnected, sockets } from "./sockets.js";

const ONE = { id: "1", device_id: "mote-1" };
const fleet = { type: "subscribed", device_id: null };
const device = { type: "subscribed", device_id: "mote-1", last_seq: 3, status: "online" };
let told;
let states;
let stop;

beforeEach(() => {
  sockets.length = 0;
  [told, states] = [[], []];
});
afterEach(() => stop());

const hear = {
  onAlarms: (alarms, open) => told.push(["all", alarms.map(({ id }) => id), open]),
  onAlarm: (event, { id }, open) => told.push([event, id, open]),
  onState: (state) => states.push(state),
};
const frames = [{ type: "alarms", open: 0, alarms: [] }, { type: "alarm", event: "opened", open: 1, alarm: ONE }];
const expected = [["all", [], 0], ["opened", "1", 1]];

test("a device's alarms come beside its readings, and leave its position as it is", async () => {
  stop = watch("mote-1", hear);
  const socket = await reconnected(0);
  socket.says(device, ...frames);
  assert.deepEqual(told, expected);
  socket.close(1006);
  assert.deepEqual(parameters(await reconnected(1)), { after: "3" });
});

test("the fleet's alarms come before the list of its logs", async () => {
  stop = watchFleet(hear);
  const socket = await reconnected(0);
  socket.says(fleet, frames[0]);
  assert.deepEqual(states, ["connecting"]);
  socket.says({ type: "positions", devices: [], more: false }, frames[1]);
  assert.deepEqual([told, states.at(-1)], [expected, "live"]);
});

test("alarms alone need no positions, and come again after a lost connection", async () => {
  stop = watchAlarms(hear);
  const socket = await reconnected(0);
  assert.deepEqual(parameters(socket), { only: "alarms" });
  socket.says(fleet);
  assert.equal(states.at(-1), "connecting");
  socket.says(...frames);
  assert.equal(states.at(-1), "live");
  socket.close(1006);
  const again = await reconnected(1);
  again.says(fleet, { type: "alarms", open: 1, alarms: [ONE] });
  assert.deepEqual(told, [...expected, ["all", ["1"], 1]]);
  assert.deepEqual(again.sent, []);
});
