// A row of the list. It is created once, and then only changed parts are updated.

import { ago, utc } from "../format.js";
import { clock } from "../outage.js";
import { plural } from "../plural.js";
import { isFlat } from "../scale.js";
import { showStatus } from "../status.js";

const VALUES_SHOWN = 4;
const WIDTH = 136;
const HEIGHT = 32;
const SVG = "http://www.w3.org/2000/svg";

export class Row {
  // `outage.since`: the moment from which on nothing is known of the devices, or null.
  // `choice.metric`: the metric with a column of its own, or null.
  constructor(catalogue, outage, choice) {
    this.catalogue = catalogue;
    this.choice = choice;
    this.outage = outage;
    this.root = make("div", "fleet-row", "row");
    this.device = cell(this.root, "device");
    this.link = this.device.appendChild(make("a"));
    this.small = this.device.appendChild(make("small"));
    const state = cell(this.root, "state");
    this.status = state.appendChild(make("span", "status"));
    this.mark = state.appendChild(make("span", "severity mark"));
    this.mark.append(document.createTextNode(""), make("span", "hidden-visually"));
    this.mark.hidden = true;
    this.metric = cell(this.root, "metric");
    this.values = cell(this.root, "values");
    this.shown = this.values.appendChild(make("span", "shown"));
    this.more = this.values.appendChild(make("span", "more"));
    this.path = document.createElementNS(SVG, "path");
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("class", "spark");
    picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    picture.setAttribute("aria-hidden", "true");
    picture.append(this.path);
    cell(this.root, "").append(picture);
    this.seen = cell(this.root, "seen");
  }

  show(device, place) {
    if (this.of !== device || this.name !== device.name || this.tags !== device.tags) {
      this.of = device;
      this.name = device.name;
      this.tags = device.tags;
      this.link.href = `/live/${encodeURIComponent(device.id)}/`;
      this.link.textContent = this.link.title = device.name || device.id;
      const tags = device.tags.map((tag) => tag.name).join(", ");
      this.small.textContent = [device.name ? device.id : "", tags].filter(Boolean).join(" · ");
      this.small.title = tags;
      this.root.classList.toggle("off", !device.active);
      this.line = undefined;
    }
    if (this.place !== place) {
      this.place = place;
      this.root.setAttribute("aria-rowindex", String(place + 2));
    }
    showStatus(this.status, device.status, this.outage.since);
    if (this.alarms !== device.alarms) this.showAlarms((this.alarms = device.alarms));
    this.showMetric(device);
    this.showValues(device.shown(this.catalogue));
    this.showSeen(device.seen);
    if (device.line !== this.line) this.showLine((this.line = device.line));
  }

  showMetric(device) {
    const { metric } = this.choice;
    const value = metric === null ? undefined : device.value(metric);
    const text = value === undefined ? (metric === null ? "" : "–") : this.catalogue.text(metric, value);
    if (this.metric.textContent !== text) this.metric.textContent = text;
    this.metric.classList.toggle("older", value !== undefined && !Object.hasOwn(device.values, metric));
  }

  showValues(all) {
    const shown = distinct(all.slice(0, VALUES_SHOWN), this.catalogue);
    const more = all.length - shown.length;
    while (this.shown.childElementCount > shown.length) this.shown.lastElementChild.remove();
    while (this.shown.childElementCount < shown.length) {
      const part = this.shown.appendChild(make("span"));
      part.append(document.createTextNode(""), make("span", "unit"));
    }
    shown.forEach(([text, unit, metric], n) => {
      const part = this.shown.children[n];
      const label = this.catalogue.label(metric);
      if (part.title !== label) part.title = label;
      if (part.firstChild.data !== `${text} `) part.firstChild.data = `${text} `;
      if (part.lastChild.textContent !== unit) part.lastChild.textContent = unit;
    });
    const text = more ? `+${more} more` : "";
    if (this.more.textContent !== text) this.more.textContent = text;
  }

  showAlarms(alarms) {
    this.mark.hidden = alarms === null;
    if (alarms === null) return;
    const [count, severity] = alarms;
    this.mark.dataset.severity = severity;
    this.mark.firstChild.data = String(count);
    this.mark.lastChild.textContent = ` open ${plural(count, "alarm", "alarms")}, ${severity}`;
    this.mark.title = `${count}${this.mark.lastChild.textContent}`;
  }

  showSeen(seen) {
    // During an outage, "5 min ago" would say that the device has been silent since.
    const text = seen === null ? "never" : this.outage.since === null ? ago(seen) : clock(seen);
    if (this.seen.textContent === text) return;
    this.seen.textContent = text;
    this.seen.title = seen === null ? "" : utc(seen);
  }

  showLine(line) {
    this.path.setAttribute("d", line ? pathOf(line) : "");
  }
}

// Adds the label to units that several values have: is 21.5 °C the air or the soil? `values`: [[text, unit, metric]].
export function distinct(values, catalogue) {
  const several = (unit) => values.filter(([, other]) => other === unit).length > 1;
  return values.map(([text, unit, metric]) => [text, several(unit) && catalogue.unit(metric) ? `${unit} ${catalogue.label(metric)}` : unit, metric]);
}

// A line through the values, with gaps where there is no value.
export function pathOf(line) {
  const values = line.filter((value) => value !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const height = isFlat(low, high) ? () => HEIGHT / 2 : (value) => HEIGHT - 3 - ((value - low) / (high - low)) * (HEIGHT - 6);
  let pen = "M";
  let path = "";
  line.forEach((value, n) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const x = (n / (line.length - 1)) * WIDTH;
    path += `${pen}${x.toFixed(1)} ${height(value).toFixed(1)}`;
    // A single value between gaps is a dot.
    if (pen === "M" && (line[n + 1] ?? null) === null) path += "h.1";
    pen = "L";
  });
  return path;
}

function cell(row, name) {
  return row.appendChild(make("span", name, "cell"));
}

function make(tag, name, role) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (role) element.setAttribute("role", role);
  return element;
}
