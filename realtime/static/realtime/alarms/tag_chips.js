// Chips that choose tags: an alarm is shown if its device has all chosen ones.

import { keyOf } from "../fleet/tags.js";
import { plural } from "../plural.js";
import { make, set } from "../elements.js";

const SHOWN = 12; // chips besides the chosen ones, until somebody asks for more

export class TagChips {
  // `tags`: [[name, colour]], those that matter most first. `onChoose({ key, name })` is called when a chip is pressed.
  constructor(box, tags, onChoose) {
    Object.assign(this, { box, onChoose, expanded: false });
    this.all = new Map(tags.map(([name, colour]) => [keyOf(name), { key: keyOf(name), name, colour }]));
    this.more = make("button", "action small more-tags");
    this.more.type = "button";
    this.more.addEventListener("click", () => {
      this.expanded = !this.expanded;
      this.show(this.chosen);
      this.more.focus();
    });
  }

  // `chosen`: name by key.
  show(chosen) {
    this.chosen = chosen;
    const focused = document.activeElement?.dataset?.tag;
    const pressed = [...chosen].map(([key, name]) => this.all.get(key) ?? { key, name, colour: "grey" });
    const others = [...this.all.values()].filter(({ key }) => !chosen.has(key));
    const hidden = others.length - SHOWN;
    const shown = [...pressed, ...(this.expanded ? others : others.slice(0, SHOWN))];
    const chips = shown.map((tag) => this.chip(tag, chosen.has(tag.key)));
    set(this.more, this.expanded ? "Fewer tags" : `${hidden} more ${plural(hidden, "tag", "tags")}`);
    this.more.setAttribute("aria-expanded", String(this.expanded));
    this.box.replaceChildren(...chips, ...(hidden > 0 ? [this.more] : []));
    this.box.classList.toggle("expanded", this.expanded);
    this.box.hidden = shown.length === 0;
    chips.find(({ dataset }) => dataset.tag === focused)?.focus();
  }

  chip(tag, pressed) {
    const chip = make("button", "action");
    chip.type = "button";
    chip.dataset.tag = tag.key;
    chip.setAttribute("aria-pressed", String(pressed));
    const word = chip.appendChild(make("span", "dot"));
    word.dataset.colour = tag.colour;
    word.textContent = tag.name;
    chip.addEventListener("click", () => this.onChoose(tag));
    return chip;
  }
}
