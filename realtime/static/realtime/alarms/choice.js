// Which alarms are shown. Kept in the URL, so that a view can be shared.

import { keyOf } from "../fleet/tags.js";
import { SEVERITIES } from "./words.js";

const KEYS = ["severity", "rule", "device"];

export class Choice {
  constructor() {
    const query = new URL(location).searchParams;
    for (const key of KEYS) this[key] = query.get(key) ?? "";
    if (!SEVERITIES.includes(this.severity)) this.severity = "";
    if (!/^[1-9]\d{0,17}$/.test(this.rule)) this.rule = "";
    this.tags = new Map(query.getAll("tag").filter(Boolean).map((tag) => [keyOf(tag), tag])); // key → name
  }

  get any() {
    return this.tags.size > 0 || KEYS.some((key) => this[key]);
  }

  set(key, value) {
    this[key] = value;
    this.remember();
  }

  toggleTag({ key, name }) {
    if (!this.tags.delete(key)) this.tags.set(key, name);
    this.remember();
  }

  clear() {
    for (const key of KEYS) this[key] = "";
    this.tags.clear();
    this.remember();
  }

  remember() {
    const address = new URL(location);
    for (const name of KEYS) {
      if (this[name]) address.searchParams.set(name, this[name]);
      else address.searchParams.delete(name);
    }
    address.searchParams.delete("tag");
    for (const name of this.tags.values()) address.searchParams.append("tag", name);
    history.replaceState(null, "", address);
  }

  // The address of the first page in the API.
  address(state, limit) {
    const query = new URLSearchParams({ state, limit });
    for (const key of KEYS) if (this[key]) query.set(key === "device" ? "device_id" : key, this[key]);
    for (const name of this.tags.values()) query.append("tag", name);
    return `/api/v1/alarms?${query}`;
  }

  // Whether this alarm is shown; null if only the server knows.
  shows(alarm) {
    if (this.severity && alarm.rule.severity !== this.severity) return false;
    if (this.rule && String(alarm.rule.id) !== this.rule) return false;
    if (this.device && alarm.device_id !== this.device) return false;
    return this.tags.size ? null : true;
  }
}
