// The table of the readings that are newest by their own time, newest first.

import { whole } from "../format.js";
import { byTime } from "../newest.js";
import { setTime } from "../times.js";

const SHOWN = 12;

export class Recent {
  constructor(table, catalogue) {
    this.table = table;
    this.catalogue = catalogue;
    this.metrics = [];
    this.readings = []; // newest first
  }

  add(readings, metricsInOrder) {
    const known = new Map([...this.readings, ...readings].map((reading) => [reading.id, reading]));
    this.readings = [...known.values()].sort((a, b) => byTime(b, a)).slice(0, SHOWN);
    this.metrics = metricsInOrder;
    this.render();
  }

  render() {
    const heads = ["#", "When", ...this.metrics.map((metric) => this.catalogue.heading(metric))].map((text, n) => cell("th", text, n > 1));
    for (const head of heads) head.scope = "col";
    this.table.tHead.replaceChildren(row(heads));
    this.table.tBodies[0].replaceChildren(...this.readings.map((reading) => row(this.cells(reading))));
  }

  cells(reading) {
    const time = document.createElement("time");
    setTime(time, Date.parse(reading.timestamp));
    const when = cell("td", "");
    when.append(time);
    const values = this.metrics.map((metric) => cell("td", metric in reading ? this.catalogue.number(metric, reading[metric]) : "", true));
    return [cell("td", whole(reading.seq)), when, ...values];
  }
}

function cell(tag, text, isNumber = false) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (isNumber) element.className = "number";
  return element;
}

function row(cells) {
  const element = document.createElement("tr");
  element.append(...cells);
  return element;
}
