// A device's new key: copy it, put it into the device, and wait for its reading over the socket.

import "../connect.js";
import { copy } from "../copying.js";
import { watch } from "../live.js";
import { Catalogue } from "../metrics.js";
import { keepFresh } from "../refused.js";
import "../times.js";

const TEST_READING = { temperature: 21.5 };
const NOT_METRICS = new Set(["id", "seq", "timestamp"]);

const element = (id) => document.getElementById(id);
const catalogue = new Catalogue(JSON.parse(element("catalogue").textContent));
const { deviceId, log, lastSeq } = element("arrival").dataset;
const key = element("api-key").textContent;
const refused = element("refused"); // only for accounts that may view refused posts
let arrived = false;

function onReadings(readings) {
  const { seq, ...reading } = readings.at(-1);
  const names = catalogue.inOrder(Object.keys(reading).filter((name) => !NOT_METRICS.has(name)));
  arrived = true;
  element("arrival").classList.add("green");
  element("arrival-word").lastElementChild.textContent = seq === 1 ? "The first reading has arrived." : "A reading has arrived.";
  say(`#${seq}: ${names.map((name) => `${catalogue.label(name)} ${catalogue.text(name, reading[name])}`).join(", ")}`);
  element("watch")?.classList.add("primary");
  if (refused) refused.hidden = true;
}

function onState(state, detail) {
  if (arrived) return;
  if (state === "disconnected") say("The connection to the server was lost. Trying again…");
  else if (state === "refused") say(detail ?? "This account may not watch this device.");
  else element("arrival-detail").hidden = true;
}

function say(text) {
  element("arrival-detail").textContent = text;
  element("arrival-detail").hidden = false;
}

async function sendTestReading() {
  element("test-reading").disabled = true;
  try {
    const headers = { "X-API-Key": key, "Content-Type": "application/json" };
    const response = await fetch("/api/v1/ingest", { method: "POST", headers, body: JSON.stringify(TEST_READING), credentials: "omit" });
    if (!response.ok) say((await response.json()).detail);
  } catch {
    say("The server cannot be reached.");
  }
  element("test-reading").disabled = false;
}

element("copy-key").addEventListener("click", (event) => copy(event.currentTarget, key));
element("test-reading").addEventListener("click", sendTestReading);
for (const id of ["copy-key", "test-reading"]) element(id).disabled = false; // enabled after their listeners are added
watch(deviceId, { after: Number(lastSeq), log, onReadings, onState });
if (refused) {
  keepFresh(refused, (html) => {
    refused.hidden = arrived || !html.includes("<table");
  });
}
