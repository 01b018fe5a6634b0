// The page that compares devices: any devices, any metrics, any period, one chart for each unit.

import { between } from "../device/between.js";
import { Period, RANGES } from "../device/period.js";
import { Board } from "../explore/board.js";
import { load, metricsOf } from "../explore/comparison.js";
import { Names, tagItem } from "../explore/names.js";
import { MATCHES, Picker, matches } from "../explore/picker.js";
import { DEVICES_MAX, METRICS_MAX, Selection, TAGS_MAX } from "../explore/selection.js";
import { savedViews } from "../explore/views.js";
import { duration, localMoment, utc } from "../format.js";
import { Catalogue } from "../metrics.js";

const RELOAD_SECONDS = [5, 60]; // shortest and longest interval for loading again; in between, the bucket's length

const facts = JSON.parse(document.getElementById("facts").textContent);
const element = (id) => document.getElementById(id);
const catalogue = new Catalogue(facts.metrics);
const names = new Names(facts.devices);
const selection = new Selection(chosen);
const period = new Period(reload, { first: "24h" });
let offered = new Set(); // the metrics that the devices have
let loaded = null;
let loading = null;
let asked = 0;

const board = new Board(element("charts"), {
  template: element("chart"), empty: element("no-values"), catalogue, name: (id) => names.of(id),
  onZoom: (start, end) => period.zoom(start, end), onReset: () => period.choose(period.name),
});
const metricItem = (metric) => ({ id: metric, label: catalogue.heading(metric), small: catalogue.label(metric) === metric ? "" : metric, kind: "" });
const kindOf = ({ kind }) => (kind === "of-tag" ? "tags" : "devices");
const devicePicker = new Picker(element("devices"), {
  chosen: () => [...selection.tags.map((tag) => tagItem(tag)), ...selection.devices.map((id) => names.device(id))],
  find: (text) => names.search(text, selection),
  isFull: () => selection.devices.length >= DEVICES_MAX || selection.tags.length >= TAGS_MAX,
  full: `${DEVICES_MAX} devices and ${TAGS_MAX} tags are the most.`,
  onAdd: (item) => selection.add(kindOf(item), item.id), onRemove: (item) => selection.remove(kindOf(item), item.id),
});
const metricPicker = new Picker(element("metrics"), {
  chosen: () => shownMetrics().map(metricItem),
  find: (text) => {
    const found = matches(catalogue.inOrder(offered).map(metricItem), text, shownMetrics().map(metricItem));
    return { items: found.slice(0, MATCHES), more: Math.max(0, found.length - MATCHES) };
  },
  isFull: () => shownMetrics().length >= METRICS_MAX, full: `${METRICS_MAX} are the most.`, pause: 0,
  onAdd: ({ id }) => chooseMetrics([...shownMetrics(), id]),
  onRemove: ({ id }) => chooseMetrics(shownMetrics().filter((other) => other !== id)),
});

// Without a choice, the first metric that the devices have.
function shownMetrics() {
  return selection.metrics.length ? selection.metrics : catalogue.inOrder(offered).slice(0, 1);
}

function chooseMetrics(metrics) {
  selection.metrics = metrics;
  selection.changed();
}

function chosen() {
  devicePicker.render();
  metricPicker.render();
  reload();
}

async function reload() {
  loading?.abort();
  describe();
  const empty = selection.isEmpty;
  element("nothing").hidden = !empty;
  element("charts").hidden = empty;
  if (empty) return clear();
  const current = (loading = new AbortController());
  asked = Date.now();
  element("charts").setAttribute("aria-busy", "true");
  try {
    const bounds = period.bounds();
    const points = Math.max(60, Math.min(600, Math.round(element("charts").clientWidth / 2)));
    offered = await metricsOf(selection, bounds, current.signal);
    const metrics = shownMetrics();
    const found = metrics.length ? await load(selection, metrics, bounds, points, current.signal) : null;
    if (found) await names.learnOf(found.devices.map(({ id }) => id));
    if (current.signal.aborted) return;
    loaded = found;
    metricPicker.render();
    fail("");
    board.draw(loaded, metrics, bounds);
    element("bands").setAttribute("aria-pressed", String(board.hasBands));
  } catch (error) {
    if (current.signal.aborted) return;
    fail(error instanceof TypeError ? "The server cannot be reached." : error.message);
  }
  loading = null;
  element("charts").removeAttribute("aria-busy");
  describe();
}

function clear() {
  board.clear();
  loaded = null;
  offered = new Set();
  metricPicker.render();
}

function fail(message) {
  element("failure").hidden = message === "";
  element("failure").textContent = message;
}

function describe() {
  const { start, end } = period.bounds();
  for (const button of document.querySelectorAll("[data-range]")) {
    button.setAttribute("aria-pressed", String(period.following && button.dataset.range === period.name));
  }
  element("later").disabled = period.following;
  const width = loaded ? ` · buckets of ${duration(loaded.bucketSeconds)}` : "";
  element("window").textContent = `${localMoment(start * 1000)} – ${period.following ? "now" : localMoment(end * 1000)}${width}`;
  element("window").title = `${utc(start * 1000)} to ${utc(end * 1000)}`;
  const window = [["start", new Date(start * 1000).toISOString()], ["end", new Date(end * 1000).toISOString()], ["format", "csv"]];
  const shown = selection.parameters(shownMetrics());
  element("downloads").hidden = selection.isEmpty;
  const local = element("csv-local").checked ? [["time", "local"], ["tz", Intl.DateTimeFormat().resolvedOptions().timeZone]] : [];
  const files = [
    ["csv", "history", [["shape", "long"], ["order", "asc"]]],
    ["csv-wide", "history", [["shape", "wide"], ["order", "asc"]]],
    ["csv-buckets", "aggregate", [["bucket", loaded?.bucket ?? "auto"]]],
  ];
  for (const [id, path, more] of files) element(id).href = `/api/v1/${path}?${new URLSearchParams([...shown, ...window, ...more, ...local])}`;
}

function tick() {
  if (document.hidden || !period.following || selection.isEmpty || loading) return;
  const every = Math.min(Math.max(loaded?.bucketSeconds ?? 0, RELOAD_SECONDS[0]), RELOAD_SECONDS[1]);
  if (Date.now() - asked > every * 1000) reload();
}

for (const name of Object.keys(RANGES)) {
  document.querySelector(`[data-range="${name}"]`)?.addEventListener("click", () => period.choose(name));
}
element("earlier").addEventListener("click", () => period.shift(-0.5));
element("later").addEventListener("click", () => period.shift(0.5));
element("closer").addEventListener("click", () => period.scale(0.5));
element("farther").addEventListener("click", () => period.scale(2));
element("bands").addEventListener("click", () => {
  board.showBands(!board.hasBands);
  element("bands").setAttribute("aria-pressed", String(board.hasBands));
});
element("full").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else element("charts").requestFullscreen();
});
between(element("between"), period);
element("csv-local").addEventListener("change", describe);
element("downloads").addEventListener("focusout", ({ currentTarget, relatedTarget }) => {
  if (relatedTarget && !currentTarget.contains(relatedTarget)) currentTarget.open = false;
});
element("downloads").addEventListener("keydown", ({ key, currentTarget }) => key === "Escape" && (currentTarget.open = false));
savedViews(element("views"), facts.views, {
  query: () => new URL(location).searchParams.toString(), maySave: facts.may_save, mayDelete: facts.may_delete,
  shares: facts.shares,
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => board.recolor());
setInterval(tick, 1000);
reload();
