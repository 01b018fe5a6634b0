// Chooses from many items: the chosen ones as chips, and a search for the others.

const MATCHES = 12;

// Those of the items [id, label] that match every word, by id or label, without the chosen ones.
export function matches(items, text, chosen) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const taken = new Set(chosen);
  return items.filter(([id, label]) => !taken.has(id) && words.every((word) => `${id} ${label}`.toLowerCase().includes(word)));
}

export class Picker {
  // `root` has an input, a list of chips (.chosen), a list of matches (.matches) and a note (.more).
  constructor(root, { items, chosen, onAdd, onRemove, most }) {
    Object.assign(this, { root, items, chosen, onAdd, onRemove, most });
    this.input = root.querySelector("input");
    this.input.addEventListener("input", () => this.render());
    this.input.addEventListener("focus", () => this.open(true));
    root.addEventListener("focusout", ({ relatedTarget }) => root.contains(relatedTarget) || this.open(false));
    root.addEventListener("keydown", (event) => this.key(event));
    // Keep the focus inside while a match is clicked, because Safari does not focus buttons.
    root.querySelector(".matches").addEventListener("pointerdown", (event) => event.preventDefault());
    this.render();
  }

  open(isOpen) {
    this.isOpen = isOpen;
    this.render();
  }

  key(event) {
    if (event.key === "Escape" && this.isOpen) {
      this.input.value = "";
      this.open(false);
    } else if (event.key === "Enter" && event.target === this.input) {
      event.preventDefault();
      const [first] = this.found();
      if (first) this.add(first[0]);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const stops = [this.input, ...this.root.querySelectorAll(".matches button")];
      const next = stops[stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) event.preventDefault();
      next?.focus();
    }
  }

  found() {
    return this.chosen().length >= this.most ? [] : matches(this.items(), this.input.value, this.chosen());
  }

  add(id) {
    this.input.value = "";
    this.onAdd(id);
    this.input.focus();
  }

  render() {
    const names = new Map(this.items());
    const chips = this.chosen().map((id) => item(names.get(id) ?? id, "chip", `Remove ${names.get(id) ?? id}`, () => {
      this.onRemove(id);
      this.input.focus();
    }));
    const found = this.isOpen ? this.found() : [];
    const more = found.length - MATCHES;
    this.root.querySelector(".chosen").replaceChildren(...chips);
    this.root.querySelector(".matches").replaceChildren(...found.slice(0, MATCHES).map(([id, label]) => item(label, "match", "", () => this.add(id), label === id ? "" : id)));
    this.root.querySelector(".drop").hidden = !this.isOpen;
    this.root.querySelector(".more").textContent = this.note(found, more);
  }

  note(found, more) {
    if (!this.isOpen) return "";
    if (this.chosen().length >= this.most) return `${this.most} are the most.`;
    if (!found.length) return "Nothing else matches.";
    return more > 0 ? `${more.toLocaleString("en")} more match. Type to find them.` : "";
  }
}

function item(text, name, description, onClick, small = "") {
  const button = document.createElement("button");
  button.type = "button";
  button.className = name;
  button.textContent = text;
  if (description) button.setAttribute("aria-label", description);
  if (small) {
    const part = document.createElement("small");
    part.textContent = small;
    button.append(" ", part);
  }
  button.addEventListener("click", onClick);
  const place = document.createElement("li");
  place.append(button);
  return place;
}
