// The state of one device on the page, from the page's own list and from the socket.

import { number } from "../format.js";
import { statusOf } from "../status.js";

const NOT_METRICS = new Set(["id", "seq", "timestamp"]);

export class Device {
  constructor([id, name, active, interval, seen, values]) {
    Object.assign(this, { id, active, values });
    this.seen = seen === null ? null : seen * 1000;
    this.describe(name, interval);
    this.line = undefined; // the sparkline's values, once loaded
    this.told = null; // the status from the socket; until it comes, the page computes the status
    this.judge();
  }

  // Sets its name, and the interval in seconds in which it should report.
  describe(name, interval) {
    Object.assign(this, { name, interval });
    this.text = `${this.id} ${name}`.toLowerCase();
  }

  // Computes the status again. Returns whether it has changed.
  judge(now = Date.now()) {
    const status = this.active ? (this.told ?? statusOf(this.seen, this.interval, now)) : "deactivated";
    if (status === this.status) return false;
    this.status = status;
    return true;
  }

  take(readings) {
    for (const reading of readings) {
      const moment = Date.parse(reading.timestamp);
      if (this.seen !== null && moment < this.seen && moment < (this.latest ?? 0)) continue; // measured earlier
      this.latest = moment;
      this.seen = Math.max(this.seen ?? moment, moment);
      if (this.told && statusOf(moment, this.interval) === "online") this.told = "online";
      this.values = Object.fromEntries(Object.entries(reading).filter(([metric]) => !NOT_METRICS.has(metric)));
    }
  }

  // [[text, unit, metric]] of the latest values: first those with a unit, then the others with their name as the unit.
  shown(units) {
    const known = Object.keys(units).filter((metric) => metric in this.values);
    const others = Object.keys(this.values).filter((metric) => !Object.hasOwn(units, metric)).sort();
    return [
      ...known.map((metric) => [number(this.values[metric]), units[metric], metric]),
      ...others.map((metric) => [number(this.values[metric]), metric.replaceAll("_", " "), metric]),
    ];
  }

  // The metric that the sparkline shows.
  get metric() {
    return "temperature" in this.values ? "temperature" : (Object.keys(this.values).sort()[0] ?? null);
  }
}
