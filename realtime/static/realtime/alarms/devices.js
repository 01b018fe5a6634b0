// Chooses devices, or tags, by typing: the server proposes, Enter adds, a button removes.

import { make } from "../elements.js";
import { ask } from "./requests.js";

const WAIT_MS = 200;
const PROPOSED = 20;

async function devicesLike(text) {
  const query = new URLSearchParams({ search: text, limit: PROPOSED });
  const found = await ask("GET", `/api/v1/devices?${query}`);
  return found.results.map(({ device_id: id, name }) => [id, name]);
}

export class DeviceChooser {
  // `chosen`: the ids at the beginning. `onChange()` is called when they change. `search(text)`: [[id, name]] to propose.
  constructor({ input, options, box, chosen, offered, onChange, search = devicesLike }) {
    Object.assign(this, { input, options, box, onChange, search });
    this.ids = [...chosen];
    this.propose(offered);
    input.addEventListener("input", () => this.typed());
    input.addEventListener("change", () => this.add());
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // otherwise it would send the form
      this.add();
    });
    this.draw();
  }

  propose(devices) {
    this.known = new Set(devices.map(([id]) => id));
    this.options.replaceChildren(...devices.map(([id, name]) => new Option(name || id, id)));
  }

  typed() {
    clearTimeout(this.timer);
    if (this.known.has(this.input.value)) return this.add();
    this.timer = setTimeout(async () => {
      const found = await this.search(this.input.value).catch(() => null); // one can still type the whole id
      if (found) this.propose(found);
    }, WAIT_MS);
  }

  add() {
    const id = this.input.value.trim();
    if (!id) return;
    this.input.value = "";
    if (!this.ids.includes(id)) this.ids.push(id);
    this.draw();
    this.onChange();
  }

  draw() {
    this.box.replaceChildren(
      ...this.ids.map((id) => {
        const button = make("button", "action small");
        button.type = "button";
        button.setAttribute("aria-label", `Remove ${id}`);
        const code = make("code");
        code.textContent = id;
        button.append(code, " ×");
        button.addEventListener("click", () => {
          this.ids = this.ids.filter((other) => other !== id);
          this.draw();
          this.input.focus();
          this.onChange();
        });
        return button;
      }),
    );
  }
}
