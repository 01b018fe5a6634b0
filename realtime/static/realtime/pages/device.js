// The page of one device: charts over any period, live at the right edge, latest values, recent readings.

import { askOpen, keepAsking } from "../bell.js";
import "../connect.js";
import { deviceMute, mutableWithin, tagMute } from "../alarms/mute.js";
import { MuteControl } from "../alarms/mute_control.js";
import { DeviceAlarms } from "../device/alarms.js";
import { bandsOf, linesOf } from "../device/marks.js";
import { between } from "../device/between.js";
import { Folding } from "../device/folding.js";
import { Panel } from "../device/panel.js";
import { Period, RANGES } from "../device/period.js";
import { Recent } from "../device/recent.js";
import { load } from "../device/series.js";
import { localMoment, utc, whole } from "../format.js";
import { watch } from "../live.js";
import { Catalogue } from "../metrics.js";
import { Outage, clock } from "../outage.js";
import { plural } from "../plural.js";
import { keepFresh } from "../refused.js";
import { showStatus } from "../status.js";
import { fixTime, setTime } from "../times.js";

const RELOAD_SECONDS = [5, 60]; // shortest and longest interval for loading again; in between, the bucket's length
const METRICS_ASKED_MAX = 35; // the server's limit of `metrics` (readings/history/parameters.py)
const NOT_METRICS = new Set(["id", "seq", "timestamp"]);

const device = JSON.parse(document.getElementById("device").textContent);
const element = (id) => document.getElementById(id);
const panels = new Map();
const catalogue = new Catalogue(device.metrics);
const folding = new Folding(() => catalogue.inOrder(new Set([...Object.keys(device.latest), ...panels.keys()])));
const recent = new Recent(element("recent"), catalogue);
const period = new Period(periodChanged, { began: device.began_at && Date.parse(device.began_at) / 1000, last: newestOf(device.recent) });
const interval = { told: device.report_interval, usual: device.interval };
let loaded = null;
let loading = null;
let asked = 0;
let loadedAt = null;
let failed = false;
let seen = device.last_seen_at;
let status = device.status;
let held = null; // readings that arrived during a pause; null: not paused

const outage = new Outage({
  connection: element("connection"), banner: element("notice"), page: element("content"), onChange: outageChanged,
});

// Only for accounts that may see alarms.
const alarms = device.alarms
  ? new DeviceAlarms({
      deviceId: device.device_id,
      page: { catalogue, links: false, acknowledges: device.alarms.acknowledges, rules: device.alarms.rules },
      parts: { box: element("alarms"), more: element("more-alarms"), none: element("no-alarms"), failure: element("alarms-failure") },
      onChange: draw,
    })
  : null;

function showMutes({ acknowledges, limit, muted_until: until, muted_tags: tags }) {
  const [own, ofTags] = [deviceMute(device.device_id), Object.entries(tags).map(([name, until]) => [name, tagMute(name), until])];
  const targets = [["this device", own], ...ofTags.map(([name, address]) => [`the tag ${name}`, address])];
  const mutes = new Map([[own, until], ...ofTags.map(([, address, until]) => [address, until])]);
  const control = new MuteControl(element("mutes"), { allowed: acknowledges ? mutableWithin(limit) : () => false });
  control.show(targets, mutes);
  control.keepFresh();
}

// The time of the newest of these readings, in seconds; null without any.
function newestOf(readings) {
  return readings.length ? Math.max(...readings.map(({ timestamp }) => Date.parse(timestamp))) / 1000 : null;
}

const inOrder = () => [...panels.keys()];

function panelOf(metric) {
  if (panels.has(metric)) return panels.get(metric);
  const actions = {
    onZoom: (start, end) => period.zoom(start, end),
    onReset: () => period.choose(period.name),
    onFold: (open) => fold(metric, open),
    marks: (name) => (alarms ? { bands: bandsOf(alarms.all, name), lines: linesOf(device.alarms.rules, name) } : null),
  };
  const panel = new Panel(element("panel"), metric, catalogue, actions);
  const behind = inOrder().find((name) => catalogue.compare(name, metric) > 0);
  element("panels").insertBefore(panel.root, behind ? panels.get(behind).root : null);
  const entries = [...panels, [metric, panel]].sort(([a], [b]) => catalogue.compare(a, b));
  panels.clear();
  for (const [name, entry] of entries) panels.set(name, entry);
  panel.setOpen(folding.isOpen(metric));
  if (Object.hasOwn(device.latest, metric)) panel.latest(device.latest[metric], device.latest[metric].value);
  return panel;
}

function fold(metric, open) {
  folding.set(metric, open);
  panels.get(metric).setOpen(open);
  if (open) reload();
}

// The metrics to load buckets of; null: all.
function charted() {
  const open = [...panels.values()].filter((panel) => panel.isOpen).map((panel) => panel.metric);
  return panels.size === 0 || open.length === panels.size || open.length > METRICS_ASKED_MAX ? null : open;
}

async function reload() {
  loading?.abort();
  const current = (loading = new AbortController());
  asked = Date.now();
  const width = element("panels").clientWidth;
  try {
    const found = await load(device.device_id, period.bounds(), Math.max(60, Math.min(700, Math.round(width / 2))), charted(), current.signal);
    if (current.signal.aborted) return;
    loaded = found;
    loadedAt = Date.now();
    for (const metric of Object.keys(found.totals)) panelOf(metric);
    for (const [metric, panel] of panels) panel.statistics(found.totals[metric]);
    fail("");
    const { start, end } = period.bounds();
    describe(start, end);
  } catch (error) {
    if (current.signal.aborted) return;
    fail(error instanceof TypeError ? "The server cannot be reached." : error.message);
  }
  loading = null;
  element("panels").removeAttribute("aria-busy");
  draw();
}

function fail(message) {
  failed = message !== "";
  const old = loadedAt === null ? "" : `The charts show what was loaded at ${clock(loadedAt)}.`;
  element("failure").hidden = !failed;
  element("failure").textContent = failed ? ["The charts could not be loaded.", message, old, "Trying again …"].filter(Boolean).join(" ") : "";
  element("panels").toggleAttribute("data-stale", failed);
}

function draw() {
  if (!loaded) return;
  const bounds = period.bounds();
  for (const panel of panels.values()) panel.draw(loaded, bounds, interval);
}

function periodChanged() {
  const { start, end } = period.bounds();
  for (const button of document.querySelectorAll("[data-range]")) {
    button.setAttribute("aria-pressed", String(period.following && button.dataset.range === period.name));
  }
  element("later").disabled = period.following;
  describe(start, end);
  element("panels").setAttribute("aria-busy", "true");
  alarms?.loadWindow({ start, end });
  reload();
}

function onAlarms() {
  alarms?.begin();
  askOpen();
}

function onAlarm(event, alarm) {
  alarms?.change(alarm);
  askOpen();
  if (event !== "acknowledged") element("told").textContent = `Alarm ${event}: ${alarm.rule.name}`;
}

function describe(start, end) {
  element("window").textContent = `${localMoment(start * 1000)} – ${period.following && outage.since === null ? "now" : localMoment(end * 1000)}`;
  element("window").title = `${utc(start * 1000)} to ${utc(end * 1000)}`;
  const window = { start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString(), format: "csv" };
  const log = `/api/v1/devices/${encodeURIComponent(device.device_id)}`;
  element("csv").href = `${log}/history?${new URLSearchParams({ ...window, order: "asc" })}`;
  element("csv-buckets").href = `${log}/aggregate?${new URLSearchParams({ ...window, bucket: loaded?.bucket ?? "auto" })}`;
}

function onReadings(readings, lastSeenAt) {
  if (held) {
    held.push(...readings);
    element("pause").textContent = `Resume · ${whole(held.length)} new`;
    return;
  }
  for (const { timestamp } of readings) period.include(Date.parse(timestamp) / 1000);
  begin();
  const touched = new Set();
  for (const reading of readings) {
    const moment = Date.parse(reading.timestamp);
    for (const [metric, value] of Object.entries(reading)) {
      if (NOT_METRICS.has(metric)) continue;
      const panel = panelOf(metric);
      panel.latest(reading, value, lastSeenAt);
      panel.add(moment / 1000, value);
      touched.add(panel);
    }
  }
  if (loaded && period.following) for (const panel of touched) panel.draw(loaded, period.bounds(), interval);
  if (loaded) for (const panel of touched) panel.highlight();
  recent.add(readings, inOrder());
  const length = readings.at(-1).seq;
  element("last-seq").textContent = whole(length);
  element("last-seq-noun").textContent = plural(length, "reading", "readings");
}

// Replaces the waiting box with the charts, at the first reading.
function begin() {
  if (element("readings").hidden === false) return;
  element("empty").hidden = true;
  element("readings").hidden = false;
  element("arrived").hidden = false;
  periodChanged();
}

function onStatus(told) {
  status = told;
  showDevice();
}

function onSeen(lastSeenAt) {
  seen = lastSeenAt;
  showDevice();
}

function showDevice() {
  showStatus(element("status"), status, outage.since);
  element("last-seen").parentElement.hidden = !seen;
  if (!seen) return;
  const moment = Date.parse(seen);
  if (outage.since === null) setTime(element("last-seen"), moment);
  else fixTime(element("last-seen"), moment, clock(moment));
}

function outageChanged(since) {
  showDevice();
  if (element("readings").hidden) return;
  const { start, end } = period.bounds();
  describe(start, end);
  if (since === null) reload();
}

function tick() {
  outage.check();
  if (held || document.hidden || outage.since !== null || element("readings").hidden) return;
  if (!period.following && !failed) return;
  if (loaded && period.following) {
    const bounds = period.bounds();
    for (const panel of panels.values()) panel.move(bounds);
    describe(bounds.start, bounds.end);
  }
  const every = Math.min(Math.max(loaded?.bucketSeconds ?? 0, RELOAD_SECONDS[0]), RELOAD_SECONDS[1]);
  if (!loading && Date.now() - asked > every * 1000) reload();
}

function pause() {
  const waiting = held;
  held = held ? null : [];
  element("pause").setAttribute("aria-pressed", String(held !== null));
  element("pause").textContent = "Pause";
  if (waiting?.length) onReadings(waiting);
}

for (const name of Object.keys(RANGES)) {
  document.querySelector(`[data-range="${name}"]`).addEventListener("click", () => period.choose(name));
}
element("earlier").addEventListener("click", () => period.shift(-0.5));
element("later").addEventListener("click", () => period.shift(0.5));
element("closer").addEventListener("click", () => period.scale(0.5));
element("farther").addEventListener("click", () => period.scale(2));
element("pause").addEventListener("click", pause);
between(element("between"), period);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach((panel) => panel.chart.recolor()));
setInterval(tick, 1000);
keepAsking();
if (device.alarms) showMutes(device.alarms);
if (element("refused")) keepFresh(element("refused")); // only for accounts that may view refused posts
for (const metric of Object.keys(device.latest)) panelOf(metric);
for (const metric of device.recent.flatMap(Object.keys)) if (!NOT_METRICS.has(metric)) panelOf(metric);
recent.add(device.recent, inOrder());
if (device.last_seq) periodChanged();
watch(device.device_id, {
  after: device.last_seq, log: device.log, onReadings, onStatus, onSeen, onAlarms, onAlarm, onState: (...state) => outage.state(...state),
});
