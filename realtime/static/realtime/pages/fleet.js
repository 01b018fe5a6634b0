// The page of the whole fleet: one socket, one list; each frame updates only the visible rows.

import { showOpen } from "../bell.js";
import { Choice, counts, sortOf, viewsOf } from "../fleet/choice.js";
import { Device } from "../fleet/device.js";
import { List } from "../fleet/list.js";
import { Marks } from "../fleet/marks.js";
import { Names } from "../fleet/names.js";
import { Row } from "../fleet/row.js";
import { Sparklines } from "../fleet/sparklines.js";
import { TagPage } from "../fleet/tag_page.js";
import { Tags } from "../fleet/tags.js";
import { whole } from "../format.js";
import { watchFleet } from "../live.js";
import { Catalogue } from "../metrics.js";
import { Outage } from "../outage.js";

const SORT_AGAIN_SECONDS = 5; // by values

const { devices: given, metrics, alarms: givenAlarms, limit, ...tagsOfFleet } = JSON.parse(document.getElementById("fleet").textContent);
const element = (id) => document.getElementById(id);
const catalogue = new Catalogue(metrics);
const devices = new Map(given.map((fields) => [fields[0], new Device(fields)]));
const all = [...devices.values()];
const choice = new Choice();
const names = new Names(named);
const sparklines = new Sparklines((changed) => list.refresh(changed));
const outage = new Outage({
  connection: element("connection"), banner: element("notice"), page: element("content"), onChange: () => list.refresh(list.rows.keys()),
});
const list = new List(element("rows"), () => new Row(catalogue, outage, choice), (visible) => sparklines.want(visible));
const marks = new Marks(marked);
const tags = new Tags(element("tags"), { onChoose: chooseTag, onChange: (devices) => devices.forEach(retagged) });
const tagPage = new TagPage({ title: element("title"), trail: element("trail"), alarms: element("tag-alarms"), mutes: element("tag-mutes"), limit });
const chips = new Map();
const changed = new Set();
let alarmSwitch = null; // only for accounts that may see alarms
let grown = false;
let frame = 0;
let ticks = 0;

function apply() {
  const shown = choice.of(all);
  element("nothing").hidden = shown.length > 0;
  element("table").hidden = shown.length === 0;
  element("table").setAttribute("aria-rowcount", String(shown.length + 1));
  list.set(shown);
}

function chip(status, label) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "action";
  const word = document.createElement("span");
  word.textContent = label;
  if (status) {
    word.className = "status";
    word.dataset.status = status;
  }
  const figure = document.createElement("span");
  figure.className = "figure";
  button.append(word, figure);
  button.addEventListener("click", () => choose(choice.status === status ? "" : status));
  element("chips").append(button);
  chips.set(status, { button, figure });
}

function choose(status) {
  choice.status = status;
  choice.remember();
  showCounts();
  apply();
}

function chooseTag(tag) {
  choice.toggle(tag);
  choice.remember();
  showCounts();
  scrollTo({ top: 0 });
  apply();
}

// The counts of the statuses follow the search and the tags; those of the tags follow the status too.
function showCounts() {
  const narrowed = choice.narrowed(all);
  const found = counts(narrowed);
  tags.show(all, choice.ofStatus(narrowed), choice.tags);
  tagPage.show([...choice.tags].map(([key, name]) => tags.all.get(key)?.name ?? name));
  for (const [status, { button, figure }] of chips) {
    const text = whole(status ? (found[status] ?? 0) : narrowed.length);
    if (figure.textContent !== text) figure.textContent = text;
    button.setAttribute("aria-pressed", String(choice.status === status));
  }
  if (!alarmSwitch) return;
  const text = whole(narrowed.filter((device) => device.alarms).length);
  if (alarmSwitch.lastChild.textContent !== text) alarmSwitch.lastChild.textContent = text;
  alarmSwitch.setAttribute("aria-pressed", String(choice.alarms === "open"));
}

// The switch for devices with open alarms, beside the chips for statuses.
function alarmChip() {
  const [word, figure] = [document.createElement("span"), document.createElement("span")];
  word.textContent = "open alarms";
  word.className = "severity";
  word.dataset.severity = "critical";
  figure.className = "figure";
  alarmSwitch = document.createElement("button");
  alarmSwitch.type = "button";
  alarmSwitch.className = "action";
  alarmSwitch.append(word, figure);
  alarmSwitch.addEventListener("click", () => {
    choice.alarms = choice.alarms ? "" : "open";
    choice.remember();
    showCounts();
    apply();
  });
  element("chips").append(alarmSwitch);
}

function marked(found) {
  const changedOnes = all.filter((device) => device.mark(Object.hasOwn(found, device.id) ? found[device.id] : null));
  tagPage.load();
  if (!changedOnes.length) return;
  list.refresh(changedOnes);
  showCounts();
  if (choice.alarms || choice.sort === "alarms") apply();
}

function onAlarms(alarms, open) {
  showOpen(open);
  marks.ask();
}

function onAlarm(event, alarm, open) {
  showOpen(open);
  if (event !== "acknowledged") marks.ask();
}

function metricsOfAll() {
  return new Set(all.flatMap((device) => [...Object.keys(device.values), ...Object.keys(device.others)]));
}

// The choice of sorts, and the views of what is lowest; again where a metric is new.
function sorts() {
  const found = metricsOfAll();
  if (choice.metric) found.add(choice.metric);
  const metrics = catalogue.inOrder(found);
  const options = [["name", "name"], ["status", "status"], ["seen", "last seen"], ...(givenAlarms ? [["alarms", "open alarms"]] : []), ...metrics.map((metric) => [metric, catalogue.label(metric)])];
  element("sort").replaceChildren(...options.map(([value, label]) => new Option(label, value, false, value === choice.sort)));
  const views = viewsOf(found).map(([view, metric]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "action small";
    button.dataset.metric = metric;
    button.textContent = `Lowest ${view}`;
    button.addEventListener("click", () => (isLowest(metric) ? sortBy("name") : sortBy(metric, "asc")));
    return button;
  });
  element("lowest").replaceChildren(...views);
  element("lowest").hidden = views.length === 0;
  showSort();
}

const isLowest = (metric) => choice.sort === metric && choice.order === "asc";

function sortBy(sort, order) {
  choice.sortBy(sort, order);
  sorted();
}

function sorted() {
  choice.remember();
  showSort();
  apply();
  list.refresh(list.rows.keys());
}

function showSort() {
  const { metric, sort, order } = choice;
  element("sort").value = sort;
  element("order").textContent = `${order === "asc" ? "↑" : "↓"} ${sortOf(sort)[order]}`;
  for (const button of element("lowest").children) button.setAttribute("aria-pressed", String(isLowest(button.dataset.metric)));
  element("table").classList.toggle("by-metric", metric !== null);
  element("metric-head").hidden = metric === null;
  element("metric-name").textContent = metric === null ? "" : catalogue.heading(metric);
  for (const head of document.querySelectorAll("[data-sort]")) {
    const own = head.dataset.sort === "metric" ? metric !== null : head.dataset.sort === sort;
    head.setAttribute("aria-sort", own ? (order === "asc" ? "ascending" : "descending") : "none");
  }
}

// Adds a device that was registered after the page was loaded: first with its id, then with its name.
function newcomer(deviceId) {
  const device = new Device([deviceId, "", true, "never", null, {}, null, null]);
  devices.set(deviceId, device);
  all.push(device);
  grown = true;
  names.want(device);
  return device;
}

function named(device, name, tagNames) {
  device.describe(name);
  tags.name(device, tagNames);
  retagged(device);
}

function retagged(device) {
  grown = true;
  touch(device);
}

function onReadings(deviceId, readings, lastSeenAt) {
  const device = devices.get(deviceId) ?? newcomer(deviceId);
  device.take(readings, lastSeenAt);
  if (readings.some((reading) => Object.keys(reading).some((metric) => !known.has(metric)))) learn(device);
  touch(device);
}

// A metric that no device had before can be sorted by, too.
function learn(device) {
  const before = known.size;
  for (const metric of Object.keys(device.values)) known.add(metric);
  if (known.size > before && document.activeElement !== element("sort")) sorts();
}

function onSeen(deviceId, lastSeenAt) {
  const device = devices.get(deviceId) ?? newcomer(deviceId);
  device.hear(lastSeenAt);
  touch(device);
}

function onStatus(deviceId, status) {
  const device = devices.get(deviceId) ?? newcomer(deviceId);
  device.told = status;
  touch(device);
}

// Draws all changes of one animation frame together.
function touch(device) {
  changed.add(device);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    let moved = false;
    for (const device of changed) moved = device.judge() || moved;
    list.refresh(changed);
    changed.clear();
    if (grown) {
      showCounts();
      apply();
    } else if (moved) statusesChanged();
    grown = false;
  });
}

function statusesChanged() {
  showCounts();
  if (choice.status || choice.sort === "status") apply();
}

function tick() {
  outage.check();
  if (document.hidden) return;
  list.refresh(list.rows.keys());
  // Values move all the time; a list that moves with each of them could not be read.
  if (choice.metric || choice.sort === "seen") {
    if (++ticks % SORT_AGAIN_SECONDS === 0) apply();
  }
  if (outage.since === null) sparklines.want([...list.rows.keys()]);
}

chip("", "All");
for (const status of ["online", "late", "offline", "never"]) chip(status, status);
if (all.some((device) => !device.active)) chip("deactivated", "deactivated");
if (givenAlarms) {
  alarmChip();
  marked(givenAlarms);
}
element("search").value = choice.search;
element("search").addEventListener("input", () => {
  choice.search = element("search").value;
  choice.remember();
  scrollTo({ top: 0 });
  showCounts();
  apply();
});
element("sort").addEventListener("change", () => sortBy(element("sort").value));
element("order").addEventListener("click", () => {
  choice.reverse();
  sorted();
});
for (const head of document.querySelectorAll("[data-sort]")) {
  head.querySelector("button").addEventListener("click", () => {
    const sort = head.dataset.sort === "metric" ? choice.sort : head.dataset.sort;
    if (choice.sort === sort) choice.reverse();
    else choice.sortBy(sort);
    sorted();
  });
}
element("clear").addEventListener("click", () => {
  choice.search = element("search").value = choice.alarms = "";
  choice.tags.clear();
  choose("");
});
tags.take(tagsOfFleet, all);
tags.watch(() => all);
const known = new Set(["id", "seq", "timestamp", ...metricsOfAll()]);
sorts();
showCounts();
apply();
setInterval(tick, 1000);
watchFleet({
  onReadings,
  onStatus,
  onSeen,
  onAlarms,
  onAlarm,
  onState: (...state) => outage.state(...state),
});
