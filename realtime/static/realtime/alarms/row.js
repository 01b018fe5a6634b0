// One alarm in a list. It is created once, and then only changed parts are updated, so that nobody's typing is lost.

import { ago, localMoment, utc } from "../format.js";
import { deviceMute, mutedText, muteForm, ruleMute, tagMute } from "./mute.js";
import { Refused, ask } from "./requests.js";
import { about, acknowledgement, ending, values } from "./words.js";

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
      set(this.when, `since ${ago(began, now).replace("just now", "now").replace(" ago", "")}${late}${muted ? `, ${muted}` : ""}`);
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
    this.form = make("form", "alarm-form");
    const label = make("label", "hidden-visually");
    label.textContent = "Comment";
    this.input = make("input", "field");
    this.input.maxLength = 1000;
    this.input.placeholder = "Comment (optional)";
    this.input.value = this.alarm.comment ?? "";
    this.input.id = `comment-${this.alarm.id}`;
    label.htmlFor = this.input.id;
    const send = make("button", "action small primary");
    send.textContent = this.alarm.acknowledged_at ? "Save" : "Acknowledge";
    const cancel = make("button", "action small");
    cancel.type = "button";
    cancel.textContent = "Cancel";
    const failure = make("p", "alarm-failure");
    failure.setAttribute("role", "alert");
    this.form.append(label, this.input, send, cancel, failure);
    this.button.replaceWith(this.form);
    this.input.focus();
    cancel.addEventListener("click", () => this.close());
    this.form.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.form.addEventListener("submit", async (event) => {
      event.preventDefault();
      send.disabled = true;
      failure.textContent = "";
      try {
        const alarm = await this.onAcknowledge(this.alarm, this.input.value.trim());
        this.close();
        this.show(alarm);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        failure.textContent = `Not acknowledged: ${error.message}`;
        send.disabled = false;
      }
    });
  }

  close() {
    this.form.replaceWith(this.button);
    this.form = null;
    this.button.focus();
    this.show(this.alarm);
  }
}

export function make(tag, name = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  return element;
}

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
