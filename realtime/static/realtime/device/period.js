// The period that the page shows: a range that ends now and moves with the clock, or a fixed one after zooming.

export const RANGES = { "1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400, "1y": 365 * 86_400, all: null };
const SHORTEST_SECONDS = 10;
const SHORTEST_LOG_SECONDS = 60;
const EARLIEST = 0; // the log holds no earlier reading (readings/windows.py)

// All moments are in seconds since the epoch. `began`: the time of the first reading; null while there is none.
export class Period {
  constructor(onChange, began) {
    this.onChange = onChange;
    this.began = began;
    this.name = new URL(location).searchParams.get("range");
    if (!Object.hasOwn(RANGES, this.name)) this.name = this.usual();
    this.fixed = null;
  }

  // If the log is younger than an hour, show all of it, because an hour would be mostly empty.
  usual() {
    return this.began !== null && this.began < Date.now() / 1000 - RANGES["1h"] ? "1h" : "all";
  }

  get following() {
    return this.fixed === null;
  }

  bounds(now = Date.now() / 1000) {
    if (this.fixed) return this.fixed;
    if (this.name !== "all") return { start: now - RANGES[this.name], end: now };
    return { start: Math.max(Math.min(this.began ?? now, now - SHORTEST_LOG_SECONDS), EARLIEST), end: now };
  }

  // A reading of this moment exists, so the log begins at this moment or earlier.
  include(moment) {
    this.began = Math.min(this.began ?? moment, moment);
  }

  choose(name) {
    this.name = name;
    this.fixed = null;
    const address = new URL(location);
    address.searchParams.set("range", name);
    history.replaceState(null, "", address);
    this.onChange();
  }

  zoom(start, end) {
    const now = Date.now() / 1000;
    const middle = (start + end) / 2;
    const half = Math.max((end - start) / 2, SHORTEST_SECONDS / 2);
    const last = Math.min(middle + half, now);
    const first = Math.max(middle - half, EARLIEST);
    if (last - first >= SHORTEST_SECONDS) this.fixed = { start: first, end: last };
    this.onChange();
  }

  // Moves the window by a part of its length: earlier (-0.5) or later (0.5). When its end passes now, it follows the clock again.
  shift(part) {
    const { start, end } = this.bounds();
    const by = (end - start) * part;
    const almost = (end - start) / 10;
    if (part > 0 && end + by >= Date.now() / 1000 - almost) return this.choose(this.name);
    this.zoom(start + by, end + by);
  }

  // Multiplies the window's length by `factor`. If its right edge is now, that edge stays.
  scale(factor) {
    const { start, end } = this.bounds();
    const length = (end - start) * factor;
    if (Date.now() / 1000 - end < 2) return this.zoom(end - length, end);
    const middle = (start + end) / 2;
    this.zoom(middle - length / 2, middle + length / 2);
  }
}
