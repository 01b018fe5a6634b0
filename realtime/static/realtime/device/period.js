// The period that the page shows: a range that ends now and moves with the clock, or a fixed one after zooming. It is kept in
// the address, as `range=24h` or as `start=…&end=…`, so that a link shows the same period.

export const RANGES = { "1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400, "1y": 365 * 86_400, all: null };
const SHORTEST_SECONDS = 10;
const SHORTEST_LOG_SECONDS = 60;
const EARLIEST = 0; // the log holds no earlier reading (readings/windows.py)

// All moments are in seconds since the epoch. `began`, `last`: the times of the first and the last reading; null while there is
// none. `first`: the range without a choice; by default it depends on them. The range `all` needs `began`.
export class Period {
  constructor(onChange, { began = null, last = null, first = null } = {}) {
    this.onChange = onChange;
    this.began = began;
    this.last = last;
    const given = new URL(location).searchParams;
    this.name = given.get("range");
    if (!Object.hasOwn(RANGES, this.name) || (first && this.name === "all")) this.name = first ?? this.usual();
    this.fixed = fixedOf(given);
  }

  // If the log is younger than an hour, show all of it, because an hour would be mostly empty. Of a device that has been silent
  // for longer, show what it sent last.
  usual() {
    const now = Date.now() / 1000;
    if (this.began === null || this.began >= now - RANGES["1h"]) return "all";
    return Object.keys(RANGES).find((name) => now - (this.last ?? now) < (RANGES[name] ?? Infinity));
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
    this.remember({ range: name, start: null, end: null });
    this.onChange();
  }

  // Shows exactly this period.
  pick(start, end) {
    this.fixed = { start, end };
    this.remember({ start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString() });
    this.onChange();
  }

  remember(parameters) {
    const address = new URL(location);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    }
    history.replaceState(null, "", address);
  }

  zoom(start, end) {
    const now = Date.now() / 1000;
    const middle = (start + end) / 2;
    const half = Math.max((end - start) / 2, SHORTEST_SECONDS / 2);
    const last = Math.min(middle + half, now);
    const first = Math.max(middle - half, EARLIEST);
    if (last - first >= SHORTEST_SECONDS) this.pick(first, last);
    else this.onChange();
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

function fixedOf(parameters) {
  const [start, end] = ["start", "end"].map((name) => Date.parse(parameters.get(name) ?? "") / 1000);
  return start >= EARLIEST && start < end ? { start, end } : null; // false for NaN
}
