// One metric of the device: its latest value, its statistics in the visible window, and its chart.

import { duration, localMoment, utc, whole } from "../format.js";
import { replaces } from "../newest.js";
import { Chart, readout } from "./chart.js";
import { columns } from "./series.js";

const HIGHLIGHT_MS = 60; // after this it fades
const TAIL_KEPT = 3000;

export class Panel {
  constructor(template, metric, catalogue, actions) {
    this.metric = metric;
    this.catalogue = catalogue;
    this.unit = catalogue.unit(metric);
    this.tail = []; // [moment, value] newer than the loaded buckets
    this.shown = null; // the reading whose value is shown
    this.root = template.content.firstElementChild.cloneNode(true);
    this.root.dataset.metric = metric;
    this.part(".fold").textContent = catalogue.label(metric);
    this.part(".fold").title = metric;
    this.part(".unit").textContent = this.unit;
    this.actions = actions;
    this.isOpen = false;
    this.fold = this.part(".fold");
    this.fold.addEventListener("click", () => actions.onFold(!this.isOpen));
  }

  // Opens or folds the card. A folded card has no chart, because a device may have 200 metrics.
  setOpen(open) {
    this.isOpen = open;
    this.root.classList[open ? "remove" : "add"]("folded");
    this.fold.setAttribute("aria-expanded", String(open));
    if (open && !this.chart) this.begin();
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  // Call this after adding the panel to the page, because a chart needs to know its width.
  begin() {
    this.chart = new Chart(this.part(".chart"), {
      ...this.actions,
      label: `Chart of ${this.catalogue.label(this.metric)}`,
      onPoint: (point) => this.point(point),
    });
  }

  point(point) {
    const shown = this.part(".readout");
    const width = point && this.loaded && point.moment / 1000 < this.loaded.end ? ` · of ${duration(this.loaded.bucketSeconds)}` : "";
    shown.textContent = point ? `${localMoment(point.moment, { seconds: true })}${width} · ${readout(point, this.metric, this.catalogue)}` : "";
    shown.title = point ? utc(point.moment) : "";
  }

  // Shows the value if it is newer than the one shown. `lastSeenAt` as in `replaces`.
  latest({ timestamp, seq }, value, lastSeenAt = null) {
    if (!replaces({ timestamp, seq }, this.shown, lastSeenAt)) return;
    this.shown = { timestamp, seq };
    const text = this.catalogue.number(this.metric, value);
    this.part(".number").textContent = text;
    this.part(".number").title = utc(Date.parse(timestamp));
    this.part(".value").style.setProperty("--characters", text.length + this.unit.length); // see device.css
    const doubt = this.catalogue.doubt(this.metric, value);
    this.part(".doubt").hidden = !doubt;
    this.part(".doubt").textContent = doubt;
  }

  add(moment, value) {
    let place = this.tail.length;
    while (place && this.tail[place - 1][0] > moment) place--; // a late reading goes to its place in time
    this.tail.splice(place, 0, [moment, value]);
    if (this.tail.length > TAIL_KEPT) this.tail.shift();
  }

  draw(loaded, bounds, interval) {
    this.tail = this.tail.filter(([moment]) => moment >= loaded.end);
    this.loaded = loaded;
    if (!this.chart) return;
    this.attempt(() => {
      this.chart.mark(this.actions.marks?.(this.metric) ?? { bands: [], lines: [] });
      const shown = columns(loaded, this.metric, bounds.end > loaded.end ? this.tail : [], interval);
      this.chart.draw(shown, bounds);
      this.note(shown[0].length ? "" : "No values in this period");
    });
  }

  move(bounds) {
    if (!this.isOpen) return;
    this.attempt(() => this.chart.move(bounds));
  }

  // Draws. An exception is shown in this card only, so that the other charts are drawn.
  attempt(drawing) {
    try {
      drawing();
    } catch (error) {
      console.error(error);
      this.chart.restart();
      this.note(`This chart cannot be drawn: ${error.message}`);
    }
  }

  note(text) {
    this.part(".none").hidden = !text;
    this.part(".none").textContent = text;
  }

  statistics(found) {
    for (const name of ["min", "avg", "max"]) {
      this.part(`[data-statistic="${name}"]`).textContent = found?.count ? this.catalogue.number(this.metric, found[name]) : "–";
    }
    this.part('[data-statistic="count"]').textContent = whole(found?.count ?? 0);
  }

  highlight() {
    this.root.classList.add("fresh");
    clearTimeout(this.fading);
    this.fading = setTimeout(() => this.root.classList.remove("fresh"), HIGHLIGHT_MS);
  }
}
