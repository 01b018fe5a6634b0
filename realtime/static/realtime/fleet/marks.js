// Which devices have open alarms. The server counts them, because frames of the socket name at most 100 alarms.

const SOON_MS = 150; // until more changes of the same moment have come
const PAUSE_MS = 2000; // between two requests, however many alarms change
const AGAIN_MS = 10_000; // after the server did not answer

export class Marks {
  // `onMarks(devices)` is called with { device id: [number of open alarms, highest severity] }.
  constructor(onMarks) {
    this.onMarks = onMarks;
    this.timer = null;
    this.askedAt = -Infinity;
  }

  // Asks the server soon.
  ask(now = Date.now()) {
    this.timer ??= setTimeout(() => this.load(), Math.max(SOON_MS, this.askedAt + PAUSE_MS - now));
  }

  async load() {
    this.timer = null;
    this.askedAt = Date.now();
    const response = await fetch("/alarms/-/open").catch(() => null);
    const found = response?.ok ? await response.json().catch(() => null) : null;
    if (found) this.onMarks(found.devices);
    else if (response?.status !== 403) this.timer ??= setTimeout(() => this.load(), AGAIN_MS);
  }
}
