// The live page of one device: a card for each metric, with its latest value and a moving chart.

import { watch } from "./live.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

const KEPT = 600; // readings on a chart
const REPLAYED = 300; // readings fetched from the log when the page opens
const NOT_METRICS = new Set(["id", "seq", "timestamp"]);
const HIGHLIGHT_MS = 700;

const { deviceId, lastSeq } = document.body.dataset;
const units = JSON.parse(document.getElementById("units").textContent);
const element = (id) => document.getElementById(id);
const cards = new Map();
let newest = null;

class Card {
  constructor(metric) {
    this.metric = metric;
    this.points = []; // [seconds, value], by time
    this.root = element("card").content.firstElementChild.cloneNode(true);
    this.root.dataset.metric = metric;
    this.root.querySelector("h2").textContent = metric.replaceAll("_", " ");
    this.root.querySelector(".unit").textContent = Object.hasOwn(units, metric) ? units[metric] : "";
    this.number = this.root.querySelector(".number");
    this.box = this.root.querySelector(".chart");
    const order = [...Object.keys(units), ...[...cards.keys(), metric].filter((name) => !Object.hasOwn(units, name)).sort()];
    const behind = [...cards.values()].find((card) => order.indexOf(card.metric) > order.indexOf(metric));
    element("cards").insertBefore(this.root, behind?.root ?? null);
    this.chart = new uPlot(this.options(), [[], []], this.box);
    new ResizeObserver(() => this.chart.setSize(this.size())).observe(this.box);
  }

  size() {
    return { width: Math.max(this.box.clientWidth, 100), height: 160 };
  }

  options() {
    const color = (name) => () => getComputedStyle(document.body).getPropertyValue(name);
    const axis = {
      stroke: color("--muted"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    return {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false },
      scales: { y: { range: (_, low, high) => padded(low, high) } },
      padding: [8, 14, 0, 0],
      axes: [
        { ...axis, space: 70, size: 28, values: (_, moments) => moments.map(clock) },
        { ...axis, size: 46, space: 30, values: (_, values) => values.map(compact) },
      ],
      series: [{}, { stroke: color("--accent"), width: 1.75, points: { size: 4, fill: color("--accent") } }],
    };
  }

  add(seconds, value) {
    let place = this.points.length;
    while (place && this.points[place - 1][0] > seconds) place--; // a late arrival goes where it belongs
    this.points.splice(place, 0, [seconds, value]);
    if (this.points.length > KEPT) this.points.shift();
  }

  draw() {
    const [seconds, value] = this.points.at(-1);
    this.number.textContent = format(value);
    this.number.title = new Date(seconds * 1000).toISOString();
    this.chart.setData([this.points.map(([x]) => x), this.points.map(([, y]) => y)], false);
    this.move();
  }

  move() {
    if (!this.points.length) return;
    this.chart.batch(() => {
      this.chart.setScale("x", { min: Math.min(this.points[0][0], Date.now() / 1000 - 30), max: Date.now() / 1000 });
    });
  }

  highlight() {
    this.root.classList.add("fresh");
    clearTimeout(this.fading);
    this.fading = setTimeout(() => this.root.classList.remove("fresh"), HIGHLIGHT_MS);
  }
}

function compact(value) {
  return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 });
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });
}

function padded(low, high) {
  if (low === null) return [0, 1];
  const margin = (high - low) * 0.1 || Math.max(Math.abs(high) * 0.02, 0.5);
  return [low - margin, high + margin];
}

function format(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e7)) return value.toExponential(3);
  return value.toLocaleString("en", { maximumFractionDigits: size < 10 ? 3 : size < 1000 ? 2 : 1 });
}

function ago(moment) {
  const seconds = Math.max(0, Math.round((Date.now() - moment) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86_400)} days ago`;
}

function onReadings(readings) {
  element("empty").hidden = true;
  element("summary").hidden = false;
  const touched = new Set();
  for (const reading of readings) {
    const moment = Date.parse(reading.timestamp);
    newest = Math.max(newest ?? moment, moment);
    for (const [name, value] of Object.entries(reading)) {
      if (NOT_METRICS.has(name)) continue;
      if (!cards.has(name)) cards.set(name, new Card(name));
      cards.get(name).add(moment / 1000, value);
      touched.add(cards.get(name));
    }
  }
  for (const card of touched) {
    card.draw();
    card.highlight();
  }
  element("last-seq").textContent = readings.at(-1).seq.toLocaleString("en");
  tick();
}

function onState(state, detail) {
  element("connection").dataset.state = state;
  element("connection-word").textContent = state;
  const notice = element("notice");
  notice.hidden = !detail;
  notice.textContent = detail ?? "";
}

function tick() {
  if (newest === null) return;
  const time = element("last-seen");
  time.textContent = ago(newest);
  time.dateTime = time.title = new Date(newest).toISOString();
  for (const card of cards.values()) card.move();
}

setInterval(tick, 1000);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const card of cards.values()) card.chart.redraw(false, true);
});
watch(deviceId, { after: Math.max(0, Number(lastSeq) - REPLAYED), onReadings, onState });
