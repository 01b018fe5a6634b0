// Says until when things are muted. Accounts that may mute them get buttons that mute and unmute them.

import { AGAIN_MS, muteForm, mutedText } from "./mute.js";
import { ask } from "./requests.js";
import { make, set } from "../elements.js";

export class MuteControl {
  // `allowed(address)`: whether the account may mute and unmute it.
  constructor(box, { allowed }) {
    Object.assign(this, { box, allowed, targets: [], mutes: new Map(), form: null });
    this.box.classList.add("mutes");
    this.failure = make("p", "alarm-failure");
    this.failure.setAttribute("role", "alert");
  }

  // `targets`: [[label, address of the API]], such as ["the tag roof", tagMute("roof")]. `mutes`: until when, by address.
  show(targets, mutes) {
    Object.assign(this, { targets, mutes });
    this.form?.remove();
    this.form = null;
    this.draw();
  }

  // Asks the server again. What was muted here meanwhile is newer than its answer.
  async refresh() {
    const { targets, mutes } = this;
    const before = JSON.stringify([...mutes]);
    const answers = await Promise.all(targets.map(([, address]) => ask("GET", address).catch(() => null)));
    if (mutes !== this.mutes || before !== JSON.stringify([...mutes])) return;
    for (const [place, [, address]] of targets.entries()) if (answers[place]) mutes.set(address, answers[place].muted_until);
    if (before !== JSON.stringify([...mutes])) this.draw();
  }

  // Others mute and unmute too.
  keepFresh() {
    setInterval(() => document.hidden || this.refresh(), AGAIN_MS);
  }

  draw() {
    if (this.form) return; // what somebody chooses there must not be lost
    const lines = [];
    for (const [label, address] of this.targets) {
      const muted = mutedText(this.mutes.get(address));
      if (muted) lines.push(this.line(label, address, muted));
    }
    const free = this.targets.filter(([, address]) => this.allowed(address) && !mutedText(this.mutes.get(address)));
    const mute = free.length ? [this.button("Mute alarms …", `of ${free.map(([label]) => label).join(" or ")}`, () => this.open(free))] : [];
    this.box.replaceChildren(...lines, ...mute, this.failure);
    this.box.hidden = lines.length + mute.length === 0;
  }

  line(label, address, muted) {
    const words = make("p", "muted");
    set(words, `${label.charAt(0).toUpperCase()}${label.slice(1)} is ${muted}.`);
    if (this.allowed(address)) words.append(" ", this.button("Unmute", label, () => this.unmute(address)));
    return words;
  }

  button(text, label, work) {
    const button = make("button", "action small");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", `${text.replace(" …", "")} ${label}`);
    button.addEventListener("click", work);
    return button;
  }

  open(targets) {
    this.form = muteForm({
      targets,
      onDone: (address, until) => this.mutes.set(address, until),
      onClose: () => {
        this.form = null;
        this.draw();
        this.box.querySelector("button")?.focus();
      },
    });
    this.box.replaceChildren(this.form);
    this.form.querySelector("select").focus();
  }

  async unmute(address) {
    this.failure.textContent = "";
    try {
      await ask("DELETE", address);
      this.mutes.delete(address);
    } catch (error) {
      this.failure.textContent = `Not unmuted: ${error.message}`;
    }
    this.draw();
    if (!this.form) this.box.querySelector("button")?.focus();
  }
}
