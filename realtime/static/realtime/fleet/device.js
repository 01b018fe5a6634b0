// The state of one device on the page, from the page's own list and from the socket.

import { replaces } from "../newest.js";

export class Device {
  // A row of realtime/pages/fleet.py.
  constructor([id, name, active, status, seen, values, timestamp, seq, others = {}]) {
    Object.assign(this, { id, active, values, others }); // `others`: latest values of metrics that the newest reading does not have
    this.latest = timestamp === null ? null : { timestamp, seq }; // the reading that `values` are of
    this.line = undefined; // the sparkline's values, once loaded
    this.told = status;
    this.tags = []; // [{name, key, colour}]
    this.keys = new Set();
    this.alarms = null; // [number of open alarms, highest severity]
    this.describe(name);
    this.hear(seen);
    this.judge();
  }

  describe(name) {
    this.name = name;
    this.text = [this.id, name, ...this.tags.map((tag) => tag.name)].join(" ").toLowerCase();
  }

  tagged(tags) {
    this.tags = tags;
    this.keys = new Set(tags.map((tag) => tag.key));
    this.describe(this.name);
  }

  // `moment`: when the server last received something from the device; null: never.
  hear(moment) {
    this.seen = moment === null ? null : Date.parse(moment);
  }

  // Takes over the status that the server told. Returns whether it has changed.
  judge() {
    const status = this.active ? this.told : "deactivated";
    if (status === this.status) return false;
    this.status = status;
    return true;
  }

  // Returns whether the open alarms have changed.
  mark(alarms) {
    if (String(alarms) === String(this.alarms)) return false;
    this.alarms = alarms;
    return true;
  }

  take(readings, lastSeenAt = null) {
    for (const { id, seq, timestamp, ...values } of readings) {
      if (!replaces({ timestamp, seq }, this.latest, lastSeenAt)) continue; // measured earlier
      this.latest = { timestamp, seq };
      this.others = { ...this.others, ...this.values };
      this.values = values;
    }
  }

  // The latest value of a metric; undefined if the device has none.
  value(metric) {
    if (Object.hasOwn(this.values, metric)) return this.values[metric];
    return Object.hasOwn(this.others, metric) ? this.others[metric] : undefined;
  }

  // [[text, unit, metric]] of the latest values in the order of the catalogue. Without a unit, the label is in its place.
  shown(catalogue) {
    return catalogue
      .inOrder(Object.keys(this.values))
      .map((metric) => [catalogue.number(metric, this.values[metric]), catalogue.unit(metric) || catalogue.label(metric), metric]);
  }

  // The metric that the sparkline shows.
  get metric() {
    return "temperature" in this.values ? "temperature" : (Object.keys(this.values).sort()[0] ?? null);
  }
}
