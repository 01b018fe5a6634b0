// Loads the sparklines of the visible devices: one request for many devices, repeated every few minutes.

const WAIT_MS = 120; // until scrolling stops
const RENEW_MS = 300_000;
const NONE_YET_MS = 10_000; // for a device without a line, because its first hour may be rolled up now; also after an error
const AT_ONCE = 100; // devices in one request

export class Sparklines {
  constructor(onLines) {
    this.onLines = onLines; // called with the devices that have a new line
    this.asked = new Map(); // device → time of the last request
    this.wanted = [];
    this.failedAt = -Infinity;
  }

  want(devices) {
    this.wanted = devices;
    this.timer ??= setTimeout(() => this.ask(), WAIT_MS);
  }

  async ask() {
    this.timer = null;
    const now = Date.now();
    if (now - this.failedAt < NONE_YET_MS) return;
    const due = this.wanted.filter((device) => device.metric && now - (this.asked.get(device) ?? -Infinity) > (device.line ? RENEW_MS : NONE_YET_MS));
    const byMetric = Map.groupBy ? Map.groupBy(due, (device) => device.metric) : grouped(due);
    for (const [metric, devices] of byMetric) {
      for (let n = 0; n < devices.length; n += AT_ONCE) await this.load(metric, devices.slice(n, n + AT_ONCE), now);
    }
  }

  async load(metric, devices, now) {
    for (const device of devices) this.asked.set(device, now);
    const query = new URLSearchParams({ metric, devices: devices.map((device) => device.id).join(",") });
    try {
      const response = await fetch(`/live/-/sparklines?${query}`);
      if (!response.ok) throw new Error(response.statusText);
      const { values } = await response.json();
      for (const device of devices) device.line = Object.hasOwn(values, device.id) ? values[device.id] : null;
      this.onLines(devices);
    } catch {
      this.failedAt = now;
      for (const device of devices) this.asked.delete(device); // try again later, if the device is still visible
    }
  }
}

function grouped(devices) {
  const groups = new Map();
  for (const device of devices) groups.set(device.metric, [...(groups.get(device.metric) ?? []), device]);
  return groups;
}
