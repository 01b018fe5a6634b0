// Which charts of a device with many metrics are open. What a reader opens or folds is kept in the address (`metrics=a,b`).

export const ALL_UP_TO = 8; // with more metrics, only the first are open
const FIRST = 6;

export class Folding {
  // `names()`: the device's metrics, in order.
  constructor(names) {
    this.names = names;
    const given = new URL(location).searchParams.get("metrics");
    this.chosen = given === null ? null : new Set(given.split(",").filter(Boolean));
  }

  isOpen(metric) {
    if (this.chosen) return this.chosen.has(metric);
    const names = this.names();
    return names.length <= ALL_UP_TO || names.indexOf(metric) < FIRST;
  }

  open() {
    return this.names().filter((metric) => this.isOpen(metric));
  }

  set(metric, open) {
    const chosen = new Set(this.open());
    if (open) chosen.add(metric);
    else chosen.delete(metric);
    this.chosen = chosen;
    const address = new URL(location);
    address.searchParams.set("metrics", this.names().filter((name) => chosen.has(name)).join(","));
    history.replaceState(null, "", address);
  }
}
