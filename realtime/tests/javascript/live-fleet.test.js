import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { watchFleet } from "../../static/realtime/live.js";
import { parameters, reading, reconnected, sockets } from "./sockets.js";

const subscribed = { type: "subscribed", device_id: null };
const log = (id, last_seq, more = {}) => ({ device_id: id, last_seq, log: `log-of-${id}`, status: "online", ...more });
const positions = (devices, more = false) => ({ type: "positions", devices, more });
const readings = (id, ...seqs) => ({ type: "readings", device_id: id, readings: seqs.map(reading) });

let seen;
let states;
let stop;

beforeEach(() => {
  sockets.length = 0;
  [seen, states] = [[], []];
});
afterEach(() => stop());

async function follow() {
  stop = watchFleet({
    onReadings: (id, some) => seen.push(...some.map(({ seq }) => `${id} ${seq}`)),
    onState: (state) => states.push(state),
  });
  return reconnected(0);
}

test("the first connection gives what comes from now on", async () => {
  const socket = await follow();
  assert.deepEqual(parameters(socket), {});
  socket.says(subscribed, positions([log("a", 3), log("b", 0)]), readings("a", 4), readings("b", 1));
  assert.deepEqual(seen, ["a 4", "b 1"]);
  assert.equal(states.at(-1), "live");
});

test("it is live only when every part of the list has come", async () => {
  const socket = await follow();
  socket.says(subscribed, positions([log("a", 3)], true));
  assert.equal(states.at(-1), "catching up");
  socket.says(positions([log("b", 3)]));
  assert.equal(states.at(-1), "live");
});

test("a server that only accepts the socket is not connected yet", async () => {
  const socket = await follow();
  socket.says(subscribed, { type: "error", code: "unavailable", detail: "The database does not answer." });
  socket.close(1013);
  assert.deepEqual(states, ["connecting", "disconnected"]);
});

test("it gives when each device was last heard from", async () => {
  const told = [];
  stop = watchFleet({ onSeen: (...seen) => told.push(seen.join(" ")), onReadings: (id, some, lastSeenAt) => told.push(`${id}: ${lastSeenAt}`) });
  const socket = await reconnected(0);
  socket.says(subscribed, positions([log("a", 3, { last_seen_at: "1Z" }), log("b", 8, { last_seen_at: null })]));
  socket.says({ ...readings("a", 4), last_seen_at: "2Z" }, readings("b", 9));
  assert.deepEqual(told, ["a 1Z", "b ", "a 2Z", "a: 2Z", "b: null"]);
});

test("after a lost connection it says where it was, and catches up", async () => {
  const socket = await follow();
  socket.says(subscribed, positions([log("a", 3), log("b", 8)]), readings("a", 4));
  socket.close(1006);
  const again = await reconnected(1);
  assert.deepEqual(parameters(again), { resume: "true" });
  again.says(subscribed);
  const logs = { a: "log-of-a", b: "log-of-b" };
  assert.deepEqual(again.sent, [{ type: "resume", positions: { a: 4, b: 8 }, logs, more: false, others: "all" }]);
  again.says(positions([log("a", 6), log("b", 8)]));
  assert.equal(states.at(-1), "catching up");
  again.says(readings("a", 5, 6));
  assert.equal(states.at(-1), "live");
  assert.deepEqual(seen, ["a 4", "a 5", "a 6"]);
});

test("many positions are sent in parts of 250", async () => {
  const socket = await follow();
  const names = Array.from({ length: 501 }, (_, n) => `device-${n}`);
  socket.says(subscribed, positions(names.map((name) => log(name, 1))));
  socket.close(1006);
  const again = await reconnected(1);
  again.says(subscribed);
  assert.deepEqual(again.sent.map(({ positions: part }) => Object.keys(part).length), [250, 250, 1]);
  assert.deepEqual(again.sent.map(({ more }) => more), [true, true, false]);
});

test("a device that is new since the fleet is known is given from its first reading", async () => {
  const socket = await follow();
  socket.says(subscribed, positions([log("a", 3)]));
  socket.close(1006);
  const again = await reconnected(1);
  again.says(subscribed, positions([log("a", 3), log("new", 2)]), readings("new", 1, 2));
  assert.deepEqual(seen, ["new 1", "new 2"]);
  assert.equal(states.at(-1), "live");
});

test("a device that was registered again is given from its first reading", async () => {
  const socket = await follow();
  socket.says(subscribed, positions([log("a", 30)]));
  socket.close(1006);
  const again = await reconnected(1);
  again.says(subscribed, positions([log("a", 1, { log: "another" })]), readings("a", 1));
  assert.deepEqual(seen, ["a 1"]);
});
