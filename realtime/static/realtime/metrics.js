// How people see metrics: their labels, units, decimals, order and plausible ranges. The page gets them with its data, from the
// server's catalogue. A metric that is not in it is shown with its name, without a unit, after the others.

import { metricName, number } from "./format.js";

const ORDER_DEFAULT = 1000; // devices/metrics.py

export class Catalogue {
  // `described`: [label, unit, decimals, order, low, high] by name.
  constructor(described = {}) {
    this.described = new Map(Object.entries(described)); // a metric may be called "constructor"
  }

  label(name) {
    return this.described.get(name)?.[0] || metricName(name);
  }

  unit(name) {
    return this.described.get(name)?.[1] ?? "";
  }

  // The unit of each metric that has one, by name.
  units() {
    return Object.fromEntries([...this.described].filter(([, [, unit]]) => unit).map(([name, [, unit]]) => [name, unit]));
  }

  heading(name) {
    const unit = this.unit(name);
    return unit ? `${this.label(name)} (${unit})` : this.label(name);
  }

  number(name, value) {
    return number(value, this.described.get(name)?.[2] ?? null);
  }

  text(name, value) {
    return `${this.number(name, value)} ${this.unit(name)}`.trimEnd();
  }

  compare(a, b) {
    const [first, second] = [a, b].map((name) => this.described.get(name)?.[3] ?? ORDER_DEFAULT);
    return first - second || (a < b ? -1 : a > b ? 1 : 0);
  }

  inOrder(names) {
    return [...names].sort((a, b) => this.compare(a, b));
  }

  // Why the value is not plausible, or an empty text.
  doubt(name, value) {
    const [low, high] = this.described.get(name)?.slice(4) ?? [null, null];
    if (low !== null && value < low) return `Below the plausible ${this.text(name, low)}`;
    return high !== null && value > high ? `Above the plausible ${this.text(name, high)}` : "";
  }
}
