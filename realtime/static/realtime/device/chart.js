// The chart of one metric: the average as a line, inside a band from minimum to maximum.

import { ticks, valueRange } from "../scale.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { momentLabels, valueLabels, widest } from "./axes.js";
import { loneIndexes } from "./isolated.js";
import { drawBands, drawLines, reach } from "./marks.js";

const HEIGHT = 168;
const FONT = "12px system-ui, sans-serif";
const LEAST_AXIS = 52; // so that the charts begin at the same place, except those with long labels
const LABEL_GAP = 12; // between a label of the vertical axis, the axis and the edge
const LEAST_PADDING = 8;
const LONE_WIDTH = 5; // of the bar from minimum to maximum of a lone bucket
const [MAXIMUM, MINIMUM, AVERAGE] = [1, 2, 3]; // the series
export const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);
const together = uPlot.sync("device"); // all charts share one cursor

export class Chart {
  // `far`: the vertical axis reaches to every line, however far from the values it is.
  constructor(box, { onZoom, onReset, onPoint, label, far = false }) {
    Object.assign(this, { box, label, far, actions: { onZoom, onReset, onPoint }, marks: { bands: [], lines: [] } });
    this.begin();
    this.resizing = new ResizeObserver(() => this.plot.batch(() => this.plot.setSize(this.size())));
    this.resizing.observe(box);
  }

  begin() {
    this.plot = new uPlot(this.options(this.actions), [[], [], [], []], this.box);
    this.plot.root.setAttribute("role", "img");
    this.plot.root.setAttribute("aria-label", this.label);
  }

  // After an exception, which can leave uPlot half drawn.
  restart() {
    this.plot.destroy();
    this.begin();
  }

  size() {
    return { width: Math.max(this.box.clientWidth, 100), height: HEIGHT };
  }

  options({ onZoom, onReset, onPoint }) {
    return {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, sync: { key: together.key }, drag: { x: true, y: false, setScale: false }, points: { size: 7, fill: color("--accent") } },
      scales: { x: { time: true }, y: { range: (_, low, high) => valueRange(...reach(low, high, this.marks.lines, this.far)) } },
      ...axesAndPadding(),
      ...seriesAndBands(),
      hooks: {
        ready: [(plot) => plot.over.addEventListener("dblclick", onReset)],
        drawClear: [(plot) => drawBands(plot, this.marks.bands)],
        draw: [(plot) => drawLines(plot, this.marks.lines)],
        drawSeries: [(plot, series) => series === AVERAGE && drawLoneBars(plot)],
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

  // Batches, because otherwise uPlot draws later, and nobody would catch its exceptions.
  draw(columns, bounds) {
    this.plot.batch(() => {
      this.plot.setData(columns, false);
      this.plot.setScale("x", { min: bounds.start, max: bounds.end });
    });
  }

  // Bands in which an alarm was open, { start, end, severity } in seconds (end null: still open), and lines at the
  // thresholds of rules, { value, severity }. `draw` has to be called after it.
  mark(marks) {
    this.marks = marks;
  }

  move(bounds) {
    this.plot.batch(() => this.plot.setScale("x", { min: bounds.start, max: bounds.end }));
  }

  recolor() {
    this.plot.batch(() => this.plot.redraw(false, true));
  }
}

// The axes make room for their labels: the vertical axis by its width, the horizontal one by the padding on the right.
export function axesAndPadding() {
  const axis = { stroke: color("--muted"), ticks: { show: false }, font: FONT, grid: { stroke: color("--line"), width: 1 } };
  let beyond = 0; // half the width of a label of the horizontal axis
  const moments = (_, values, axisIndex, space, step) => {
    const labels = momentLabels(values, step);
    beyond = widest(labels, FONT) / 2;
    return labels;
  };
  return {
    padding: [LEAST_PADDING, () => Math.max(LEAST_PADDING, Math.ceil(beyond)), 0, 0],
    axes: [
      { ...axis, space: 80, size: 28, values: moments },
      {
        ...axis,
        // `ticks` chooses the step. uPlot only has to believe that there is room for it.
        incrs: (_, axisIndex, low, high) => [Math.max(high - low, 5)],
        splits: (_, axisIndex, low, high) => ticks(low, high),
        values: ({ scales: { y } }, values) => valueLabels(values, y.min, y.max),
        size: (_, labels) => Math.max(LEAST_AXIS, Math.ceil(widest(labels ?? [], FONT)) + LABEL_GAP),
      },
    ],
  };
}

function seriesAndBands() {
  const edge = { stroke: "transparent", width: 0, points: { show: false } };
  // Where values are dense, uPlot shows no points, but no line goes through a lone one.
  const filter = (plot, series, all) => (all ? null : loneIndexes(plot.data[series]));
  const points = { size: 5, fill: color("--accent"), filter };
  return {
    series: [{}, edge, { ...edge }, { stroke: color("--accent"), width: 1.75, points }],
    bands: [{ series: [MAXIMUM, MINIMUM], fill: band }],
  };
}

const band = () => `${color("--accent")().trim()}2e`;

// The band of a lone bucket, which has no width.
function drawLoneBars(plot) {
  const { ctx, data, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = band();
  const width = LONE_WIDTH * devicePixelRatio;
  for (const n of loneIndexes(data[AVERAGE])) {
    const x = plot.valToPos(data[0][n], "x", true);
    const [top, bottom] = [data[MAXIMUM][n], data[MINIMUM][n]].map((value) => plot.valToPos(value, "y", true));
    ctx.fillRect(x - width / 2, top, width, bottom - top);
  }
  ctx.restore();
}

// The point under the cursor: { moment, min, max, avg }, or null.
function pointAt({ cursor, data }) {
  const n = cursor.idx;
  if (cursor.left < 0 || n === null || n === undefined || data[3][n] === null || data[3][n] === undefined) return null;
  return { moment: data[0][n] * 1000, max: data[1][n], min: data[2][n], avg: data[3][n] };
}

export function readout({ min, max, avg }, metric, catalogue) {
  const value = catalogue.text(metric, avg);
  return min === max ? value : `${value} (${catalogue.number(metric, min)} to ${catalogue.number(metric, max)})`;
}
