import assert from "node:assert/strict";
import { test } from "node:test";

import { plural } from "../../static/realtime/plural.js";

test("only one is singular", () => {
  assert.deepEqual([0, 1, 2, 1001].map((number) => plural(number, "reading", "readings")), ["readings", "reading", "readings", "readings"]);
});
