// Chooses from many items: the chosen ones as chips, and a search for the others.

export const MATCHES = 12;
const PAUSE_MS = 150; // of typing, before the server is asked

// Those of the items { id, label } that match every word, by id or label, without the chosen ones.
export function matches(items, text, chosen) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const taken = new Set(chosen.map(({ id }) => id));
  return items.filter(({ id, label }) => !taken.has(id) && words.every((word) => `${id} ${label}`.toLowerCase().includes(word)));
}

// A function that asks at once, and hands the answers, promises, on in the order of the texts, whichever comes first.
export function inOrder(ask, handle) {
  let before = Promise.resolve();
  return (text) => {
    const answer = Promise.resolve().then(() => ask(text));
    answer.catch(() => {}); // `handle` deals with it, when it is its turn
    before = before.then(() => handle(text, answer));
    return before;
  };
}

// An item is { id, label, small, kind }: `small` is shown beside the label, `kind` is a class.
export class Picker {
  // `root` has an input, a list of chips (.chosen), a list of matches (.matches) and a note (.more). `chosen()`: the chosen
  // items. `find(text)`: { items, more } or a promise of it; `more`: how many others match, or true if that is not known.
  constructor(root, { chosen, find, onAdd, onRemove, isFull, full, pause = PAUSE_MS }) {
    Object.assign(this, { root, chosen, find, onAdd, onRemove, isFull, full, pause });
    this.found = [];
    this.note = "";
    this.ordered = inOrder((text) => this.find(text), (text, answer) => this.addFirst(text, answer));
    this.input = root.querySelector("input");
    this.input.addEventListener("input", () => this.search());
    this.input.addEventListener("focus", () => this.open(true));
    root.addEventListener("focusout", ({ relatedTarget }) => root.contains(relatedTarget) || this.open(false));
    root.addEventListener("keydown", (event) => this.key(event));
    // Keep the focus inside while a match is clicked, because Safari does not focus buttons.
    root.querySelector(".matches").addEventListener("pointerdown", (event) => event.preventDefault());
    this.render();
  }

  open(isOpen) {
    if (this.isOpen === isOpen) return;
    this.isOpen = isOpen;
    if (isOpen) this.search(0);
    else this.render();
  }

  key(event) {
    if (event.key === "Escape" && this.isOpen) {
      this.input.value = "";
      this.open(false);
    } else if (event.key === "Enter" && event.target === this.input) {
      event.preventDefault();
      this.enter(this.input.value.trim());
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const stops = [this.input, ...this.root.querySelectorAll(".matches button")];
      const next = stops[stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) event.preventDefault();
      next?.focus();
    }
  }

  // Adds the first match of a text, which may be typed faster than the server answers.
  enter(text) {
    if (!text || this.isFull()) return;
    this.input.value = "";
    this.ordered(text);
  }

  async addFirst(text, answer) {
    try {
      const [first] = (await answer).items;
      if (this.isFull()) return;
      if (first) this.onAdd(first);
      else if (!this.input.value) this.input.value = text;
    } catch {
      if (!this.input.value) this.input.value = text; // the search below says why
    }
    this.search(0);
  }

  // Looks for what is typed; answers that a later search overtook are dropped.
  async search(pause = this.pause) {
    const text = this.input.value;
    try {
      const answer = this.isFull() ? { items: [], more: 0 } : await this.ask(text, pause);
      if (!answer || text !== this.input.value) return;
      this.found = answer.items;
      this.note = this.noteOf(answer);
    } catch {
      this.found = [];
      this.note = "The server cannot be reached.";
    }
    this.render();
  }

  async ask(text, pause) {
    if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
    return text === this.input.value ? this.find(text) : null;
  }

  add(item) {
    this.input.value = "";
    this.onAdd(item);
    this.input.focus();
    this.search(0);
  }

  render() {
    const chips = this.chosen().map((chosen) => button(chosen, "chip", `Remove ${chosen.label}`, () => {
      this.onRemove(chosen);
      this.input.focus();
    }));
    this.root.querySelector(".chosen").replaceChildren(...chips);
    this.root.querySelector(".matches").replaceChildren(...(this.isOpen ? this.found : []).map((item) => button(item, "match", "", () => this.add(item))));
    this.root.querySelector(".drop").hidden = !this.isOpen;
    this.root.querySelector(".more").textContent = this.isOpen ? this.note : "";
  }

  noteOf({ items, more }) {
    if (this.isFull()) return this.full;
    if (!more) return items.length ? "" : "Nothing else matches.";
    return more === true ? "More match. Type to find them." : `${more.toLocaleString("en")} more match. Type to find them.`;
  }
}

function button({ label, small, kind }, name, description, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind ? `${name} ${kind}` : name;
  made.textContent = label;
  if (description) made.setAttribute("aria-label", description);
  else if (small) {
    const part = document.createElement("small");
    part.textContent = small;
    made.append(" ", part);
  }
  made.addEventListener("click", onClick);
  const place = document.createElement("li");
  place.append(made);
  return place;
}
