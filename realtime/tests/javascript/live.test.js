import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { watch } from "../../static/realtime/live.js";
import { moment, parameters, pauses, reading, reconnected, sockets } from "./sockets.js";

const subscribed = (last_seq, more = {}) => ({ type: "subscribed", device_id: "mote-1", last_seq, log: "log-1", status: "online", ...more });
const readings = (...seqs) => ({ type: "readings", device_id: "mote-1", readings: seqs.map(reading) });

let seen;
let states;
let statuses;
let stop;

beforeEach(() => {
  sockets.length = pauses.length = 0;
  [seen, states, statuses] = [[], [], []];
});
afterEach(() => stop());

async function follow(options = {}) {
  stop = watch("mote-1", {
    onReadings: (some) => seen.push(...some.map(({ seq }) => seq)),
    onStatus: (status) => statuses.push(status),
    onState: (state, detail) => states.push(detail ? `${state}: ${detail}` : state),
    ...options,
  });
  return reconnected(0);
}

test("a watcher without a position gets what comes from now on", async () => {
  const socket = await follow();
  assert.equal(String(socket.address), "wss://telemetry.example.org/api/v1/realtime/subscribe/mote-1");
  socket.says(subscribed(7), readings(8), readings(9, 10));
  assert.deepEqual(seen, [8, 9, 10]);
  assert.deepEqual(states, ["connecting", "live"]);
});

test("a watcher with a position is catching up until it has the last reading", async () => {
  const socket = await follow({ after: 2 });
  assert.deepEqual(parameters(socket), { after: "2" });
  socket.says(subscribed(5), readings(3));
  assert.deepEqual(states, ["connecting", "catching up"]);
  socket.says(readings(4, 5));
  assert.equal(states.at(-1), "live");
  assert.deepEqual(seen, [3, 4, 5]);
});

test("a reading that comes twice is given once", async () => {
  const socket = await follow({ after: 0 });
  socket.says(subscribed(3), readings(1, 2), readings(2, 3), readings(1));
  assert.deepEqual(seen, [1, 2, 3]);
});

test("a hole is not given: the log is asked again behind the last reading", async () => {
  const socket = await follow({ after: 0 });
  socket.says(subscribed(1), readings(1), readings(3));
  assert.deepEqual(seen, [1]);
  const again = await reconnected(1);
  assert.deepEqual(parameters(again), { after: "1", log: "log-1" });
  again.says(subscribed(3), readings(2, 3));
  assert.deepEqual(seen, [1, 2, 3]);
});

test("what retention has deleted is no hole", async () => {
  const socket = await follow({ after: 0 });
  socket.says(subscribed(9), { type: "deleted", device_id: "mote-1", first_seq: 1, last_seq: 8 }, readings(9));
  assert.deepEqual(seen, [9]);
  assert.equal(states.at(-1), "live");
});

test("a deletion further on than the position does not skip what lies between", async () => {
  const socket = await follow({ after: 0 });
  socket.says(subscribed(9), { type: "deleted", device_id: "mote-1", first_seq: 5, last_seq: 8 }, readings(1));
  assert.deepEqual(seen, [1]);
});

test("another log of the same device is given from its first reading", async () => {
  const socket = await follow({ after: 5, log: "log-1" });
  assert.deepEqual(parameters(socket), { after: "5", log: "log-1" });
  socket.says(subscribed(7, { log: "log-2" }), readings(1, 2));
  assert.deepEqual(seen, [1, 2]);
});

test("a log that has become shorter goes on at its end", async () => {
  const socket = await follow({ after: 90 });
  socket.says(subscribed(40), readings(41));
  assert.deepEqual(seen, [41]);
});

test("a status is given when it is known and when it has changed", async () => {
  const socket = await follow();
  const status = (text) => ({ type: "status", device_id: "mote-1", status: text });
  socket.says(subscribed(0), status("online"), status("late"), status("late"));
  assert.deepEqual(statuses, ["online", "late"]);
});

test("the time of receipt is given when it is known and when it has changed", async () => {
  const told = [];
  const fresh = [];
  const socket = await follow({
    after: 3,
    onSeen: (lastSeenAt) => told.push(lastSeenAt),
    onReadings: (some, lastSeenAt) => fresh.push([some.map(({ seq }) => seq).join(), lastSeenAt]),
  });
  const [one, two, three] = ["2026-05-09T12:00:01Z", "2026-05-09T12:00:02Z", "2026-05-09T12:00:03Z"];
  socket.says(subscribed(5, { last_seen_at: one }), readings(4, 5), { ...readings(6), last_seen_at: two });
  socket.says({ type: "status", device_id: "mote-1", status: "online", last_seen_at: two }, readings(7));
  socket.says({ type: "status", device_id: "mote-1", status: "online", last_seen_at: three });
  assert.deepEqual(told, [one, two, three]);
  assert.deepEqual(fresh, [["4,5", null], ["6", two], ["7", null]]);
  assert.deepEqual(statuses, ["online"]);
});

test("a device that was never heard from is said to be so", async () => {
  const told = [];
  const socket = await follow({ onSeen: (lastSeenAt) => told.push(lastSeenAt) });
  socket.says(subscribed(2, { status: "never", last_seen_at: null }), readings(3));
  assert.deepEqual([told, statuses], [[null], ["never"]]);
});

test("a state comes with the time of the last frame", async (context) => {
  let now = 1000;
  context.mock.method(Date, "now", () => now);
  const heard = [];
  const socket = await follow({ onState: (state, detail, heardAt) => heard.push([state, heardAt]) });
  now = 2000;
  socket.says(subscribed(0));
  now = 3000;
  socket.says({ type: "pong" });
  now = 9000;
  socket.close(1006);
  assert.deepEqual(heard, [["connecting", null], ["live", 2000], ["disconnected", 3000]]);
});

test("a watcher that is refused for good hears why, and does not try again", async () => {
  const socket = await follow();
  socket.says({ type: "error", code: "not_found", detail: "There is no such device." });
  socket.close(4404);
  assert.deepEqual(states, ["connecting", "refused: There is no such device."]);
  await moment();
  assert.equal(sockets.length, 1);
  assert.deepEqual(pauses, []);
});

test("a connection that is lost is opened again within half a second, then after longer and longer pauses", async () => {
  const socket = await follow({ after: 0 });
  socket.says(subscribed(1), readings(1));
  socket.close(1006);
  assert.equal(states.at(-1), "disconnected");
  for (let opened = 1; opened < 5; opened++) (await reconnected(opened)).close(1006);
  assert.equal(pauses.length, 5);
  pauses.forEach((pause, n) => assert.ok(pause >= 250 * 2 ** n && pause <= 500 * 2 ** n, `${n}: ${pause} ms`));
});

test("a frame from the server makes the pauses short again", async () => {
  const socket = await follow({ after: 0 });
  socket.close(1006);
  (await reconnected(1)).close(1006);
  const third = await reconnected(2);
  third.says(subscribed(0));
  third.close(1006);
  assert.ok(pauses.at(-1) <= 500);
});

test("each connection brings a ticket of its own", async () => {
  let tickets = 0;
  const socket = await follow({ base: "http://192.0.2.1:8000", ticket: async () => `ticket-${++tickets}` });
  assert.equal(String(socket.address), "ws://192.0.2.1:8000/api/v1/realtime/subscribe/mote-1?ticket=ticket-1");
  socket.close(1006);
  assert.deepEqual(parameters(await reconnected(1)), { ticket: "ticket-2" });
});
