// A shared view: its charts, loaded again and again, until the link ends.

import { connect } from "../connection.js";
import { secondsOf } from "../device/series.js";
import { Board } from "../explore/board.js";
import { duration, localMoment } from "../format.js";
import { Catalogue } from "../metrics.js";
import { Outage } from "../outage.js";

const RELOAD_SECONDS = [5, 60]; // shortest and longest interval for loading again
const RELOADS_PER_BUCKET = 30;
const HEAD_PIXELS = 60; // above the charts
const CARD_PIXELS = 80; // of a chart's card, besides the chart and its table
const TABLE_PIXELS = 40; // besides its lines
const LINE_PIXELS = 34;
const BESIDE = matchMedia("(min-width: 72rem)"); // the table is beside the chart (share.css)
const LINES_SHOWN = 5; // of a table, before it scrolls
const CHART_PIXELS = [160, 900];

const facts = JSON.parse(document.getElementById("facts").textContent);
const element = (id) => document.getElementById(id);
const outage = new Outage({ connection: element("connection"), banner: element("notice"), page: element("content") });
const names = new Map();
const board = new Board(element("charts"), {
  template: element("chart"), empty: element("no-values"), catalogue: new Catalogue(), name: (id) => names.get(id) || id, latest: true, height,
});
let loaded = null;
let asked = 0;
let loading = false;
let ended = false;

// So that all charts fit on the screen.
function height(charts) {
  const lines = Math.min(LINES_SHOWN, Math.max(1, ...[...board.charts.values()].map(({ series }) => series.length)));
  const table = BESIDE.matches ? 0 : TABLE_PIXELS + lines * LINE_PIXELS;
  const room = (innerHeight - HEAD_PIXELS) / Math.max(1, charts) - CARD_PIXELS - table;
  return Math.min(Math.max(room, CHART_PIXELS[0]), CHART_PIXELS[1]);
}

async function load() {
  if (loading || ended) return;
  loading = true;
  asked = Date.now();
  const points = Math.max(60, Math.min(600, Math.round(element("charts").clientWidth / 2)));
  try {
    const response = await fetch(`/share/${facts.token}/statistics?points=${points}`);
    if (response.status === 404) return end();
    if (!response.ok) throw new Error(`The server answered with status ${response.status}.`);
    if (!ended) show(await response.json());
    fail("");
  } catch (error) {
    if (!(error instanceof TypeError)) fail(error.message); // without a network the banner says it
  } finally {
    loading = false;
  }
}

function show(found) {
  const [start, until] = [found.start, found.end].map((moment) => Date.parse(moment) / 1000);
  for (const [id, name] of Object.entries(found.names)) names.set(id, name);
  board.catalogue = new Catalogue(found.metrics);
  const devices = found.devices.map(({ device_id: id, buckets }) => ({
    id, buckets: buckets.map((bucket) => ({ start: Date.parse(bucket.start) / 1000, metrics: bucket.metrics })),
  }));
  const before = board.charts.size;
  loaded = { start, end: until, bucket: found.bucket, bucketSeconds: secondsOf(found.bucket), devices };
  board.draw(devices.length ? loaded : null, Object.keys(found.metrics), { start, end: until });
  if (board.charts.size !== before) board.resize();
  element("window").textContent = `${localMoment(start * 1000)} – ${facts.period ? "now" : localMoment(until * 1000)} · buckets of ${duration(loaded.bucketSeconds)}`;
}

// Nothing stays on the screen.
function end() {
  ended = true;
  stop();
  board.clear();
  element("window").textContent = "";
  element("no-values").hidden = true;
  fail("This link has expired, or it was withdrawn.");
}

function fail(message) {
  element("failure").hidden = message === "";
  element("failure").textContent = message;
}

function tick() {
  outage.check();
  const every = Math.min(Math.max((loaded?.bucketSeconds ?? 0) / RELOADS_PER_BUCKET, RELOAD_SECONDS[0]), RELOAD_SECONDS[1]);
  if (!document.hidden && (facts.period || !loaded) && Date.now() - asked > every * 1000) load();
}

element("dark").addEventListener("click", ({ currentTarget }) => {
  const dark = currentTarget.getAttribute("aria-pressed") !== "true";
  currentTarget.setAttribute("aria-pressed", String(dark));
  element("dark-colours").media = dark ? "all" : "not all";
  board.recolor();
});
element("full").addEventListener("click", () => document.documentElement.requestFullscreen());
addEventListener("resize", () => board.resize());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => board.recolor());
const stop = connect({
  path: `share/${facts.token}`,
  query: () => ({}),
  onFrame: (frame, connection) => connection.say("live"),
  onState: (state, detail, heardAt) => {
    if (state === "refused") end();
    else if (!ended) outage.state(state, detail, heardAt);
  },
});
setInterval(tick, 1000);
load();
