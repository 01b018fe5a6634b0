// The alarms of the device: the list below the charts, and those that its charts show as bands.

import { Known } from "../alarms/known.js";
import { AlarmList } from "../alarms/list.js";
import { ask } from "../alarms/requests.js";

const LISTED = 20;
const IN_WINDOW = 500;
const BEFORE_WINDOW = 50; // an alarm that opened earlier may reach into the window
const PAUSE_MS = 1000;

export class DeviceAlarms {
  // `parts`: { box, more, none, failure }. `onChange()` is called when the charts have to be drawn again.
  constructor({ deviceId, page, parts, onChange }) {
    const texts = new Map(page.rules.map(({ id, text }) => [id, text]));
    Object.assign(this, { address: `/api/v1/devices/${encodeURIComponent(deviceId)}/alarms`, deviceId, page, parts, onChange });
    this.known = new Known();
    this.shown = []; // in the window
    this.list = new AlarmList(parts.box, { page, texts, onAcknowledge: (alarm, comment) => this.acknowledge(alarm, comment) });
    parts.more.addEventListener("click", () => this.loadMore());
  }

  // All alarms that the charts may show.
  get all() {
    const open = this.known.alarms.filter(({ state }) => state === "open");
    return [...new Map([...this.shown, ...open].map((alarm) => [alarm.id, alarm])).values()];
  }

  // Takes the open alarms from the socket.
  begin() {
    this.load();
    if (this.bounds) this.loadWindow(this.bounds);
  }

  change(alarm) {
    this.known.put(alarm);
    this.shown = this.shown.filter(({ id }) => id !== alarm.id).concat(alarm);
    this.draw();
    this.onChange();
  }

  async load() {
    try {
      this.known.begin(await ask("GET", `${this.address}?state=all&limit=${LISTED}`));
      // A device may have more resolved alarms that are newer than its open ones.
      for (const alarm of (await ask("GET", `${this.address}?state=open&limit=${LISTED}`)).results) this.known.put(alarm);
      this.fail("");
    } catch (error) {
      this.fail(error.message);
      this.again ??= setTimeout(() => {
        this.again = null;
        this.load();
      }, 5 * PAUSE_MS);
    }
    this.draw();
    this.onChange();
  }

  async loadMore() {
    try {
      const address = new URL(this.known.next);
      this.known.add(await ask("GET", address.pathname + address.search));
      this.fail("");
    } catch (error) {
      this.fail(error.message);
    }
    this.draw();
  }

  // Loads what the charts show in this window, in seconds.
  async loadWindow(bounds) {
    this.bounds = bounds;
    const start = new Date(bounds.start * 1000).toISOString();
    const query = (given) => `${this.address}?${new URLSearchParams({ state: "all", ...given })}`;
    try {
      const found = await Promise.all([
        ask("GET", query({ start, limit: IN_WINDOW })), ask("GET", query({ end: start, limit: BEFORE_WINDOW })),
      ]);
      if (this.bounds === bounds) this.shown = found.flatMap(({ results }) => results);
      this.onChange();
    } catch (error) {
      this.fail(error.message);
    }
  }

  async acknowledge(alarm, comment) {
    const changed = await ask("POST", `/api/v1/alarms/${alarm.id}/acknowledge`, { body: comment ? { comment } : {} });
    this.change(changed);
    return changed;
  }

  fail(message) {
    this.parts.failure.hidden = !message;
    this.parts.failure.textContent = message ? `The alarms could not be loaded. ${message}` : "";
  }

  draw() {
    const open = ({ state }) => (state === "open" ? 0 : 1);
    this.list.show([...this.known.alarms].sort((a, b) => open(a) - open(b)));
    this.parts.more.hidden = this.known.next === null;
    this.parts.none.hidden = this.known.alarms.length > 0;
  }
}
