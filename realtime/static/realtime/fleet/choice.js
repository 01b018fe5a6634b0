// Which devices are shown, and in which order. Kept in the URL, so that a view can be shared.

import { SEVERITIES } from "../alarms/words.js";
import { STATUSES } from "../status.js";
import { keyOf } from "./tags.js";

const ORDER_OF_STATUS = ["offline", "late", "online", "never", "deactivated"]; // devices with problems come first
const byId = (a, b) => (a.id < b.id ? -1 : 1);
const name = (device) => device.name || device.id;
const byText = new Intl.Collator("en", { numeric: true }).compare; // many times as fast as localeCompare

// Sorts that are not metrics: which order is usual, and what both orders are called. The names of orders are those of the usual
// sense of the word: by status, what needs looking at is "up".
const SORTS = {
  name: { usual: "asc", asc: "A to Z", desc: "Z to A" },
  status: { usual: "asc", asc: "problems first", desc: "problems last" },
  alarms: { usual: "desc", asc: "fewest first", desc: "most first" },
  seen: { usual: "desc", asc: "longest ago first", desc: "newest first" },
};
const METRIC = { usual: "desc", asc: "lowest first", desc: "highest first" };
export const sortOf = (sort) => (Object.hasOwn(SORTS, sort) ? SORTS[sort] : METRIC);

// The first of these that a device has is its battery, and its signal.
const VIEWS = {
  battery: ["battery", "battery_level", "battery_percent", "battery_voltage", "vbat", "voltage"],
  signal: ["rssi", "wifi_signal", "signal", "snr"],
};

// [[name, metric]]: the views that show what is lowest first, as far as devices have such a metric.
export function viewsOf(metrics) {
  const found = Object.entries(VIEWS).map(([view, names]) => [view, names.find((metric) => metrics.has(metric))]);
  return found.filter(([, metric]) => metric);
}

export class Choice {
  constructor() {
    const query = new URL(location).searchParams;
    this.search = query.get("search") ?? "";
    this.status = query.get("status") ?? "";
    this.sort = query.get("sort") ?? "name";
    this.order = query.get("order") ?? "";
    if (!["asc", "desc"].includes(this.order)) this.order = sortOf(this.sort).usual;
    this.alarms = query.get("alarms") === "open" ? "open" : ""; // only devices with open alarms
    this.tags = new Map(query.getAll("tag").map((tag) => [keyOf(tag), tag])); // key → name
  }

  // The metric that the list is sorted by, or null.
  get metric() {
    return Object.hasOwn(SORTS, this.sort) ? null : this.sort;
  }

  sortBy(sort, order = sortOf(sort).usual) {
    this.sort = sort;
    this.order = order;
  }

  reverse() {
    this.order = this.order === "asc" ? "desc" : "asc";
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
    if (this.order !== sortOf(this.sort).usual) address.searchParams.set("order", this.order);
    else address.searchParams.delete("order");
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

  // What a device does not have is last in both orders.
  comparison() {
    const of = {
      name: (device) => name(device),
      status: (device) => ORDER_OF_STATUS.indexOf(device.status),
      alarms: (device) => urgency(device.alarms),
      seen: (device) => device.seen ?? undefined,
    }[this.sort] ?? ((device) => device.value(this.sort));
    const sign = this.order === "asc" ? 1 : -1;
    return (a, b) => {
      const [first, second] = [of(a), of(b)];
      if (first === undefined || second === undefined) return (first === undefined) - (second === undefined) || byId(a, b);
      return sign * (typeof first === "string" ? byText(first, second) : first - second) || byId(a, b);
    };
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
