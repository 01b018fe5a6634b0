// Until when rules, devices and tags are muted, as the server says it.

import { AGAIN_MS, deviceMute, ruleMute, tagMute } from "./mute.js";
import { ask } from "./requests.js";

export class Mutes {
  // `found`: { muted_rules: [[id, until]], muted: [[device id, until]], muted_tags: [[device id, tag, until]] }.
  constructor(found) {
    this.until = new Map(); // by the address of the API of what is muted
    this.tagsOf = new Map(); // device id → the names of its tags that are muted
    this.take(found);
  }

  take({ muted_rules: rules, muted: devices, muted_tags: tags }) {
    this.until.clear();
    this.tagsOf.clear();
    for (const [id, until] of rules) this.until.set(ruleMute(id), until);
    for (const [id, until] of devices) this.until.set(deviceMute(id), until);
    for (const [id, tag, until] of tags) {
      this.until.set(tagMute(tag), until);
      this.tagsOf.set(id, [...(this.tagsOf.get(id) ?? []), tag]);
    }
  }

  // Asks the server again. What was muted here meanwhile is newer than its answer.
  async refresh() {
    const before = JSON.stringify([...this.until]);
    const found = await ask("GET", "/alarms/-/mutes").catch(() => null);
    if (found && before === JSON.stringify([...this.until])) this.take(found);
  }

  // Others mute and unmute too.
  keepFresh() {
    setInterval(() => document.hidden || this.refresh(), AGAIN_MS);
  }
}
