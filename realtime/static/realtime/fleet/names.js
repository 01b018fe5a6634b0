// Loads the names and tags of devices that were registered after the page was loaded.

const AGAIN_MS = 10_000; // after the server did not answer, or had too much to do

export class Names {
  constructor(onName) {
    this.onName = onName; // called with a device, its name and the names of its tags
    this.waiting = [];
    this.running = false;
  }

  want(device) {
    this.waiting.push(device);
    if (!this.running) this.run();
  }

  // One after the other, because a thousand devices may be registered at once, and every open page asks for them.
  async run() {
    this.running = true;
    while (this.waiting.length) {
      const [device] = this.waiting;
      const answer = await fetch(`/api/v1/devices/${encodeURIComponent(device.id)}`).catch(() => null);
      const found = answer?.ok ? await answer.json().catch(() => null) : null;
      if (!answer || answer.status >= 500 || answer.status === 429 || (answer.ok && !found)) {
        setTimeout(() => this.run(), AGAIN_MS);
        return;
      }
      this.waiting.shift();
      if (found) this.onName(device, found.name, found.tags ?? []);
      // This account may watch readings, but not view devices.
      if (answer.status === 403) this.waiting = [];
    }
    this.running = false;
  }
}
