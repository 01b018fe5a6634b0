// The tags of the devices, and the chips with which they are chosen. Several chosen tags mean devices that have all of them.

import { whole } from "../format.js";

const SHOWN = 12; // chips besides the chosen ones, until somebody asks for more
const AGAIN_MS = 60_000;

// Names with the same key are the same tag, like `devices.tags.key_of` on the server.
export const keyOf = (name) => name.normalize("NFC").trim().split(/\s+/).join(" ").toLowerCase();

// How many of the devices have each tag, by key.
export function tally(devices) {
  const found = new Map();
  for (const device of devices) for (const key of device.keys) found.set(key, (found.get(key) ?? 0) + 1);
  return found;
}

// The tags whose chips are shown: first the chosen ones, then of those that a shown device has the most frequent ones, or
// all, in the order of their names. `all`: the tags by key; `total`: tally of all devices; `counts`: tally of those shown.
export function chipsOf({ all, chosen, total, counts, expanded }) {
  const others = [...all.values()].filter((tag) => !chosen.has(tag.key) && counts.get(tag.key));
  others.sort((a, b) => (total.get(b.key) ?? 0) - (total.get(a.key) ?? 0) || (a.key < b.key ? -1 : 1));
  const shown = expanded ? others : others.slice(0, SHOWN);
  const pressed = [...chosen].map(([key, name]) => all.get(key) ?? { key, name, colour: "grey" });
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true }) || (a.key < b.key ? -1 : 1);
  return { tags: [...pressed.sort(byName), ...shown.sort(byName)], more: others.length - SHOWN };
}

export class Tags {
  // `onChoose(tag)` is called when a chip is pressed, `onChange(devices)` when the tags of devices have changed.
  constructor(box, { onChoose, onChange }) {
    this.box = box;
    this.onChoose = onChoose;
    this.onChange = onChange;
    this.all = new Map(); // key → {name, key, colour}
    this.chips = new Map(); // key → button
    this.expanded = false;
    this.more = document.createElement("button");
    this.more.type = "button";
    this.more.className = "action small more-tags";
    this.more.addEventListener("click", () => {
      this.expanded = !this.expanded;
      this.draw();
    });
  }

  // Takes over the tags of all devices, as realtime/pages/tags.py gives them; returns the devices whose tags are others.
  take({ tags, tags_of: tagsOf }, devices) {
    const given = tags.map(([name, colour]) => ({ name, colour, key: keyOf(name) }));
    this.all = new Map(given.map((tag) => [tag.key, tag]));
    const written = (list) => JSON.stringify(list.map(({ name, colour }) => [name, colour]));
    const changed = [];
    for (const device of devices) {
      const own = (Object.hasOwn(tagsOf, device.id) ? tagsOf[device.id] : []).map((place) => given[place]);
      if (written(own) === written(device.tags)) continue;
      device.tagged(own);
      changed.push(device);
    }
    return changed;
  }

  // Gives a device that was registered meanwhile its tags. A tag that is new here has no colour until the next look.
  name(device, names) {
    for (const name of names) if (!this.all.has(keyOf(name))) this.all.set(keyOf(name), { name, key: keyOf(name), colour: "grey" });
    device.tagged(names.map((name) => this.all.get(keyOf(name))));
  }

  // Asks for changed tags again and again, while somebody looks. `devices()` gives those on the page.
  watch(devices) {
    let known = ""; // the ETag, because no cache keeps the answer
    setInterval(async () => {
      if (document.hidden) return;
      const headers = { Accept: "application/json", ...(known && { "If-None-Match": known }) };
      const answer = await fetch("/live/-/tags", { headers }).catch(() => null);
      const found = answer?.ok && !answer.redirected ? await answer.json().catch(() => null) : null;
      if (!found) return;
      known = answer.headers.get("ETag") ?? "";
      const changed = this.take(found, devices());
      if (changed.length) this.onChange(changed);
    }, AGAIN_MS);
  }

  // `everything`: all devices; `shown`: those that match search, status and the chosen tags; `chosen`: key → name.
  show(everything, shown, chosen) {
    this.state = { chosen, total: tally(everything), counts: tally(shown) };
    this.draw();
  }

  draw() {
    const { chosen, counts } = this.state;
    const { tags, more } = chipsOf({ all: this.all, expanded: this.expanded, ...this.state });
    const stays = new Set(tags.map((tag) => tag.key));
    for (const [key, chip] of this.chips) if (!stays.has(key)) this.remove(key, chip);
    const focused = document.activeElement === this.more;
    this.more.remove();
    let before = null;
    for (const tag of tags) {
      const chip = this.chips.get(tag.key) ?? this.make(tag);
      this.label(chip, tag, counts.get(tag.key) ?? 0, chosen.has(tag.key));
      // Moved only if it has to, because a moved button loses the focus.
      const after = before ? before.nextSibling : this.box.firstChild;
      if (chip !== after) this.box.insertBefore(chip, after);
      before = chip;
    }
    this.more.hidden = more <= 0;
    this.more.textContent = this.expanded ? "Fewer tags" : `${whole(more)} more ${more === 1 ? "tag" : "tags"}`;
    this.more.setAttribute("aria-expanded", String(this.expanded));
    this.placeMore();
    if (focused) this.more.focus();
    this.box.hidden = tags.length === 0;
    this.box.classList.toggle("expanded", this.expanded);
  }

  // At the end; while all tags are shown, at the beginning, because the end may be out of sight.
  placeMore() {
    if (this.expanded) this.box.prepend(this.more);
    else this.box.append(this.more);
  }

  make(tag) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "action";
    const word = document.createElement("span");
    word.className = "dot";
    const figure = document.createElement("span");
    figure.className = "figure";
    chip.append(word, figure);
    chip.addEventListener("click", () => this.onChoose(chip.tag));
    this.chips.set(tag.key, chip);
    return chip;
  }

  label(chip, tag, count, pressed) {
    chip.tag = tag;
    const [word, figure] = chip.children;
    if (word.textContent !== tag.name) word.textContent = tag.name;
    if (word.dataset.colour !== tag.colour) word.dataset.colour = tag.colour;
    const text = whole(count);
    if (figure.textContent !== text) figure.textContent = text;
    chip.setAttribute("aria-pressed", String(pressed));
  }

  remove(key, chip) {
    this.chips.delete(key);
    chip.remove();
  }
}
