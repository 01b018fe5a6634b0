// The page that compares devices: any devices, any metrics, any period, one chart for each unit.

import { between } from "../device/between.js";
import { Period, RANGES } from "../device/period.js";
import { OverlayChart } from "../explore/chart.js";
import { groupsOf, load, metricsOf, seriesOf } from "../explore/comparison.js";
import { Legend } from "../explore/legend.js";
import { Picker } from "../explore/picker.js";
import { DEVICES_MAX, METRICS_MAX, Selection } from "../explore/selection.js";
import { savedViews } from "../explore/views.js";
import { duration, localMoment, utc } from "../format.js";
import { Catalogue } from "../metrics.js";

const RELOAD_SECONDS = [5, 60]; // shortest and longest interval for loading again; in between, the bucket's length
const BANDS_UP_TO = 6; // lines of a chart; with more, bands are shown on demand

const facts = JSON.parse(document.getElementById("facts").textContent);
const element = (id) => document.getElementById(id);
const catalogue = new Catalogue(facts.metrics);
const names = new Map(facts.devices);
const selection = new Selection(chosen);
const period = new Period(reload, null, "24h");
const charts = new Map(); // key of the group → { card, chart, legend, series }
let offered = new Set(); // the metrics that the devices have
let loaded = null;
let loading = null;
let asked = 0;
let bands = null; // as chosen; null: by the number of lines

const texts = {
  name: (id) => names.get(id) || id,
  label: (metric) => catalogue.label(metric),
  number: (metric, value) => catalogue.number(metric, value),
};
const devicePicker = new Picker(element("devices"), {
  items: () => facts.devices.map(([id, name]) => [id, name || id]), chosen: () => selection.devices, most: DEVICES_MAX,
  onAdd: (id) => selection.add("devices", id), onRemove: (id) => selection.remove("devices", id),
});
const metricPicker = new Picker(element("metrics"), {
  items: () => catalogue.inOrder(new Set([...offered, ...selection.metrics])).map((metric) => [metric, catalogue.heading(metric)]),
  chosen: () => shownMetrics(), most: METRICS_MAX,
  onAdd: (metric) => chooseMetrics([...shownMetrics(), metric]),
  onRemove: (metric) => chooseMetrics(shownMetrics().filter((other) => other !== metric)),
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
    if (current.signal.aborted) return;
    loaded = found;
    metricPicker.render();
    fail("");
    draw(metrics, bounds);
  } catch (error) {
    if (current.signal.aborted) return;
    fail(error instanceof TypeError ? "The server cannot be reached." : error.message);
  }
  loading = null;
  element("charts").removeAttribute("aria-busy");
  describe();
}

function clear() {
  for (const { card, chart } of charts.values()) {
    chart.end();
    card.remove();
  }
  charts.clear();
  loaded = null;
  offered = new Set();
  metricPicker.render();
}

function draw(metrics, bounds) {
  const groups = loaded ? groupsOf(metrics, catalogue) : [];
  const kept = new Set(groups.map(({ key }) => key));
  for (const [key, { card, chart }] of charts) {
    if (kept.has(key)) continue;
    chart.end();
    card.remove();
    charts.delete(key);
  }
  element("no-values").hidden = groups.length > 0;
  for (const group of groups) {
    const one = charts.get(group.key) ?? begin(group);
    one.series = seriesOf(group, loaded);
    element("charts").append(one.card); // in order
    const labels = group.metrics.map((metric) => catalogue.label(metric)).join(", ");
    one.card.querySelector("h2").textContent = group.unit ? `${labels} (${group.unit})` : labels;
    one.chart.bands = bands ?? one.series.length <= BANDS_UP_TO;
    one.chart.draw(one.series, bounds);
    one.legend.show(one.series, one.chart.hidden, group.metrics.length > 1);
  }
  const lines = [...charts.values()].map(({ series }) => series.length);
  element("bands").setAttribute("aria-pressed", String(bands ?? lines.every((count) => count <= BANDS_UP_TO)));
}

function begin(group) {
  const card = element("chart").content.firstElementChild.cloneNode(true);
  element("charts").append(card);
  const one = { card, series: [] };
  one.chart = new OverlayChart(card.querySelector(".chart"), {
    label: `Chart of ${group.metrics.map((metric) => catalogue.label(metric)).join(", ")}`,
    onZoom: (start, end) => period.zoom(start, end),
    onReset: () => period.choose(period.name),
    onCursor: (index) => pointAll(one, index),
  });
  one.legend = new Legend(card.querySelector("table"), texts, {
    onShow: (key, shown) => one.chart.show(key, shown),
    onHighlight: (key) => one.chart.highlight(key),
  });
  charts.set(group.key, one);
  return one;
}

function pointAll(one, index) {
  one.legend.point(one.series, index === null ? null : one.chart.valuesAt(index));
  const moment = index === null ? null : one.chart.data[0][index];
  one.card.querySelector(".at").textContent = moment ? localMoment(moment * 1000, { seconds: true }) : "";
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
  for (const [id, path, more] of [["csv", "history", ["shape", "long"]], ["csv-buckets", "aggregate", ["bucket", loaded?.bucket ?? "auto"]]]) {
    element(id).toggleAttribute("hidden", selection.isEmpty);
    element(id).href = `/api/v1/${path}?${new URLSearchParams([...shown, ...window, more])}`;
  }
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
  bands = element("bands").getAttribute("aria-pressed") !== "true";
  element("bands").setAttribute("aria-pressed", String(bands));
  for (const { chart } of charts.values()) chart.showBands(bands);
});
element("full").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else element("charts").requestFullscreen();
});
between(element("between"), period);
savedViews(element("views"), facts.views, {
  query: () => new URL(location).searchParams.toString(), maySave: facts.may_save, mayDelete: facts.may_delete,
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(({ chart }) => chart.recolor()));
setInterval(tick, 1000);
reload();
