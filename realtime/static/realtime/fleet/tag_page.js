// What the fleet page shows in addition when tags are chosen: their names as the title, their open alarms, and their mutes.

import { mutableWithin, tagMute } from "../alarms/mute.js";
import { MuteControl } from "../alarms/mute_control.js";
import { since } from "../alarms/words.js";
import { utc, whole } from "../format.js";
import { plural } from "../plural.js";

const AGAIN_MS = 15_000;
const LISTED = 10;

export class TagPage {
  // `limit`: the names of the tags that the account is limited to; null: no limit.
  constructor({ title, trail, alarms, mutes, limit }) {
    this.title = title;
    this.ending = document.title.replace("Fleet", ""); // " · Telemetry"
    this.trail = trail;
    this.alarms = alarms; // null: the account may not view alarms
    this.tags = [];
    if (mutes) this.mutes = new MuteControl(mutes, { allowed: mutes.dataset.allowed === "true" ? mutableWithin(limit) : () => false });
    this.mutes?.keepFresh();
    if (alarms) setInterval(() => document.hidden || this.load(), AGAIN_MS);
  }

  // `names`: the chosen tags.
  show(names) {
    if (names.join("\n") === this.tags.join("\n")) return;
    this.tags = names;
    const text = names.length ? names.join(" + ") : "Fleet";
    this.title.textContent = text;
    document.title = text + this.ending;
    this.trail.hidden = !names.length;
    if (!this.alarms) return;
    this.alarms.hidden = true;
    this.load();
    this.loadMutes(names);
  }

  async loadMutes(names) {
    this.mutes.show([], new Map());
    const answers = await Promise.all(names.map((name) => fetch(tagMute(name)).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null)));
    if (names !== this.tags) return;
    const found = names.map((name, place) => [name, answers[place]]).filter(([, answer]) => answer);
    const mutes = new Map(found.map(([name, { muted_until: until }]) => [tagMute(name), until]));
    this.mutes.show(found.map(([name]) => [`the tag ${name}`, tagMute(name)]), mutes);
  }

  async load() {
    this.loading?.abort();
    if (!this.alarms || !this.tags.length) return;
    this.loading = new AbortController();
    const query = new URLSearchParams([...this.tags.map((tag) => ["tag", tag]), ["limit", "1000"]]);
    const answer = await fetch(`/api/v1/alarms?${query}`, { signal: this.loading.signal }).catch(() => null);
    const found = answer?.ok ? await answer.json().catch(() => null) : null;
    if (found) this.list(found);
  }

  list({ results, next }) {
    const [heading, list] = this.alarms.children;
    const number = next ? `More than ${results.length}` : String(results.length);
    heading.textContent = `${number} open ${plural(results.length, "alarm", "alarms")}`;
    list.replaceChildren(...results.slice(0, LISTED).map(item));
    if (results.length > LISTED) {
      list.append(Object.assign(document.createElement("li"), { className: "muted", textContent: `and ${whole(results.length - LISTED)} more` }));
    }
    const page = document.createElement("a");
    page.href = `${this.alarms.dataset.page}?${new URLSearchParams(this.tags.map((tag) => ["tag", tag]))}`;
    page.textContent = "Acknowledge or mute them";
    list.append(Object.assign(document.createElement("li"), { className: "all" }));
    list.lastChild.append(page);
    this.alarms.hidden = results.length === 0;
  }
}

function item(alarm) {
  const line = document.createElement("li");
  const severity = document.createElement("span");
  severity.className = "severity";
  severity.dataset.severity = alarm.rule.severity;
  severity.textContent = alarm.rule.severity;
  const device = document.createElement("a");
  device.href = `/live/${encodeURIComponent(alarm.device_id)}/`;
  device.textContent = alarm.device_name || alarm.device_id;
  device.title = alarm.device_id;
  const when = document.createElement("span");
  when.className = "muted";
  when.textContent = since(alarm);
  when.title = `Began ${utc(Date.parse(alarm.began_at))}, opened ${utc(Date.parse(alarm.opened_at))}`;
  if (alarm.acknowledged_at) when.textContent += ", acknowledged";
  line.append(severity, " ", alarm.rule.name, " ", device, " ", when);
  return line;
}
