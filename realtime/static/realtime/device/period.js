// Which stretch of time the page shows: a range that ends now and moves on, or a fixed one after zooming.

export const RANGES = { "1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400, "1y": 365 * 86_400 };
const SHORTEST_SECONDS = 10;
const EARLIEST = Date.UTC(1970, 0, 2) / 1000;

// All moments in seconds since the epoch.
export class Period {
  constructor(onChange) {
    this.onChange = onChange;
    this.name = new URL(location).searchParams.get("range") ?? "1h";
    if (!Object.hasOwn(RANGES, this.name)) this.name = "1h";
    this.fixed = null;
  }

  get following() {
    return this.fixed === null;
  }

  get seconds() {
    return this.following ? RANGES[this.name] : this.fixed.end - this.fixed.start;
  }

  bounds(now = Date.now() / 1000) {
    return this.fixed ?? { start: now - RANGES[this.name], end: now };
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

  // By a part of the window's own length: earlier (-0.5), later (0.5). Past the present it follows again.
  shift(part) {
    const { start, end } = this.bounds();
    const by = (end - start) * part;
    const almost = (end - start) / 10;
    if (part > 0 && end + by >= Date.now() / 1000 - almost) return this.choose(this.name);
    this.zoom(start + by, end + by);
  }

  // To half or twice its length; the present stays the right edge where it is that now.
  scale(factor) {
    const { start, end } = this.bounds();
    const length = (end - start) * factor;
    if (Date.now() / 1000 - end < 2) return this.zoom(end - length, end);
    const middle = (start + end) / 2;
    this.zoom(middle - length / 2, middle + length / 2);
  }
}
