// One alarm in a list. It is created once, and then only changed parts are updated, so that nobody's typing is lost.

import { make, set } from "../elements.js";
import { localMoment, utc } from "../format.js";
import { commentForm } from "./comment_form.js";
import { deviceMute, mutedText, muteForm, ruleMute, tagMute } from "./mute.js";
import { ask } from "./requests.js";
import { about, acknowledgement, ending, since, values } from "./words.js";

export class AlarmRow {
  // `page`: { catalogue, links, acknowledges }; `texts`: what to do, by rule id. `onAcknowledge(alarm, comment)` returns a promise.
  // `mutes`: until when, by the address of the API of what is muted; null: nothing can be muted here. `tagsOf(alarm)`: the names
  // of tags of its device that can be muted here. `mutable(address)`: whether the account may mute and unmute it.
  constructor({ page, texts, onAcknowledge, mutes = null, tagsOf = () => [], mutable = () => true }) {
    Object.assign(this, { page, texts, onAcknowledge, mutes, tagsOf, mutable });
    this.root = make("li", "alarm");
    this.severity = this.root.appendChild(make("span", "severity"));
    const what = this.root.appendChild(make("div", "alarm-what"));
    this.rule = what.appendChild(make("strong"));
    this.text = what.appendChild(make("p", "alarm-text"));
    this.device = this.root.appendChild(make("div", "alarm-device"));
    this.values = this.root.appendChild(make("div", "alarm-values"));
    this.when = this.root.appendChild(make("div", "alarm-when"));
    this.known = this.root.appendChild(make("div", "alarm-known"));
    this.note = this.known.appendChild(make("p", "alarm-note"));
  }

  show(alarm, now = Date.now()) {
    this.alarm = alarm;
    this.root.dataset.alarm = alarm.id;
    set(this.severity, alarm.rule.severity);
    this.severity.dataset.severity = alarm.rule.severity;
    set(this.rule, alarm.rule.name);
    set(this.text, this.texts.get(alarm.rule.id) ?? "");
    this.text.hidden = !this.text.textContent || alarm.state === "resolved";
    this.showDevice(alarm);
    set(this.values, values(alarm, this.page.catalogue));
    this.showWhen(alarm, now);
    set(this.note, acknowledgement(alarm));
    this.note.title = alarm.acknowledged_at ? utc(Date.parse(alarm.acknowledged_at)) : "";
    this.showButton(alarm);
  }

  showDevice({ device_id: id, device_name: name }) {
    if (!this.device.firstChild) this.device.append(make(this.page.links ? "a" : "span"));
    const link = this.device.firstChild;
    if (this.page.links) link.href = `/live/${encodeURIComponent(id)}/`;
    link.title = id;
    set(link, name || id);
  }

  showWhen(alarm, now) {
    const began = Date.parse(alarm.began_at);
    const late = alarm.late ? ", noticed later" : "";
    if (alarm.state === "open") {
      const muted = this.targets(alarm).map(([, address]) => mutedText(this.mutes?.get(address), now)).find(Boolean);
      set(this.when, `${since(alarm, now)}${late}${muted ? `, ${muted}` : ""}`);
    } else {
      const lasted = about((Date.parse(alarm.resolved_at) - began) / 1000);
      const ended = ending(alarm);
      set(this.when, `${localMoment(began)}, for ${lasted}${late}${ended ? `. ${ended}` : ""}`);
    }
    const resolved = alarm.resolved_at ? `, resolved ${utc(Date.parse(alarm.resolved_at))}` : "";
    this.when.title = `Began ${utc(began)}, opened ${utc(Date.parse(alarm.opened_at))}, noticed ${utc(Date.parse(alarm.noticed_at))}${resolved}`;
  }

  showButton(alarm) {
    const wanted = this.page.acknowledges && alarm.state === "open";
    if (!wanted && !this.form) {
      this.button?.remove();
      this.muting?.remove();
    }
    if (!wanted) return;
    if (!this.button) {
      this.button = make("button", "action small");
      this.button.type = "button";
      this.button.addEventListener("click", () => this.open());
    }
    if (!this.form && !this.button.isConnected) this.known.append(this.button);
    this.showMuting(alarm);
    set(this.button, alarm.acknowledged_at ? "Comment" : "Acknowledge");
    this.button.setAttribute("aria-label", `${this.button.textContent}: ${alarm.rule.name}, ${alarm.device_name || alarm.device_id}`);
  }

  targets(alarm) {
    const { rule, device_id: id, device_name: name } = alarm;
    const tags = this.tagsOf(alarm).map((tag) => [`devices tagged ${tag}`, tagMute(tag)]);
    return [[`this rule: ${rule.name}`, ruleMute(rule.id)], [`this device: ${name || id}`, deviceMute(id)], ...tags];
  }

  // The target that the account can unmute; undefined if there is none.
  mutedTarget() {
    return this.targets(this.alarm).find(([, address]) => this.mutable(address) && mutedText(this.mutes.get(address)));
  }

  showMuting(alarm) {
    if (!this.mutes) return;
    if (!this.muting) {
      this.muting = make("button", "action small");
      this.muting.type = "button";
      this.muting.addEventListener("click", () => this.openMuting());
    }
    set(this.muting, this.mutedTarget() ? "Unmute" : "Mute");
    this.muting.setAttribute("aria-label", `${this.muting.textContent}: ${alarm.rule.name}, ${alarm.device_name || alarm.device_id}`);
    if (!this.form && !this.muting.isConnected) this.known.append(this.muting);
  }

  async openMuting() {
    const muted = this.mutedTarget();
    if (muted) return this.unmute(muted[1]);
    this.muting.hidden = true;
    const form = muteForm({
      targets: this.targets(this.alarm).filter(([, address]) => this.mutable(address)),
      onDone: (address, until) => this.mutes.set(address, until),
      onClose: () => {
        this.muting.hidden = false;
        this.muting.focus();
        this.show(this.alarm);
      },
    });
    this.known.append(form);
    form.querySelector("select").focus();
  }

  async unmute(address) {
    this.muting.disabled = true;
    try {
      await ask("DELETE", address);
      this.mutes.delete(address);
    } catch (error) {
      set(this.note, `Not unmuted: ${error.message}`);
    }
    this.muting.disabled = false;
    this.show(this.alarm);
  }

  open() {
    this.form = commentForm({
      id: `comment-${this.alarm.id}`,
      comment: this.alarm.comment ?? "",
      send: this.alarm.acknowledged_at ? "Save" : "Acknowledge",
      onSend: async (comment) => (this.alarm = await this.onAcknowledge(this.alarm, comment)),
      onClose: () => this.close(),
    });
    this.button.replaceWith(this.form);
    this.form.querySelector("input").focus();
  }

  close() {
    this.form.replaceWith(this.button);
    this.form = null;
    this.button.focus();
    this.show(this.alarm);
  }
}
