// The chart of one metric: the average as a line, inside a band from minimum to maximum.

import { rounded, short } from "../format.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";

const HEIGHT = 168;
const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);
const together = uPlot.sync("device"); // all charts share one cursor

// [longest window in seconds for this format (null: any), format]
const AXIS_FORMS = [
  [300, { hour: "2-digit", minute: "2-digit", second: "2-digit" }],
  [2 * 86_400, { hour: "2-digit", minute: "2-digit" }],
  [60 * 86_400, { day: "numeric", month: "short" }],
  [null, { month: "short", year: "numeric" }],
];

export class Chart {
  constructor(box, { onZoom, onReset, onPoint, label }) {
    this.box = box;
    this.plot = new uPlot(this.options({ onZoom, onReset, onPoint }), [[], [], [], []], box);
    this.plot.root.setAttribute("role", "img");
    this.plot.root.setAttribute("aria-label", label);
    this.resizing = new ResizeObserver(() => this.plot.setSize(this.size()));
    this.resizing.observe(box);
  }

  size() {
    return { width: Math.max(this.box.clientWidth, 100), height: HEIGHT };
  }

  options({ onZoom, onReset, onPoint }) {
    const axis = { stroke: color("--muted"), ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const grid = { stroke: color("--line"), width: 1 };
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, sync: { key: together.key }, drag: { x: true, y: false, setScale: false }, points: { size: 7, fill: color("--accent") } },
      scales: { x: { time: true }, y: { range: (_, low, high) => padded(low, high) } },
      padding: [8, 8, 0, 0],
      axes: [
        { ...axis, grid, space: 80, size: 28, values: momentLabels },
        { ...axis, grid, space: 34, size: 52, values: (_, values) => values.map(short) },
      ],
      series: [{}, { ...edge }, { ...edge }, { stroke: color("--accent"), width: 1.75, points: { size: 4, fill: color("--accent") } }],
      bands: [{ series: [1, 2], fill: () => `${color("--accent")().trim()}2e` }],
      hooks: {
        ready: [(plot) => plot.over.addEventListener("dblclick", onReset)],
        setSelect: [
          (plot) => {
            if (plot.select.width < 4) return;
            const [start, end] = [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x"));
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            onZoom(start, end);
          },
        ],
        setCursor: [(plot) => onPoint(pointAt(plot))],
      },
    };
  }

  draw(columns, bounds) {
    this.plot.batch(() => {
      this.plot.setData(columns, false);
      this.plot.setScale("x", { min: bounds.start, max: bounds.end });
    });
  }

  move(bounds) {
    this.plot.setScale("x", { min: bounds.start, max: bounds.end });
  }

  recolor() {
    this.plot.redraw(false, true);
  }
}

// The point under the cursor: { moment, min, max, avg }, or null.
function pointAt({ cursor, data }) {
  const n = cursor.idx;
  if (cursor.left < 0 || n === null || n === undefined || data[3][n] === null || data[3][n] === undefined) return null;
  return { moment: data[0][n] * 1000, max: data[1][n], min: data[2][n], avg: data[3][n] };
}

export function readout({ min, max, avg }, unit) {
  const value = `${rounded(avg)} ${unit}`.trim();
  return min === max ? value : `${value} (${rounded(min)} to ${rounded(max)})`;
}

function momentLabels(plot, moments) {
  const seconds = plot.scales.x.max - plot.scales.x.min;
  const [, form] = AXIS_FORMS.find(([upTo]) => upTo === null || seconds <= upTo);
  return moments.map((moment) => new Date(moment * 1000).toLocaleString("en-GB", { ...form, hourCycle: "h23" }));
}

function padded(low, high) {
  if (low === null) return [0, 1];
  const margin = (high - low) * 0.1 || Math.max(Math.abs(high) * 0.02, 0.5);
  return [low - margin, high + margin];
}
