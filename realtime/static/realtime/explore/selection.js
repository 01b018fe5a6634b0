// Which devices and metrics are compared, kept in the address: `device_id=a&device_id=b&metrics=x,y`. A link is the view.

export const DEVICES_MAX = 100; // of an answer (readings/history/parameters.py)
export const METRICS_MAX = 35;
export const TAGS_MAX = 10; // of a filter (devices/tags.py)

export class Selection {
  constructor(onChange) {
    const given = new URL(location).searchParams;
    this.onChange = onChange;
    this.devices = [...new Set(given.getAll("device_id"))];
    this.tags = [...new Set(given.getAll("tag"))];
    this.metrics = [...new Set((given.get("metrics") ?? "").split(",").filter(Boolean))];
  }

  get isEmpty() {
    return !this.devices.length && !this.tags.length;
  }

  // `kind`: "devices", "tags" or "metrics".
  add(kind, name) {
    if (this[kind].includes(name)) return;
    this[kind].push(name);
    this.changed();
  }

  remove(kind, name) {
    this[kind] = this[kind].filter((other) => other !== name);
    this.changed();
  }

  changed() {
    const address = new URL(location);
    for (const name of ["device_id", "tag", "metrics"]) address.searchParams.delete(name);
    for (const [name, value] of this.parameters()) address.searchParams.append(name, value);
    history.replaceState(null, "", address);
    this.onChange();
  }

  // [name, value] pairs, as of the API.
  parameters(metrics = this.metrics) {
    return [
      ...this.devices.map((id) => ["device_id", id]),
      ...this.tags.map((name) => ["tag", name]),
      ...(metrics.length ? [["metrics", metrics.join(",")]] : []),
    ];
  }
}
