// A chart of several lines with one unit, each with its band from minimum to maximum.

import { axesAndPadding, color } from "../device/chart.js";
import { valueRange } from "../scale.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { joined } from "./comparison.js";

const HEIGHT = 240;
const BAND_ALPHA = "24";
const FAINT_ALPHA = "30";
const together = uPlot.sync("explore"); // all charts share one cursor

export class OverlayChart {
  // `onCursor(index)`: of the moment under the cursor in `data`, or null. `height()`: in pixels; null: as usual.
  constructor(box, { label, onZoom, onReset, onCursor, height = null }) {
    Object.assign(this, { box, label, onZoom, onReset, onCursor, height, series: [], hidden: new Set(), bands: true, highlighted: null });
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(box);
  }

  resize() {
    this.plot?.setSize(this.size());
  }

  size() {
    if (this.height) return { width: Math.max(this.box.clientWidth, 100), height: this.height() };
    return { width: Math.max(this.box.clientWidth, 100), height: document.fullscreenElement ? Math.max(HEIGHT, innerHeight / 3) : HEIGHT };
  }

  draw(series, bounds) {
    const keys = series.map(({ key }) => key).join("\n");
    this.series = series;
    this.data = joined(series, uPlot.join);
    if (!this.plot || this.keys !== keys) this.begin();
    this.keys = keys;
    this.plot.batch(() => {
      this.plot.setData(this.data, false);
      this.plot.setScale("x", { min: bounds.start, max: bounds.end });
    });
  }

  begin() {
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), [[], ...this.series.flatMap(() => [[], [], []])], this.box);
    this.plot.root.setAttribute("role", "img");
    this.plot.root.setAttribute("aria-label", this.label);
  }

  show(key, shown) {
    if (shown) this.hidden.delete(key);
    else this.hidden.add(key);
    const place = this.series.findIndex((one) => one.key === key);
    if (place >= 0) this.plot.batch(() => [1, 2, 3].forEach((n) => this.plot.setSeries(3 * place + n, { show: shown })));
  }

  // Draws one line strongly and the others faintly; null: all as usual.
  highlight(key) {
    this.highlighted = key;
    this.recolor();
  }

  showBands(bands) {
    this.bands = bands;
    this.recolor();
  }

  recolor() {
    this.plot?.batch(() => this.plot.redraw(false, true));
  }

  stroke({ key, color: n }) {
    const full = color(`--series-${n}`)().trim();
    return this.highlighted === null || this.highlighted === key ? full : `${full}${FAINT_ALPHA}`;
  }

  options() {
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    const lines = this.series.flatMap((one) => {
      const show = !this.hidden.has(one.key);
      const stroke = () => this.stroke(one);
      return [{ ...edge, show }, { ...edge, show }, { show, stroke, width: 1.75, dash: one.dash ?? undefined, points: { size: 4, fill: stroke } }];
    });
    const fill = (one) => () => (this.bands && (this.highlighted === null || this.highlighted === one.key) ? `${color(`--series-${one.color}`)().trim()}${BAND_ALPHA}` : "transparent");
    return {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, sync: { key: together.key }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: (_, low, high) => valueRange(low, high) } },
      ...axesAndPadding(),
      series: [{}, ...lines],
      bands: this.series.map((one, n) => ({ series: [3 * n + 1, 3 * n + 2], fill: fill(one) })),
      hooks: {
        ready: [(plot) => plot.over.addEventListener("dblclick", this.onReset)],
        setSelect: [
          (plot) => {
            if (plot.select.width < 4) return;
            const [start, end] = [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x"));
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            this.onZoom(start, end);
          },
        ],
        setCursor: [({ cursor }) => this.onCursor(cursor.left < 0 ? null : (cursor.idx ?? null))],
      },
    };
  }

  // The newest values at or before the moment under the cursor, within a step, by line: { min, max, avg } or null.
  valuesAt(index) {
    return this.series.map((_, n) => {
      const [max, min, avg] = [1, 2, 3].map((k) => this.data[3 * n + k]);
      let place = index;
      while (place > 0 && avg[place] === undefined) place--; // another line has a value here
      return avg[place] === null || avg[place] === undefined ? null : { max: max[place], min: min[place], avg: avg[place] };
    });
  }

  // The newest value of each line, or null.
  newest() {
    return this.series.map((_, n) => {
      const [max, min, avg] = [1, 2, 3].map((k) => this.data[3 * n + k]);
      const place = avg.findLastIndex((value) => value !== null && value !== undefined);
      return place < 0 ? null : { max: max[place], min: min[place], avg: avg[place] };
    });
  }

  end() {
    this.resizing.disconnect();
    this.plot?.destroy();
  }
}
