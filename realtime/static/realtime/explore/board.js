// The charts of a comparison: one for each unit, with a table below it.

import { localMoment } from "../format.js";
import { OverlayChart } from "./chart.js";
import { groupsOf, seriesOf } from "./comparison.js";
import { Legend } from "./legend.js";

const BANDS_UP_TO = 6; // lines of a chart; with more, bands are shown on demand

export class Board {
  // `template` of a chart; `empty` is shown without charts; `name(id)`: of a device. `latest`: without a cursor, the tables show the
  // newest values. `height(charts)`: of one of so many charts, in pixels.
  constructor(root, { template, empty, catalogue, name, onZoom = () => {}, onReset = () => {}, latest = false, height = null }) {
    Object.assign(this, { root, template, empty, catalogue, onZoom, onReset, latest, height });
    this.charts = new Map(); // key of the group → { card, chart, legend, series }
    this.bands = null; // as chosen; null: by the number of lines
    this.texts = { name, label: (metric) => this.catalogue.label(metric), number: (metric, value) => this.catalogue.number(metric, value) };
  }

  get hasBands() {
    return this.bands ?? [...this.charts.values()].every(({ series }) => series.length <= BANDS_UP_TO);
  }

  // `loaded`: as comparison.js loads it, or null.
  draw(loaded, metrics, bounds) {
    const groups = loaded ? groupsOf(metrics, this.catalogue) : [];
    const kept = new Set(groups.map(({ key }) => key));
    for (const key of this.charts.keys()) if (!kept.has(key)) this.remove(key);
    this.empty.hidden = groups.length > 0;
    for (const group of groups) {
      const one = this.charts.get(group.key) ?? this.begin(group);
      one.series = seriesOf(group, loaded);
      this.root.append(one.card); // in order
      const labels = group.metrics.map((metric) => this.catalogue.label(metric)).join(", ");
      one.card.querySelector("h2").textContent = group.unit ? `${labels} (${group.unit})` : labels;
      one.chart.bands = this.bands ?? one.series.length <= BANDS_UP_TO;
      one.chart.draw(one.series, bounds);
      one.legend.show(one.series, one.chart.hidden, group.metrics.length > 1);
      if (this.latest) this.point(one, null);
    }
  }

  begin(group) {
    const card = this.template.content.firstElementChild.cloneNode(true);
    this.root.append(card);
    const one = { card, series: [] };
    one.chart = new OverlayChart(card.querySelector(".chart"), {
      label: `Chart of ${group.metrics.map((metric) => this.catalogue.label(metric)).join(", ")}`,
      onZoom: this.onZoom,
      onReset: this.onReset,
      onCursor: (index) => this.point(one, index),
      height: this.height && (() => this.height(this.charts.size)),
    });
    one.legend = new Legend(card.querySelector("table"), this.texts, {
      onShow: (key, shown) => one.chart.show(key, shown),
      onHighlight: (key) => one.chart.highlight(key),
    });
    this.charts.set(group.key, one);
    return one;
  }

  point(one, index) {
    const newest = index === null && this.latest;
    one.legend.point(one.series, newest ? one.chart.newest() : index === null ? null : one.chart.valuesAt(index));
    const moment = index === null ? null : one.chart.data[0][index];
    one.card.querySelector(".at").textContent = moment ? localMoment(moment * 1000, { seconds: true }) : "";
  }

  showBands(bands) {
    this.bands = bands;
    for (const { chart } of this.charts.values()) chart.showBands(bands);
  }

  resize() {
    for (const { chart } of this.charts.values()) chart.resize();
  }

  recolor() {
    for (const { chart } of this.charts.values()) chart.recolor();
  }

  remove(key) {
    const { card, chart } = this.charts.get(key);
    chart.end();
    card.remove();
    this.charts.delete(key);
  }

  clear() {
    for (const key of this.charts.keys()) this.remove(key);
  }
}
