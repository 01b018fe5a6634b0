import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Choice, counts } from "../../static/realtime/fleet/choice.js";
import { Device } from "../../static/realtime/fleet/device.js";
import { Tags, chipsOf, keyOf, tally } from "../../static/realtime/fleet/tags.js";

let replaced;

beforeEach(() => {
  replaced = null;
  globalThis.location = "http://localhost/live/";
  globalThis.history = { replaceState: (state, title, address) => (replaced = String(address)) };
  globalThis.document = { createElement: () => ({ addEventListener() {} }) };
});

function fleet(given, status = {}) {
  const devices = Object.keys(given).map((id) => new Device([id, "", true, status[id] ?? "online", null, {}, null, null]));
  const names = [...new Set(Object.values(given).flat())].sort();
  const tags = new Tags(null, {});
  const places = Object.fromEntries(Object.entries(given).map(([id, own]) => [id, own.map((name) => names.indexOf(name))]));
  tags.take({ tags: names.map((name) => [name, "red"]), tags_of: places }, devices);
  return { devices, tags };
}

function choice(query) {
  globalThis.location = `http://localhost/live/?${query}`;
  return new Choice();
}

const ids = (devices) => devices.map(({ id }) => id);
const GREENHOUSES = { a: ["north", "roof"], b: ["north"], c: ["Roof 2"], d: [] };

test("several tags mean the devices that have all of them, in any case of letters", () => {
  const { devices } = fleet(GREENHOUSES);
  assert.deepEqual(ids(choice("tag=north").of(devices)), ["a", "b"]);
  assert.deepEqual(ids(choice("tag=NORTH&tag=roof").of(devices)), ["a"]);
  assert.deepEqual(ids(choice("tag=roof%20%202").of(devices)), ["c"]);
  assert.deepEqual(ids(choice("tag=nothing").of(devices)), []);
  assert.equal(keyOf(" Gewa\u0308chshaus  S\u00fcd"), "gew\u00e4chshaus s\u00fcd");
});

test("the address has the tags", () => {
  const chosen = choice("tag=north&status=late");
  chosen.toggle({ key: "roof 2", name: "Roof 2" });
  chosen.remember();
  assert.equal(replaced, "http://localhost/live/?status=late&tag=north&tag=Roof+2");
  chosen.toggle({ key: "north", name: "north" });
  chosen.remember();
  assert.equal(replaced, "http://localhost/live/?status=late&tag=Roof+2");
});

test("a search finds devices by their tags", () => {
  const { devices } = fleet(GREENHOUSES);
  assert.deepEqual(ids(choice("search=roof").of(devices)), ["a", "c"]);
});

test("the counts of statuses follow search and tags, those of tags the status too", () => {
  const { devices } = fleet(GREENHOUSES, { b: "offline" });
  const chosen = choice("tag=north&status=offline");
  const narrowed = chosen.narrowed(devices);
  assert.deepEqual(counts(narrowed), { online: 1, late: 0, offline: 1, never: 0 });
  assert.deepEqual([...tally(chosen.ofStatus(narrowed))], [["north", 1]]);
});

function chips(number, { chosen = [], counted = () => 1, expanded = false } = {}) {
  const all = new Map([...Array(number).keys()].map((n) => [`t${n}`, { key: `t${n}`, name: `t${n}`, colour: "red" }]));
  const total = new Map([...all.keys()].map((key, n) => [key, n]));
  const counts = new Map([...all.keys()].map((key, n) => [key, counted(n)]));
  return chipsOf({ all, total, counts, chosen: new Map(chosen.map((key) => [key, key])), expanded });
}

test("of 200 tags the most frequent twelve are shown by name, and all of them if somebody asks", () => {
  const { tags, more } = chips(200);
  assert.deepEqual([tags[0].name, tags.at(-1).name, tags.length, more], ["t188", "t199", 12, 188]);
  assert.equal(chips(200, { expanded: true }).tags.length, 200);
});

test("chosen tags come first, also those that no device has or that do not exist", () => {
  const { tags } = chips(3, { chosen: ["t1", "gone"], counted: (n) => (n === 1 ? 0 : 1) });
  assert.deepEqual(tags.map((tag) => tag.name), ["gone", "t1", "t0", "t2"]);
});

test("tags that no shown device has are left out", () => {
  assert.deepEqual(chips(4, { counted: (n) => n % 2 }).tags.map((tag) => tag.name), ["t1", "t3"]);
});

test("when tags are loaded again, only devices whose tags have changed are told", () => {
  const { devices, tags } = fleet(GREENHOUSES);
  const again = { tags: [["north", "red"], ["roof", "red"], ["Roof 2", "red"]], tags_of: { a: [0], b: [0], c: [2], gone: [1] } };
  assert.deepEqual(ids(tags.take(again, devices)), ["a"]);
  assert.deepEqual(ids(tags.take({ ...again, tags: [["north", "blue"], ["roof", "red"], ["Roof 2", "red"]] }, devices)), ["a", "b"]);
  assert.deepEqual(devices[0].tags.map((tag) => tag.colour), ["blue"]);
  assert.deepEqual(ids(tags.take(again, [new Device(["constructor", "", true, "online", null, {}, null, null])])), []);
});

test("a device that was registered meanwhile gets its tags by name", () => {
  const { tags } = fleet(GREENHOUSES);
  const device = new Device(["e", "", true, "never", null, {}, null, null]);
  tags.name(device, ["NORTH", "new"]);
  assert.deepEqual([...device.keys], ["north", "new"]);
  assert.deepEqual(device.tags.map((tag) => tag.colour), ["red", "grey"]);
});
