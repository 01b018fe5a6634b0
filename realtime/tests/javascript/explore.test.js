import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { Names, tagItem } from "../../static/realtime/explore/names.js";

const asked = [];
let answer;

globalThis.fetch = async (address) => {
  asked.push(decodeURIComponent(address));
  return { ok: answer !== null, status: 503, json: async () => answer };
};
afterEach(() => (asked.length = 0));

test("a search offers tags first, then devices, without the chosen ones", async () => {
  answer = { devices: [["bed-1", "North bed"], ["bed-2", ""], ["bed-3", "Door"]], tags: [["roof", 1], ["beds", 2]], more: true };
  const names = new Names([["bed-3", "Door"]]);
  const { items, more } = await names.search("bed", { devices: ["bed-3"], tags: ["roof"] });
  assert.deepEqual(asked, ["/explore/-/devices?search=bed"]);
  assert.deepEqual(items, [
    tagItem("beds", 2),
    { id: "bed-1", label: "North bed", small: "bed-1", kind: "" },
    { id: "bed-2", label: "bed-2", small: "", kind: "" },
  ]);
  assert.equal(more, true);
  assert.equal(tagItem("roof", 1).small, "tag, 1 device");
});

test("names of devices that a tag brings are asked for once, and a failure leaves their ids", async () => {
  const names = new Names([["a", "Attic"]]);
  answer = null;
  assert.equal(await names.learnOf(["a", "b"]), false);
  assert.deepEqual([names.of("a"), names.of("b")], ["Attic", "b"]);
  answer = { devices: [["b", "Barn"]], tags: [], more: false };
  assert.equal(await names.learnOf(["a", "b"]), true);
  assert.equal(names.of("b"), "Barn");
  assert.equal(await names.learnOf(["a", "b"]), false);
  assert.deepEqual(asked, ["/explore/-/devices?device_id=b", "/explore/-/devices?device_id=b"]);
});
