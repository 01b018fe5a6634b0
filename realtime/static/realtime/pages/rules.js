// The page with all rules: a switch for each, and its deletion with a question before.

import { AGAIN_MS as REFRESH_MS, muteForm, mutedText, ruleMute } from "../alarms/mute.js";
import { make, set } from "../elements.js";
import { ask } from "../alarms/requests.js";
import { appliesTo, condition } from "../alarms/words.js";
import { whole } from "../format.js";
import { Catalogue } from "../metrics.js";
import { plural } from "../plural.js";

const AGAIN_MS = 5000;

const page = JSON.parse(document.getElementById("rules").textContent);
const catalogue = new Catalogue(page.catalogue);
const element = (id) => document.getElementById(id);
const rows = new Map(); // by rule id

class RuleRow {
  constructor(rule) {
    this.rule = rule;
    this.open = page.open[rule.id] ?? 0;
    this.root = make("li", "rule");
    this.severity = this.root.appendChild(make("span", "severity"));
    const words = this.root.appendChild(make("div"));
    this.name = words.appendChild(make("p", "rule-name"));
    this.words = words.appendChild(make("p", "muted"));
    this.actions = this.root.appendChild(make("div", "actions"));
    this.alarms = this.actions.appendChild(make("a", "action small"));
    if (page.manages) this.addControls();
    if (page.mutes) this.addMute();
    this.failure = this.root.appendChild(make("p", "question alarm-failure"));
    this.failure.setAttribute("role", "alert");
    this.show();
  }

  addControls() {
    const label = this.actions.appendChild(make("label", "switch"));
    this.box = label.appendChild(make("input"));
    this.box.type = "checkbox";
    this.box.setAttribute("role", "switch");
    label.append(make("span", "word"));
    this.box.addEventListener("change", () => this.attempt(() => this.turn(this.box.checked)));
    this.edit = this.actions.appendChild(make("a", "action small"));
    this.edit.textContent = "Edit";
    this.delete = this.actions.appendChild(make("button", "action small"));
    this.delete.type = "button";
    this.delete.textContent = "Delete";
    this.delete.addEventListener("click", () => this.question());
  }

  addMute() {
    this.mute = this.actions.appendChild(make("button", "action small"));
    this.mute.type = "button";
    this.mute.addEventListener("click", () => {
      if (mutedText(this.rule.muted_until)) return this.attempt(() => this.unmute());
      this.mute.disabled = true;
      const form = muteForm({
        targets: [[this.rule.name, ruleMute(this.rule.id)]],
        onDone: (address, until) => {
          this.rule.muted_until = until;
          this.changedAt = performance.now();
        },
        onClose: () => {
          this.mute.disabled = false;
          this.mute.focus();
          this.show();
        },
      });
      form.classList.add("question");
      this.root.append(form);
      form.querySelector("select").focus();
    });
  }

  async unmute() {
    await ask("DELETE", ruleMute(this.rule.id));
    this.rule.muted_until = null;
  }

  show() {
    const { id, name, severity, is_active: active } = this.rule;
    this.root.classList.toggle("off", !active);
    set(this.severity, severity);
    this.severity.dataset.severity = severity;
    set(this.name, name);
    const muted = mutedText(this.rule.muted_until);
    set(this.words, `${condition(this.rule, catalogue)}, on ${appliesTo(this.rule)}${muted ? ` (${muted})` : ""}`);
    if (this.mute) {
      set(this.mute, muted ? "Unmute" : "Mute");
      this.mute.setAttribute("aria-label", `${this.mute.textContent} ${name}`);
    }
    this.alarms.hidden = !this.open;
    this.alarms.href = `/alarms/?rule=${id}`;
    set(this.alarms, `${whole(this.open)} open ${plural(this.open, "alarm", "alarms")}`);
    if (!this.box) return;
    this.box.checked = active;
    this.box.setAttribute("aria-label", name);
    set(this.box.nextSibling, active ? "on" : "off");
    this.edit.href = `/alarms/rules/${id}/`;
    this.edit.setAttribute("aria-label", `Edit ${name}`);
    this.delete.setAttribute("aria-label", `Delete ${name}`);
  }

  async attempt(work) {
    this.failure.textContent = "";
    const controls = [this.box, this.delete, this.mute].filter(Boolean);
    this.busy = true;
    for (const control of controls) control.disabled = true;
    try {
      await work();
    } catch (error) {
      this.failure.textContent = error.status === 404 ? "Somebody else has deleted this rule." : error.message;
    }
    for (const control of controls) control.disabled = false;
    this.busy = false;
    this.changedAt = performance.now();
    this.show();
  }

  async turn(on) {
    this.rule = await ask("PATCH", `/api/v1/alarm-rules/${this.rule.id}`, { body: { is_active: on } });
    if (!on) this.open = 0;
  }

  question() {
    const box = make("div", "question notice bad");
    const words = box.appendChild(make("p"));
    const ends = this.open ? `, and its ${whole(this.open)} open ${plural(this.open, "alarm is", "alarms are")} resolved` : "";
    words.textContent = `Delete the rule “${this.rule.name}”? It is gone for good${ends}. Its earlier alarms stay in the list of alarms.`;
    const answers = box.appendChild(make("div", "actions"));
    const yes = answers.appendChild(make("button", "action small primary"));
    yes.textContent = "Delete the rule";
    const no = answers.appendChild(make("button", "action small"));
    no.textContent = "Keep it";
    const close = () => {
      box.remove();
      this.delete.disabled = false;
      this.delete.focus();
    };
    no.addEventListener("click", close);
    box.addEventListener("keydown", (event) => event.key === "Escape" && close());
    yes.addEventListener("click", () => {
      box.remove();
      this.attempt(async () => {
        await ask("DELETE", `/api/v1/alarm-rules/${this.rule.id}`);
        this.root.remove();
        element("none").hidden = element("list").childElementCount > 0;
        element("heading").focus();
      });
    });
    this.delete.disabled = true;
    this.root.append(box);
    no.focus();
  }
}

async function load() {
  try {
    const { results } = await ask("GET", "/api/v1/alarm-rules");
    element("failure").hidden = true;
    for (const rule of results) rows.set(rule.id, new RuleRow(rule));
    element("list").replaceChildren(...[...rows.values()].map(({ root }) => root));
    element("none").hidden = results.length > 0;
  } catch (error) {
    element("failure").hidden = false;
    element("failure").textContent = `The rules could not be loaded. ${error.message} Trying again …`;
    setTimeout(load, AGAIN_MS);
  }
  element("list").removeAttribute("aria-busy");
}

// Others change and mute rules too. What was changed here since the question is newer than its answer.
async function refresh() {
  const asked = performance.now();
  const found = await ask("GET", "/api/v1/alarm-rules").catch(() => null);
  for (const rule of found?.results ?? []) {
    const row = rows.get(rule.id);
    if (!row || row.busy || row.changedAt > asked) continue;
    row.rule = rule;
    row.show();
  }
}

load();
setInterval(() => document.hidden || refresh(), REFRESH_MS);
