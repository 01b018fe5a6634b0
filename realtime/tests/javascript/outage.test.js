import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Outage, clock } from "../../static/realtime/outage.js";

const LOADED = Date.UTC(2026, 4, 9, 0, 50);
const LOST = Date.UTC(2026, 4, 9, 0, 57, 8);
let outage;
let changes;

const page = () => ({ stale: false, toggleAttribute(name, on) { this[name] = on; } });

beforeEach(() => {
  changes = [];
  const parts = { connection: { dataset: {}, textContent: "" }, banner: { textContent: "", hidden: true }, page: page() };
  outage = new Outage({ ...parts, onChange: (since) => changes.push(since) }, LOADED);
});

const live = (now) => outage.state("live", undefined, now, now);
const shown = () => ({ stale: outage.page["data-stale"] ?? false, banner: outage.banner.hidden ? "" : outage.banner.textContent });

test("a connection that is lost for seconds is shown with the time of the last word from the server", () => {
  live(LOST - 9000);
  outage.state("disconnected", undefined, LOST, LOST + 15_000);
  assert.deepEqual(shown(), { stale: false, banner: "" });
  outage.check(LOST + 18_000);
  assert.deepEqual(shown(), { stale: false, banner: "" });
  outage.check(LOST + 19_000);
  const banner = "No connection to the server since 00:57. The values below are as of then. Reconnecting …";
  assert.deepEqual(shown(), { stale: true, banner });
  assert.deepEqual(changes, [LOST]);
});

test("a restart of the server is not announced", () => {
  live(LOST);
  outage.state("disconnected", "The server restarts.", LOST, LOST + 1000);
  outage.state("connecting", undefined, LOST, LOST + 1500);
  outage.check(LOST + 4000);
  live(LOST + 4500);
  outage.check(LOST + 60_000);
  assert.deepEqual([shown(), changes], [{ stale: false, banner: "" }, []]);
});

test("every new attempt leaves the time and the word as they are", () => {
  live(LOST);
  for (let n = 0; n < 40; n++) {
    outage.state("disconnected", undefined, LOST, LOST + n * 4000);
    outage.state("connecting", undefined, LOST, LOST + n * 4000 + 2000);
    if (n > 1) assert.equal(outage.connection.textContent, "disconnected");
  }
  assert.deepEqual(changes, [LOST]);
  assert.equal(shown().stale, true);
});

test("a server that answers only with errors does not make the values newer", () => {
  live(LOST);
  for (let n = 0; n < 5; n++) {
    outage.state("disconnected", "The database does not answer.", LOST + n * 60_000, LOST + n * 60_000);
    outage.state("connecting", undefined, LOST + n * 60_000, LOST + n * 60_000 + 5000);
  }
  assert.deepEqual(changes, [LOST]);
  assert.match(shown().banner, /since 00:57\./);
});

test("it is over as soon as the server sends again", () => {
  live(LOST);
  outage.state("disconnected", undefined, LOST, LOST);
  outage.check(LOST + 165_000);
  outage.state("catching up", undefined, LOST + 166_000, LOST + 166_000);
  assert.deepEqual([shown(), changes], [{ stale: false, banner: "" }, [LOST, null]]);
  assert.deepEqual([outage.connection.textContent, outage.connection.dataset.state], ["catching up", "catching up"]);
});

test("a server that never answered is lost since the page was loaded", () => {
  outage.state("connecting", undefined, null, LOADED);
  outage.check(LOADED + 5000);
  assert.deepEqual(changes, [LOADED]);
  assert.match(shown().banner, /since 00:50\./);
});

test("what the server said before it closed is shown until the next loss", () => {
  live(LOST);
  outage.state("disconnected", "The database does not answer.", LOST, LOST);
  outage.state("connecting", undefined, LOST, LOST + 5000);
  assert.match(shown().banner, /as of then\. The database does not answer\. Reconnecting …$/);
});

test("who is refused hears why at once, and that nothing is new from now on", () => {
  live(LOST);
  outage.state("refused", "This account may not watch.", LOST, LOST);
  const banner = "This account may not watch. The connection to the server ended at 00:57. The values below are as of then.";
  assert.deepEqual(shown(), { stale: true, banner });
  assert.equal(outage.connection.textContent, "refused");
});

test("a connection has no word in common with a device", () => {
  const words = new Set();
  for (const name of ["connecting", "disconnected", "refused", "catching up", "live"]) {
    outage.state(name, undefined, LOST, LOST);
    words.add(outage.connection.textContent);
  }
  for (const status of ["online", "late", "offline", "never", "deactivated"]) assert.ok(!words.has(status));
});

test("a moment is shown with its day only if that is not today", () => {
  assert.equal(clock(LOST, LOST + 1000), "00:57");
  assert.match(clock(LOST - 86_400_000, LOST), /^8 May,? (at )?00:57$/);
  assert.equal(clock(Date.UTC(2025, 10, 28), LOST), "28 Nov 2025");
});
