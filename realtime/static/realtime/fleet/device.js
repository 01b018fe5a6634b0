// What the page knows of one device, from the list that came with it and from the socket.

import { number } from "../format.js";
import { statusOf } from "../status.js";

const NOT_METRICS = new Set(["id", "seq", "timestamp"]);

export class Device {
  constructor([id, name, active, interval, seen, values]) {
    Object.assign(this, { id, active, values });
    this.seen = seen === null ? null : seen * 1000;
    this.describe(name, interval);
    this.line = undefined; // the sparkline's values, once they were asked for
    this.told = null; // the status that the socket told; until then it is judged here
    this.judge();
  }

  // What operators call it, and how often it should report, in seconds.
  describe(name, interval) {
    Object.assign(this, { name, interval });
    this.text = `${this.id} ${name}`.toLowerCase();
  }

  // Judges the status anew; whether it has changed.
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

  // [[text, unit, metric]] of the latest values: those with a unit first, others with their name.
  shown(units) {
    const known = Object.keys(units).filter((metric) => metric in this.values);
    const others = Object.keys(this.values).filter((metric) => !Object.hasOwn(units, metric)).sort();
    return [
      ...known.map((metric) => [number(this.values[metric]), units[metric], metric]),
      ...others.map((metric) => [number(this.values[metric]), metric.replaceAll("_", " "), metric]),
    ];
  }

  // The metric that its sparkline is of.
  get metric() {
    return "temperature" in this.values ? "temperature" : (Object.keys(this.values).sort()[0] ?? null);
  }
}
