// The page of all alarms: the open ones, live, and below them the resolved ones.

import { AcknowledgeAll } from "../alarms/acknowledge_all.js";
import { Choice } from "../alarms/choice.js";
import { Known } from "../alarms/known.js";
import { AlarmList } from "../alarms/list.js";
import { mutableWithin, mutedText, tagMute } from "../alarms/mute.js";
import { Mutes } from "../alarms/mutes.js";
import { ask } from "../alarms/requests.js";
import { TagChips } from "../alarms/tag_chips.js";
import { showOpen } from "../bell.js";
import { whole } from "../format.js";
import { watchAlarms } from "../live.js";
import { Catalogue } from "../metrics.js";
import { Outage } from "../outage.js";

const OPEN_LIMIT = 100;
const RESOLVED_LIMIT = 30;
const AGAIN_MS = 1000; // between two requests for a list, when many changes come

const page = JSON.parse(document.getElementById("alarms").textContent);
const element = (id) => document.getElementById(id);
const choice = new Choice();
const chips = new TagChips(element("tags"), page.tags, chooseTag);
const outage = new Outage({ connection: element("connection"), banner: element("notice"), page: element("content") });
const texts = new Map(page.rules.map(({ id, text }) => [id, text]));
const mutes = new Mutes(page);
const tagsOf = ({ device_id: id }) => [
  ...new Set([...(mutes.tagsOf.get(id) ?? []).filter((tag) => mutedText(mutes.until.get(tagMute(tag)))), ...[...choice.tags].map(([key, name]) => chips.all.get(key)?.name ?? name)]),
];
const options = { page: { ...page, catalogue: new Catalogue(page.catalogue) }, texts, mutes: mutes.until, tagsOf, mutable: mutableWithin(page.limit), onAcknowledge: acknowledge };
const parts = {
  open: { known: new Known(), list: new AlarmList(element("open"), options), limit: OPEN_LIMIT },
  resolved: { known: new Known(), list: new AlarmList(element("resolved"), options), limit: RESOLVED_LIMIT },
};
const all = page.acknowledges ? new AcknowledgeAll(element("all-open"), { alarms: () => parts.open.known.alarms, onAcknowledge: acknowledge }) : null;
let total = null; // open alarms without filters

async function load(state) {
  const part = parts[state];
  if (part.loading) {
    part.again = true;
    return;
  }
  part.loading = true;
  const asked = choice.address(state, part.limit);
  try {
    const found = await ask("GET", asked);
    if (asked === choice.address(state, part.limit)) {
      part.known.begin(found);
      part.loaded = true;
    }
    fail(state, "");
  } catch (error) {
    fail(state, error.message);
    setTimeout(() => load(state), 5 * AGAIN_MS);
  }
  draw();
  setTimeout(() => {
    part.loading = false;
    if (part.again || asked !== choice.address(state, part.limit)) {
      part.again = false;
      load(state);
    }
  }, asked === choice.address(state, part.limit) ? AGAIN_MS : 0);
}

function fail(state, message) {
  parts[state].failure = message;
  const failures = [...new Set(Object.values(parts).map(({ failure }) => failure).filter(Boolean))];
  element("failure").hidden = failures.length === 0;
  element("failure").textContent = failures.length ? `The alarms could not be loaded. ${failures.join(" ")} Trying again …` : "";
}

async function loadMore(state) {
  const part = parts[state];
  const button = element(`more-${state}`);
  button.disabled = true;
  try {
    const address = new URL(part.known.next);
    part.known.add(await ask("GET", address.pathname + address.search));
    fail(state, "");
  } catch (error) {
    fail(state, error.message);
  }
  button.disabled = false;
  draw();
}

async function acknowledge(alarm, comment) {
  const changed = await ask("POST", `/api/v1/alarms/${alarm.id}/acknowledge`, { body: comment ? { comment } : {} });
  if (parts.open.known.has(changed.id)) parts.open.known.put(changed);
  return changed;
}

function draw() {
  for (const [state, { known, list, loaded }] of Object.entries(parts)) {
    list.show(known.alarms);
    element(`more-${state}`).hidden = known.next === null;
    element(state).setAttribute("aria-busy", String(!loaded));
    element(`none-${state}`).hidden = !loaded || known.alarms.length > 0 || (state === "open" && choice.any);
  }
  const { known, loaded } = parts.open;
  element("no-match").hidden = !loaded || known.alarms.length > 0 || !choice.any;
  const count = choice.any ? `${whole(known.alarms.length)}${known.next ? "+" : ""}` : whole(total ?? known.alarms.length);
  element("open-count").textContent = loaded ? count : "";
  all?.draw();
  element("history").hidden = !parts.resolved.loaded;
}

function onAlarms(alarms, open) {
  count(open);
  for (const state of Object.keys(parts)) load(state);
}

function onAlarm(event, alarm, open) {
  count(open);
  const shown = choice.shows(alarm);
  if (shown === null) {
    for (const state of Object.keys(parts)) load(state);
    return;
  }
  if (!shown) return;
  if (alarm.state === "open") parts.open.known.put(alarm);
  else {
    parts.open.known.remove(alarm.id);
    parts.resolved.known.put(alarm);
  }
  say(event, alarm);
  draw();
}

// For screen readers; the list itself is no live region, because they would read all of it.
function say(event, alarm) {
  if (event !== "acknowledged") element("told").textContent = `${event}: ${alarm.rule.name}, ${alarm.device_name || alarm.device_id}`;
}

function count(open) {
  total = open;
  showOpen(open);
  draw();
}

function choose(key, value) {
  choice.set(key, value);
  showChoice();
  reload();
}

function chooseTag(tag) {
  choice.toggleTag(tag);
  showChoice();
  reload();
}

function reload() {
  for (const [state, part] of Object.entries(parts)) {
    part.loaded = false;
    load(state);
  }
}

function showChoice() {
  for (const button of document.querySelectorAll("[data-severity-filter]")) {
    button.setAttribute("aria-pressed", String(button.dataset.severityFilter === choice.severity));
  }
  element("rule").value = choice.rule;
  chips.show(choice.tags);
  element("device").hidden = !choice.device;
  element("device").firstElementChild.textContent = choice.device;
}

for (const { id, name } of page.rules) element("rule").add(new Option(name, id));
element("rule").parentElement.hidden = page.rules.length === 0;
if (choice.rule && !page.rules.some(({ id }) => String(id) === choice.rule)) element("rule").add(new Option(`Rule ${choice.rule}`, choice.rule));
for (const button of document.querySelectorAll("[data-severity-filter]")) {
  button.addEventListener("click", () => choose("severity", button.dataset.severityFilter));
}
element("rule").addEventListener("change", () => choose("rule", element("rule").value));
element("device").addEventListener("click", () => choose("device", ""));
element("clear").addEventListener("click", () => {
  choice.clear();
  showChoice();
  reload();
});
for (const state of Object.keys(parts)) element(`more-${state}`).addEventListener("click", () => loadMore(state));
showChoice();
for (const state of Object.keys(parts)) load(state);
setInterval(() => {
  outage.check();
  if (!document.hidden) draw();
}, 1000);
mutes.keepFresh();
watchAlarms({ onAlarms, onAlarm, onState: (...state) => outage.state(...state) });
