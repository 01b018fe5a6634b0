// Sparklines are asked for what is looked at: one query for many devices, renewed every few minutes.

const WAIT_MS = 120; // until scrolling rests
const RENEW_MS = 300_000;
const NONE_YET_MS = 10_000; // of a device that had no line: its first hour may be rolled up by now
const AT_ONCE = 100; // devices of one question

export class Sparklines {
  constructor(onLines) {
    this.onLines = onLines; // told which devices have got theirs
    this.asked = new Map(); // device → when
    this.wanted = [];
  }

  want(devices) {
    this.wanted = devices;
    this.timer ??= setTimeout(() => this.ask(), WAIT_MS);
  }

  async ask() {
    this.timer = null;
    const now = Date.now();
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
      for (const device of devices) device.line = values[device.id] ?? null;
      this.onLines(devices);
    } catch {
      for (const device of devices) this.asked.delete(device); // again when it is looked at again
    }
  }
}

function grouped(devices) {
  const groups = new Map();
  for (const device of devices) groups.set(device.metric, [...(groups.get(device.metric) ?? []), device]);
  return groups;
}
