// Which devices are shown, and in which order. Kept in the URL, so that a view can be shared.

import { SEVERITIES } from "../alarms/words.js";
import { STATUSES } from "../status.js";
import { keyOf } from "./tags.js";

const ORDER_OF_STATUS = ["offline", "late", "online", "never", "deactivated"]; // devices with problems come first
const byId = (a, b) => (a.id < b.id ? -1 : 1);
const name = (device) => device.name || device.id;

export class Choice {
  constructor() {
    const query = new URL(location).searchParams;
    this.search = query.get("search") ?? "";
    this.status = query.get("status") ?? "";
    this.sort = query.get("sort") ?? "name";
    this.alarms = query.get("alarms") === "open" ? "open" : ""; // only devices with open alarms
    this.tags = new Map(query.getAll("tag").map((tag) => [keyOf(tag), tag])); // key → name
  }

  toggle({ key, name }) {
    if (!this.tags.delete(key)) this.tags.set(key, name);
  }

  remember() {
    const address = new URL(location);
    for (const key of ["search", "status", "alarms", "sort"]) {
      const value = this[key];
      if (value && value !== "name") address.searchParams.set(key, value);
      else address.searchParams.delete(key);
    }
    address.searchParams.delete("tag");
    for (const tag of this.tags.values()) address.searchParams.append("tag", tag);
    history.replaceState(null, "", address);
  }

  // The devices that are shown, in their order.
  of(devices) {
    return this.ofStatus(this.narrowed(devices)).sort(this.comparison());
  }

  // Only devices that match the search and have all chosen tags.
  narrowed(devices) {
    const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
    const keys = [...this.tags.keys()];
    return devices.filter((device) => keys.every((key) => device.keys.has(key)) && words.every((word) => device.text.includes(word)));
  }

  // Only devices of the chosen status, and with open alarms if that is chosen.
  ofStatus(devices) {
    return devices.filter((device) => (!this.status || device.status === this.status) && (!this.alarms || device.alarms));
  }

  comparison() {
    const by = {
      name: (a, b) => name(a).localeCompare(name(b), "en", { numeric: true }),
      status: (a, b) => ORDER_OF_STATUS.indexOf(a.status) - ORDER_OF_STATUS.indexOf(b.status),
      alarms: (a, b) => urgency(b.alarms) - urgency(a.alarms),
      seen: (a, b) => (b.seen ?? -1) - (a.seen ?? -1),
    }[this.sort] ?? ((a, b) => (b.values[this.sort] ?? -Infinity) - (a.values[this.sort] ?? -Infinity) || 0);
    return (a, b) => by(a, b) || byId(a, b);
  }
}

// The most severe alarms first, then the most alarms.
const urgency = (alarms) => (alarms ? (SEVERITIES.length - SEVERITIES.indexOf(alarms[1])) * 1e6 + alarms[0] : 0);

// The number of devices by status: those in STATUSES, and any other that occurs.
export function counts(devices) {
  const found = Object.fromEntries(STATUSES.map((status) => [status, 0]));
  for (const device of devices) found[device.status] = (found[device.status] ?? 0) + 1;
  return found;
}
