// A page without a connection to the server: a banner says since when, and [data-stale] marks the values as old.

import { localMoment } from "./format.js";

const WAIT_MS = 4000; // a shorter loss, such as a restart of the server, is not announced

export class Outage {
  // `connection` shows the state in one word, `banner` is in a live region, `page` gets the attribute data-stale.
  // `onChange(since)` is called when the values on the page become old, and with null when they are current again.
  constructor({ connection, banner, page, onChange = () => {} }, now = Date.now()) {
    Object.assign(this, { connection, banner, page, onChange, heardAt: now, lostAt: now });
    this.since = null; // while the values are old: when the server was last heard, in milliseconds
    this.name = "connecting";
    this.detail = "";
  }

  // Takes a state of live.js. `heardAt` is the time of the last frame; null before the first one.
  state(name, detail, heardAt, now = Date.now()) {
    this.name = name;
    // Not what a server says while it cannot serve, for example without its database: the values stay as of before.
    if (this.lostAt === null) this.heardAt = heardAt ?? this.heardAt;
    if (name !== "connecting") this.detail = detail ?? ""; // while connecting again, keep the reason for the last loss
    if (name === "live" || name === "catching up") this.lostAt = null;
    else this.lostAt ??= now; // when the loss was noticed
    this.check(now);
  }

  // Call this every second.
  check(now = Date.now()) {
    const lost = this.lostAt !== null && (this.name === "refused" || now - this.lostAt >= WAIT_MS);
    const since = lost ? this.heardAt : null;
    if (since !== this.since) {
      this.since = since;
      this.page.toggleAttribute("data-stale", lost);
      this.onChange(since);
    }
    // The word stays the same from attempt to attempt, because screen readers read every change.
    const word = lost && this.name === "connecting" ? "disconnected" : this.name;
    this.connection.dataset.state = word;
    if (this.connection.textContent !== word) this.connection.textContent = word;
    const text = lost ? this.words(now) : "";
    this.banner.hidden = !lost;
    if (this.banner.textContent !== text) this.banner.textContent = text;
  }

  words(now) {
    const at = clock(this.since, now);
    const sentences =
      this.name === "refused"
        ? [this.detail, `The connection to the server ended at ${at}. The values below are as of then.`]
        : [`No connection to the server since ${at}. The values below are as of then.`, this.detail, "Reconnecting …"];
    return sentences.filter(Boolean).join(" ");
  }
}

// A moment in the reader's time zone, as short as possible: 00:57, or with the day if that is not today.
export function clock(moment, now = Date.now()) {
  const [date, today] = [new Date(moment), new Date(now)];
  if (date.toDateString() === today.toDateString()) {
    return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  }
  if (date.getFullYear() === today.getFullYear()) return localMoment(moment);
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
